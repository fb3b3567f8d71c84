"""What other items sell: all that is known of an item that has no history of its own.

An item stands in ever narrower groups, from all items over its department and category to its category, price band
and brand at once; and, where items have content vectors, beside the items nearest to it. The mean of a group is drawn
towards that of the group around it, the more the fewer items it has::

    shop 2.0 -> snacks 3.0 (40 items) -> snacks, band 5: 6.0 (2 items), drawn to 4.2 with a prior of 3 items

Shapes: B windows, S spans, K groups of an item from the widest to the narrowest, C channels of ``history``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.demand.inputs.history import NONZERO_LOG_AND_UNITS, NUM_BASIC, SEEN, PrefixSums

NUM_NEIGHBOURS: Final = 10  # items nearest in content whose sales stand for an item's

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Peers:
    """Prefix sums of groups of items.

    Args:
        sums: of each group, float64 ``[G, T + 1, C]``; group 0 is empty.
        group: of each item, int64 ``[I, K]``.
        holds_item: groups that hold the item itself, bool ``[K]``; its own sales are taken out of these.
    """

    sums: Tensor
    group: Tensor
    holds_item: Tensor

    @classmethod
    def build(cls, history: PrefixSums, static: Codes, vectors: npt.NDArray[np.float32] | None = None) -> Peers:
        """Add up the items' histories by group.

        Args:
            history: of the items.
            static: codes of their attributes, ``[I, A]``; 0 is unknown, and like no other item.
            vectors: content vectors ``[I, V]``, 0 where unknown.
        """
        basic = history.sums[..., :NUM_BASIC]
        levels = nested_groups(static)
        codes = _numbered(levels)  # [I, K], 0 is empty
        sums = torch.zeros(int(codes.max()) + 1, *basic.shape[1:], dtype=basic.dtype)
        for level in torch.from_numpy(codes).T:
            sums.index_add_(0, level, basic)
        sums[0] = 0
        group, holds = torch.from_numpy(codes), [True] * codes.shape[1]
        if vectors is not None:
            near = torch.from_numpy(neighbours(vectors, NUM_NEIGHBOURS))
            own = torch.arange(len(codes)) + len(sums)
            sums = torch.cat([sums, torch.stack([basic[row[row >= 0]].sum(0) for row in near])])
            group, holds = torch.cat([group, own[:, None]], dim=1), [*holds, False]
        return cls(sums=sums, group=group, holds_item=torch.tensor(holds))

    @property
    def num_levels(self) -> int:
        """K."""
        return self.group.shape[1]

    def means(self, items: Tensor, origins: Tensor, spans: Tensor, *, own: Tensor, prior_items: float) -> PeerMeans:
        """Return what each item's peers sold in the spans before the origins.

        Args:
            items, origins: ``[B]``.
            spans: periods, ``[S]``.
            own: the items' own sums over these spans, float64 ``[B, S, C]``.
            prior_items: how many items the mean of the wider group counts for.
        """
        groups = self.group[items][:, None]  # [B, 1, K]
        starts = (origins[:, None] - spans).clamp(min=0)[..., None]  # [B, S, 1]
        found = self.sums[groups, origins[:, None, None]] - self.sums[groups, starts]  # [B, S, K, C]
        found = (found - own[:, :, None] * self.holds_item[:, None]).clamp(min=0)
        periods = (origins[:, None, None] - starts).clamp(min=1)  # an item's, [B, S, 1]
        sums, seen = found[..., NONZERO_LOG_AND_UNITS], found[..., SEEN]
        mean, levels = torch.zeros_like(sums[:, :, 0]), []
        for level in range(self.num_levels):
            # Nothing lies around the widest group; a little weight keeps 0 / 0 away.
            weight = (prior_items * periods * (level > 0)).clamp(min=1e-6)  # [B, S, 1]
            mean = (sums[:, :, level] + weight * mean) / (seen[:, :, level, None] + weight)
            levels.append(mean)
        return PeerMeans(values=torch.stack(levels, dim=2), num_items=seen / periods)


@dataclass(frozen=True, kw_only=True, eq=False)
class PeerMeans:
    """Means a period of an item's peers.

    Args:
        values: share of periods with a sale, log1p units, and units; each group's drawn to the wider one's,
            float64 ``[B, S, K, 3]``.
        num_items: with data over a whole span, ``[B, S, K]``.
    """

    values: Tensor
    num_items: Tensor

    @property
    def units(self) -> Tensor:
        """Units, ``[B, S, K]``."""
        return self.values[..., 2]


def nested_groups(static: Codes) -> Codes:
    """Return codes of ever narrower groups, ``[I, K]``; the first, 0 for all, is the shop; -1 where unknown.

    An attribute comes after those that follow from it: departments stand before their categories.

    >>> nested_groups(np.array([[1, 1, 2], [2, 1, 1], [2, 1, 0], [3, 2, 2]])).tolist()
    [[0, 0, 0, 1], [0, 0, 1, 0], [0, 0, 1, -1], [0, 1, 2, 2]]
    """
    levels, within = [np.zeros(len(static), np.int64)], np.zeros((len(static), 0), np.int64)
    for column in wide_to_narrow(static):
        within = np.column_stack([within, static[:, column]])
        known = np.flatnonzero((within > 0).all(axis=1))
        codes = np.full(len(static), -1)
        codes[known] = np.unique(within[known], axis=0, return_inverse=True)[1].ravel()
        levels.append(codes)
    return np.stack(levels, axis=1)


def wide_to_narrow(static: Codes) -> list[int]:
    """Return the attributes in their order, but each after those that it settles."""
    order: list[int] = []
    for column in range(static.shape[1]):
        wider = [other for other in range(static.shape[1]) if other != column and _settles(static, column, other)]
        order += [other for other in (*wider, column) if other not in order]
    return order


def _settles(static: Codes, narrow: int, wide: int) -> bool:
    """Whether the one attribute leaves no doubt about the other, and the other way round it does."""
    pairs = len(np.unique(static[:, [narrow, wide]], axis=0))
    return pairs == len(np.unique(static[:, narrow])) and pairs > len(np.unique(static[:, wide]))


def _numbered(levels: Codes) -> Codes:
    """Return groups numbered across levels from 1 upwards; 0 for those that hold no other item."""
    found, first = np.zeros_like(levels), 1
    for level in range(levels.shape[1]):
        codes, count = levels[:, level], np.bincount(levels[:, level] + 1)
        shared = (codes >= 0) & (count[codes + 1] > 1)
        names, numbered = np.unique(codes[shared], return_inverse=True)
        found[shared, level] = first + numbered
        first += len(names)
    return found


def neighbours(vectors: npt.NDArray[np.float32], count: int) -> Codes:
    """Return each item's nearest others by cosine, int64 ``[I, count]``, best first; -1 where there are no more."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(length, np.float32(1e-12))
    known = length[:, 0] > 0
    found = np.full((len(vectors), count), -1, np.int64)
    for start in range(0, len(vectors), 1024):  # cosines of so many items with all others at once
        rows = np.arange(start, min(start + 1024, len(vectors)))
        cosine = unit[rows] @ unit.T
        cosine[:, ~known] = -np.inf
        cosine[np.arange(len(rows)), rows] = -np.inf
        best = np.argsort(-cosine, axis=1, kind="stable")[:, :count]
        usable = np.isfinite(np.take_along_axis(cosine, best, axis=1)) & known[rows, None]
        found[rows, : best.shape[1]] = np.where(usable, best, -1)
    return found
