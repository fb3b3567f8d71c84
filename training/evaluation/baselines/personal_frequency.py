"""Each customer's own favourites again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from features.recommendations import Recommendations
from features.sequences import Sequences
from training.evaluation.ranking import rank_in_batches


@dataclass(frozen=True, kw_only=True, eq=False)
class PersonalFrequency:
    """Ranks the items of a history by how often they stand in it, the most recent first among equals.

    It learns nothing, and never shows an item that is new to the customer: its lists are short, and
    empty where seen items are excluded.

    Args:
        candidates: bool ``[V]``.
        seed: of the tie-breaking.
    """

    name: ClassVar[str] = "personal frequency"

    candidates: npt.NDArray[np.bool_]
    seed: int = 0

    def recommend(self, query: Sequences, *, k: int, exclude_seen: bool) -> Recommendations:
        """See ``Recommender``."""
        return rank_in_batches(
            self._score, query, candidates=self.candidates, k=k, exclude_seen=exclude_seen, seed=self.seed
        )

    def _score(self, batch: Sequences) -> npt.NDArray[np.float32]:
        """Return the count plus a share below 1 that rises with the item's last position; ``-inf`` where unseen.

        >>> history = Sequences.from_arrays(offsets=[0, 3], item=[2, 3, 2])
        >>> PersonalFrequency(candidates=np.ones(5, bool))._score(history).tolist()
        [[-inf, -inf, 2.75, 1.5, -inf]]
        """
        shape = (batch.num_users, len(self.candidates))
        cell = batch.user_of_event * shape[1] + batch.item
        position = np.arange(batch.num_events) - np.repeat(batch.offsets[:-1], batch.lengths)
        recency = (position + 1) / (np.repeat(batch.lengths, batch.lengths) + 1)
        score = np.bincount(cell, minlength=shape[0] * shape[1]).astype(np.float32)
        score[score == 0] = -np.inf
        last_of_cell = np.zeros(len(score), np.float32)
        np.maximum.at(last_of_cell, cell, recency.astype(np.float32))
        return (score + last_of_cell).reshape(shape)
