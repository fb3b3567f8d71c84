"""The nearest items that each of many users may be shown: by the release's index as the service asks it, or exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.recommendations import Recommendations
from serving.bulk.exact import ExactItems, shown_codes
from serving.bulk.lists import from_dense, joined
from serving.retrieval.item_index import Ask, ItemIndex, lined_up

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

# Users are searched for so many at a time: arrays of more leave the processor's cache.
_TOGETHER: Final = 256
_HOPED_EXCLUDED: Final = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class Excluded:
    """Item codes of each of ``Q`` users that are not shown.

    Args:
        offsets: int64 ``[Q + 1]``.
        item: codes, rising within a user.
    """

    offsets: Ints
    item: Ints

    @classmethod
    def nothing(cls, num_users: int) -> Excluded:
        """Nothing is excluded."""
        return cls(offsets=np.zeros(num_users + 1, np.int64), item=np.zeros(0, np.int64))

    @classmethod
    def distinct(cls, user: Ints, item: Ints, *, num_users: int) -> Excluded:
        """Return the distinct items of each user, given events in order of users."""
        stride = 1 + int(item.max(initial=0))
        keys = np.unique(user * np.int64(stride) + item)
        counts = np.bincount(keys // stride, minlength=num_users)
        return cls(offsets=np.concatenate([[0], np.cumsum(counts)]), item=keys % stride)

    @property
    def lengths(self) -> Ints:
        """How many items are excluded, ``[Q]``."""
        return np.diff(self.offsets)

    def take(self, users: Ints) -> Excluded:
        """Return some users' items."""
        lengths = self.lengths[users]
        source = np.repeat(self.offsets[users], lengths) + _counting(lengths)
        return Excluded(offsets=np.concatenate([[0], np.cumsum(lengths)]), item=self.item[source])

    def of(self, user: int) -> Ints:
        """Return one user's."""
        return self.item[self.offsets[user] : self.offsets[user + 1]]

    def holds(self, codes: Ints, rows: Ints) -> Bools:
        """Return which of ``codes`` ``[R, n]`` are excluded for the users ``rows`` ``[R]``, bool ``[R, n]``."""
        if not len(self.item):
            return np.zeros(codes.shape, bool)
        stride = max(int(self.item.max()), int(codes.max(initial=0))) + 1
        chosen = self.take(rows)
        held = np.repeat(np.arange(len(rows)) * stride, chosen.lengths) + chosen.item  # rising
        asked = np.arange(len(rows))[:, None] * stride + codes
        return np.asarray(held.searchsorted(asked, "right") != held.searchsorted(asked))


Find = Callable[[Floats, int, Excluded], Recommendations]


def by_index(index: ItemIndex) -> Find:
    """Return a search that finds what ``ItemIndex.search`` does for each user alone."""

    def find(user_vecs: Floats, k: int, excluded: Excluded) -> Recommendations:
        depth_of = {int(number): index.first_depth(k, int(number)) for number in np.unique(excluded.lengths)}
        depths = np.array([depth_of[number] for number in excluded.lengths.tolist()], np.int64)
        lists = _Found(len(user_vecs))
        for depth in sorted(set(depth_of.values()) - {0}):
            for rows in _together(np.flatnonzero(depths == depth)):
                scores, codes, shown = index.nearest(user_vecs[rows], depth)
                lists.add(rows, scores, codes, shown & ~excluded.holds(codes, rows), k)
        short = lists.shorter_than(k)
        if len(short):
            asks = [Ask(k=k, excluded=excluded.of(row)) for row in short.tolist()]
            lists.replace(short, index.search(user_vecs[short], asks))
        return lists.lined_up()

    return find


def by_all_items(index: ItemIndex) -> Find:
    """Return a search that ranks every item."""
    items = ExactItems(index.vectors, shown_codes(index.shows(np.arange(len(index.vectors)))))

    def find(user_vecs: Floats, k: int, excluded: Excluded) -> Recommendations:
        lists = _Found(len(user_vecs))
        for most in (
            _HOPED_EXCLUDED,
            None,
        ):  # as if few of what is excluded were near, then all where too few were left
            short = lists.shorter_than(k)
            number = excluded.lengths[short]
            depth_of = k + (number if most is None else np.minimum(number, most))
            for rows in _together(short[np.argsort(depth_of, kind="stable")]):
                depth = k + int(np.minimum(excluded.lengths[rows], most or len(excluded.item)).max(initial=0))
                scores, codes = items.search(user_vecs[rows], depth)
                lists.add(rows, scores, codes, ~excluded.holds(codes, rows), k)
        return lists.lined_up()

    return find


class _Found:
    """Lists found so far, by user."""

    def __init__(self, num_users: int) -> None:
        self._num_users = num_users
        self._counts = np.zeros(num_users, np.int64)
        self._groups: list[tuple[Ints, Recommendations]] = []

    def add(self, rows: Ints, scores: Floats, codes: Ints, shown: Bools, k: int) -> None:
        """Take the first ``k`` of those shown; lists that the users had before are forgotten."""
        shown &= shown.cumsum(axis=1) <= k
        self.replace(rows, from_dense(codes, scores, shown))

    def replace(self, rows: Ints, found: Recommendations) -> None:
        """Take lists of some users."""
        self._groups.append((rows, found))
        self._counts[rows] = np.diff(found.offsets)

    def shorter_than(self, k: int) -> Ints:
        """Return the users whose lists are short."""
        return np.flatnonzero(self._counts < k)

    def lined_up(self) -> Recommendations:
        """Return one list a user, the last that was taken."""
        if not self._groups:
            return lined_up([(np.zeros(0, np.int64), np.zeros(0, np.float32))] * self._num_users)
        together = joined([found for _, found in self._groups])
        place = np.zeros(self._num_users, np.int64)
        rows = np.concatenate([rows for rows, _ in self._groups])
        place[rows] = np.arange(len(rows))  # of equal rows the last is kept
        return together.take(place)


def _together(rows: Ints) -> list[Ints]:
    return [rows[at : at + _TOGETHER] for at in range(0, len(rows), _TOGETHER)]


def _counting(lengths: Ints) -> Ints:
    """Return 0, 1, ... of each of several runs: [2, 3] is 0 1 0 1 2."""
    stops = np.cumsum(lengths)
    return np.arange(int(stops[-1]) if len(stops) else 0) - np.repeat(stops - lengths, lengths)
