"""The validation of a training: full ranking over all candidates, as NDCG@10.

Ranks share the questions out: each ranks for users of its own, and the mean is over the users of all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from features.errors import DataError
from features.history import encode_history
from features.sequences import Sequences
from features.splits import Holdout
from training.parallel.ranks import ALONE, Ranks
from training.retrieval.batches import pack_queries
from training.retrieval.ensemble import Towers

_USERS_A_TIME = 512
_CELLS_A_TIME = 1 << 25  # 128 MB of scores
_TOP = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Questions:
    """Users to rank for, and what each of them did afterwards.

    Args:
        holdout: queries and targets.
        candidates: item codes ranked, int64 ``[C]``.
        exclude_seen: leave a query's items out of its ranking, and out of its targets.
        ranks: whose questions make one metric.
    """

    holdout: Holdout
    candidates: Tensor
    exclude_seen: bool
    ranks: Ranks = ALONE

    @classmethod
    def draw(
        cls,
        holdout: Holdout,
        *,
        candidates: Tensor,
        exclude_seen: bool,
        most: int,
        seed: int,
        ranks: Ranks = ALONE,
    ) -> Questions:
        """Keep at most ``most`` users, drawn by seed; a user whose targets are all seen asks nothing.

        With several ranks the users drawn are those that one rank with the users of all would draw.

        Raises:
            DataError: nobody asks anything.
        """
        targets = holdout.targets.where(_new_targets(holdout)) if exclude_seen else holdout.targets
        asked = np.flatnonzero(targets.lengths > 0)
        asking = ranks.gather_array(np.array([len(asked)]))
        if asking.sum() == 0:
            raise DataError(
                "Validation: expected customers who met an item that was new to them, found repeats only; "
                "set exclude_seen to false."
            )
        if asking.sum() > most:
            drawn = np.sort(np.random.default_rng(seed).choice(int(asking.sum()), most, replace=False))
            before = int(asking[: ranks.rank].sum())
            asked = asked[drawn[(drawn >= before) & (drawn < before + len(asked))] - before]
        chosen = Holdout(users=holdout.users[asked], query=holdout.query.take(asked), targets=targets.take(asked))
        return cls(holdout=chosen, candidates=candidates, exclude_seen=exclude_seen, ranks=ranks)

    def ndcg_at_10(self, towers: Towers) -> float:
        """Return the mean NDCG@10 over users; each distinct target counts once."""
        gains = self._all_gains(towers) if self.holdout.num_users else torch.zeros(0)
        if self.ranks.of == 1:
            return float(gains.mean())
        total, count = self.ranks.sum([float(gains.double().sum()), float(len(gains))])
        return float(total / count)

    def _all_gains(self, towers: Towers) -> Tensor:
        """Return the NDCG@10 of each user, ``[Q]``."""
        user_vecs = user_vectors(towers, self.holdout.query)
        item_vecs = towers.unit_items()
        size = max(1, min(_USERS_A_TIME, _CELLS_A_TIME // len(item_vecs)))
        gains = [self._gains(user_vecs[at : at + size], item_vecs, at) for at in range(0, len(user_vecs), size)]
        return torch.cat(gains)

    def _gains(self, user_vecs: Tensor, item_vecs: Tensor, start: int) -> Tensor:
        """Return the NDCG@10 of a slice of users, the first of whom is ``start``."""
        stop = start + len(user_vecs)
        device = item_vecs.device
        candidates = self.candidates.to(device)
        scores = torch.full((stop - start, len(item_vecs)), -torch.inf, device=device)
        scores[:, candidates] = user_vecs @ item_vecs[candidates].T
        if self.exclude_seen:
            scores[_cells(self.holdout.query, start, stop, device)] = -torch.inf
        wanted = torch.zeros_like(scores, dtype=torch.bool)
        wanted[_cells(self.holdout.targets, start, stop, device)] = True
        best = scores.topk(min(_TOP, scores.shape[1]), dim=1)  # [users, 10]
        top, shown = best.indices, torch.isfinite(best.values)  # a short list stays short
        discount = 1 / torch.log2(torch.arange(2, 2 + top.shape[1], dtype=torch.float32, device=device))
        ideal = F.pad(discount.cumsum(0), (1, 0))[wanted.sum(1).clamp_max(top.shape[1])]
        return (wanted.gather(1, top) * shown * discount).sum(1) / ideal


def user_vectors(towers: Towers, query: Sequences) -> Tensor:
    """Return unit vectors ``[Q, D]`` of histories, none of them empty."""
    towers.eval()
    packed, last = pack_queries(encode_history(query, max_length=towers.config.max_length))
    device = next(towers.parameters()).device
    return towers.encode(packed.to(device))[torch.from_numpy(last).to(device)]


def _cells(sequences: Sequences, start: int, stop: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return row and item of every event of users ``start`` to ``stop``."""
    users = torch.from_numpy(np.repeat(np.arange(stop - start), sequences.lengths[start:stop]))
    span = slice(sequences.offsets[start], sequences.offsets[stop])
    return users.to(device), torch.from_numpy(sequences.item[span].astype(np.int64)).to(device)


def _new_targets(holdout: Holdout) -> npt.NDArray[np.bool_]:
    """Return whether each target is an item that its query does not hold."""
    base = 1 + max(int(holdout.query.item.max(initial=0)), int(holdout.targets.item.max(initial=0)))
    seen = holdout.query.user_of_event * base + holdout.query.item
    return ~np.isin(holdout.targets.user_of_event * base + holdout.targets.item, seen)
