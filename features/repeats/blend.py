"""One list of what a customer buys again and what is new to them: both as chances, so that they compare.

The two-tower says how near an item is (a cosine), the repurchase model how likely one that the customer knows is bought
(``features.repeats.repurchase``). Two small logistic regressions, fitted on the validation window, turn each into the chance
that the customer buys the item in the window; the list is sorted by it. With an item's chance in hand, no share of the
list need be set aside for either kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.chances.logistic import QuadraticLogit, chance_of
from features.errors import DataError, ReleaseError
from features.files import read_json, write_json
from features.recommendations import Recommendations

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.floating]

FORMAT: Final = 1
NUM_NEW: Final = 200  # new items that may compete for a list, or its length where that is more
NEW: Final = ("cosine", "expected", "known")
REPEAT: Final = ("log_odds", "cosine", "expected", "known")
PARTS: Final = ("new", "repeat_timed", "repeat_untimed")


@dataclass(frozen=True, kw_only=True, eq=False)
class ForYouBlend:
    """Chances of new items and of known ones.

    Args:
        new: from the variables ``NEW``.
        repeat_timed: from the variables ``REPEAT``, where the repurchase model's timing counts.
        repeat_untimed: the same where it does not.
    """

    new: QuadraticLogit
    repeat_timed: QuadraticLogit
    repeat_untimed: QuadraticLogit

    def combine(
        self,
        new: Recommendations,
        repeats: Recommendations,
        repeat_cosines: Floats,
        *,
        k: int,
        timing: bool = True,
    ) -> Recommendations:
        """Return the ``k`` likeliest items of both lists of each user.

        Args:
            new: best unmet items with their cosines, Q lists; those with equal chance keep their order.
            repeats: known items with the repurchase model's chances, Q lists that share no item with ``new``.
            repeat_cosines: of the items of ``repeats``, in its order.
            k: length of a list; shorter where both together have fewer.
            timing: whether ``repeats`` were scored with timing.

        Raises:
            DataError: the lists are not of as many users, or there is not one cosine an item of ``repeats``.
        """
        if new.num_lists != repeats.num_lists or len(repeat_cosines) != len(repeats.item):
            raise DataError(
                f"Blend: expected as many lists of new items as of repeats and a cosine a repeat, found {new.num_lists} "
                f"and {repeats.num_lists} lists, {len(repeat_cosines)} cosines for {len(repeats.item)} repeats."
            )
        repeat = self.repeat_timed if timing else self.repeat_untimed
        scores = [
            chance_of(repeat.logit(repeat_variables(repeats, repeat_cosines))),
            chance_of(self.new.logit(new_variables(new, repeats))),
        ]
        return _merged([repeats, new], scores, k)

    def is_settled(self, new: Recommendations, repeats: Recommendations) -> npt.NDArray[np.bool_]:
        """Return which lists of new items would not change with more of them, bool ``[Q]``: the farther, the less likely.

        Args:
            new: the nearest unmet items with their cosines, Q lists.
            repeats: as in ``combine``.
        """
        settled = np.ones(new.num_lists, bool)
        held = np.flatnonzero(np.diff(new.offsets))
        if len(held):
            x = new_variables(new, repeats)
            least = np.minimum.reduceat(self.new.logit(x), new.offsets[held])
            settled[held] = least >= self.new.most_below(x[new.offsets[held + 1] - 1], NEW[0])
        return settled

    def save(self, path: Path) -> None:
        """Write the weights as JSON."""
        write_json(path, {"format": FORMAT} | {name: getattr(self, name).to_dict() for name in PARTS})

    @classmethod
    def load(cls, path: Path) -> ForYouBlend:
        """Read what ``save`` wrote.

        Raises:
            ReleaseError: the file is of another format.
        """
        values: dict[str, Any] = read_json(path)
        if values.get("format") != FORMAT:
            raise ReleaseError(
                f"{path}: expected blend format {FORMAT}, found {values.get('format')}; train again or upgrade Footfall."
            )
        return cls(**{name: QuadraticLogit.from_dict(values[name]) for name in PARTS})

    @classmethod
    def plain(cls) -> ForYouBlend:
        """What a customer knows first, by its chance, then what is new, by its cosine: where nothing can be learned."""
        repeat = QuadraticLogit.plain(REPEAT, {"log_odds": 1.0})
        new = QuadraticLogit.plain(NEW, {"cosine": 1.0}, bias=-40.0)
        return cls(new=new, repeat_timed=repeat, repeat_untimed=repeat)


def new_variables(new: Recommendations, repeats: Recommendations) -> Floats:
    """Return the variables ``NEW`` of each item of ``new``, float64 ``[len(new.item), 3]``.

    How many known items a customer has and how many of them they are expected to buy says how much they buy at all.
    """
    user = np.repeat(np.arange(new.num_lists), np.diff(new.offsets))
    expected, known = _habits(repeats)
    return np.stack([new.score.astype(np.float64), expected[user], known[user]], axis=1)


def repeat_variables(repeats: Recommendations, cosines: Floats) -> Floats:
    """Return the variables ``REPEAT`` of each item of ``repeats``, float64 ``[len(repeats.item), 4]``."""
    user = np.repeat(np.arange(repeats.num_lists), np.diff(repeats.offsets))
    expected, known = _habits(repeats)
    chance = np.clip(repeats.score.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.stack([np.log(chance / (1 - chance)), cosines.astype(np.float64), expected[user], known[user]], axis=1)


def _habits(repeats: Recommendations) -> tuple[Floats, Floats]:
    """Return the logarithms of the expected number of repeats and of the number of known items of each user."""
    total = np.concatenate([[0.0], np.cumsum(repeats.score, dtype=np.float64)])
    return np.log(total[repeats.offsets[1:]] - total[repeats.offsets[:-1]] + 1e-2), np.log1p(np.diff(repeats.offsets))


def _merged(lists: list[Recommendations], scores: list[Floats], k: int) -> Recommendations:
    """Return the ``k`` best entries of each user's lists together; of equals, those of an earlier list first."""
    user = np.concatenate([np.repeat(np.arange(found.num_lists), np.diff(found.offsets)) for found in lists])
    item = np.concatenate([found.item for found in lists]).astype(np.int32)
    score = np.concatenate(scores).astype(np.float32)
    order = np.lexsort((-score, user))  # stable
    starts = np.concatenate([[0], np.cumsum(sum(np.diff(found.offsets) for found in lists))])
    rank = np.arange(len(order)) - np.repeat(starts[:-1], np.diff(starts))
    kept = order[rank < k]
    return Recommendations(
        offsets=np.concatenate([[0], np.cumsum(np.minimum(np.diff(starts), k))]), item=item[kept], score=score[kept]
    )
