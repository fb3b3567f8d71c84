"""Ranked answers: a short list stays short."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.errors import DataError

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True, eq=False)
class Recommendations:
    """Ranked items for ``Q`` questions, jagged: list ``q`` stands at ``offsets[q]:offsets[q + 1]``.

    Args:
        offsets: int64 ``[Q + 1]``.
        item: item codes ``[M]``, best first, distinct within a list.
        score: float32 ``[M]``, non-increasing within a list.
    """

    offsets: Ints
    item: Ints
    score: Floats

    @classmethod
    def from_lists(cls, items: list[Ints], scores: list[Floats]) -> Recommendations:
        """Build from one array of codes and one of scores a question."""
        lengths = [len(codes) for codes in items]
        return cls._checked(
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            item=np.concatenate(items) if items else np.zeros(0, np.int32),
            score=np.concatenate(scores).astype(np.float32) if scores else np.zeros(0, np.float32),
        )

    @classmethod
    def from_top_k(cls, items: Ints, scores: Floats) -> Recommendations:
        """Build from dense arrays ``[Q, k]``; cells whose score is ``-inf`` hold no answer."""
        held = np.isfinite(scores)
        return cls._checked(
            offsets=np.concatenate([[0], np.cumsum(held.sum(axis=1))]).astype(np.int64),
            item=items[held].astype(np.int32),
            score=scores[held].astype(np.float32),
        )

    @property
    def num_lists(self) -> int:
        """Q."""
        return len(self.offsets) - 1

    def list_of(self, question: int) -> tuple[Ints, Floats]:
        """Return the codes and scores of one list, best first."""
        span = slice(self.offsets[question], self.offsets[question + 1])
        return self.item[span], self.score[span]

    def top(self, k: int) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Return codes and mask ``[Q, k]``, left-aligned, 0 where a list is shorter."""
        position = self.offsets[:-1, None] + np.arange(k)
        mask = position < self.offsets[1:, None]
        if len(self.item) == 0:
            return np.zeros(position.shape, np.int32), mask
        return np.where(mask, self.item[np.where(mask, position, 0)], 0), mask

    def take(self, questions: npt.ArrayLike) -> Recommendations:
        """Return the lists of the given questions, in the given order.

        >>> lists = Recommendations.from_top_k(np.array([[7, 2], [4, 9]]), np.array([[2.0, 1.0], [3.0, -np.inf]]))
        >>> lists.take([1, 0]).item.tolist()
        [4, 7, 2]
        """
        chosen = np.asarray(questions, dtype=np.int64)
        starts, lengths = self.offsets[chosen], np.diff(self.offsets)[chosen]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        source = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return Recommendations(offsets=offsets, item=self.item[source], score=self.score[source])

    def where(self, keep: npt.NDArray[np.bool_]) -> Recommendations:
        """Keep the entries marked in ``keep`` ``[M]``; every list stays, perhaps empty.

        >>> lists = Recommendations.from_top_k(np.array([[7, 2], [4, 9]]), np.array([[2.0, 1.0], [3.0, -np.inf]]))
        >>> lists.where(lists.item != 7).item.tolist()
        [2, 4]
        """
        kept_before = np.concatenate([[0], np.cumsum(keep)])
        return Recommendations(offsets=kept_before[self.offsets], item=self.item[keep], score=self.score[keep])

    @classmethod
    def _checked(cls, *, offsets: Ints, item: Ints, score: Floats) -> Recommendations:
        rises = np.flatnonzero(np.diff(score) > 0) + 1
        if len(rises) and not np.isin(rises, offsets).all():
            raise DataError("Recommendations: expected scores that do not rise within a list; sort each list first.")
        return cls(offsets=offsets, item=item, score=score)
