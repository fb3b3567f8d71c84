"""Many users' lists as arrays, and as the table that is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.recommendations import Recommendations
from serving.api.schemas import Strategy

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

SCHEMA: Final = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("items", pa.list_(pa.string()), nullable=False),
        pa.field("scores", pa.list_(pa.float32()), nullable=False),
        pa.field("strategy", pa.string(), nullable=False),
        pa.field("known", pa.bool_(), nullable=False),
    ]
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Lists:
    """Lists of ``Q`` users, in the order in which they were asked for.

    Args:
        found: codes and scores, one list a user.
        strategies: what chose the first item of each, str ``[Q]``.
        known: whether the release holds a history of theirs that may be used, bool ``[Q]``.
    """

    found: Recommendations
    strategies: npt.NDArray[np.object_]
    known: Bools

    def table(self, user_ids: Sequence[str], item_ids: pa.Array) -> pa.Table:
        """Return the rows that are written.

        Args:
            user_ids: ``[Q]``.
            item_ids: id of each item code.
        """
        offsets = pa.array(self.found.offsets.astype(np.int32))
        items = item_ids.take(pa.array(self.found.item))
        columns: list[Any] = [
            pa.array(user_ids, pa.string()),
            pa.ListArray.from_arrays(offsets, items),
            pa.ListArray.from_arrays(offsets, pa.array(self.found.score, pa.float32())),
            pa.array(self.strategies, pa.string()),
            pa.array(self.known),
        ]
        return pa.Table.from_arrays(columns, schema=SCHEMA)


class Gathered:
    """Lists that come in groups of users, in any order, until every user has one.

    Args:
        num_users: Q.
    """

    def __init__(self, num_users: int) -> None:
        self._rows: list[Ints] = []
        self._found: list[Recommendations] = []
        self._strategies = np.empty(num_users, object)

    def add(self, rows: Ints, found: Recommendations, strategies: Strategy | Sequence[Strategy]) -> None:
        """Take the lists of some users.

        Args:
            rows: which users, ``[R]``.
            found: R lists.
            strategies: of all of them, or of each.
        """
        self._rows.append(rows)
        self._found.append(found)
        self._strategies[rows] = strategies

    def lists(self, known: Bools) -> Lists:
        """Return all lists, by user."""
        rows = np.concatenate(self._rows)
        together = joined(self._found)
        if (np.diff(rows) < 0).any():
            together = together.take(np.argsort(rows))
        return Lists(found=together, strategies=self._strategies, known=known)


def joined(parts: Sequence[Recommendations]) -> Recommendations:
    """Return the lists of several groups, one group behind the other."""
    if len(parts) == 1:
        return parts[0]
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    return Recommendations(
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        item=np.concatenate([part.item for part in parts]),
        score=np.concatenate([part.score for part in parts]),
    )


def from_dense(codes: Ints, scores: Floats, keep: Bools) -> Recommendations:
    """Return the marked cells of arrays ``[Q, n]``, each row a list, best first."""
    return Recommendations(
        offsets=np.concatenate([[0], np.cumsum(keep.sum(axis=1))]), item=codes[keep], score=scores[keep]
    )
