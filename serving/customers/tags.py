"""Tags of customers: names for many at once from memory, since, until and evidence of one from the file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features import columns as c
from features.vocabulary import FIRST, Vocabulary
from serving.api.customer_schemas import CustomerTag
from serving.customers.user_rows import UserRows

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class TagBook:
    """Who carries which tag.

    Args:
        users: those who carry any; row ``r`` is code ``r + 2``.
        offsets: where each user's tags begin, ``[U + 1]``.
        tags: codes of ``names``, ``[T]``.
        names: of the tags.
        until_us: when each lapses without further events, UTC microseconds, ``[T]``; the greatest number for never.
        rows: all that is known of each tag.
        titles: of the rules, by name.
    """

    users: Vocabulary
    offsets: Ints
    tags: Ints
    names: list[str]
    until_us: Ints
    rows: UserRows
    titles: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, *, titles: dict[str, str] | None = None) -> TagBook:
        """Read a tags file; the evidence stays on disk."""
        table = pq.read_table(path, columns=[c.USER_ID, "tag", "until"])
        users = table[c.USER_ID].to_numpy()
        codes, names = pd.factorize(table["tag"].to_numpy())
        first = np.flatnonzero(np.concatenate([[True], users[1:] != users[:-1]])) if len(users) else np.zeros(0, int)
        until = table["until"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        return cls(
            users=Vocabulary.from_ids(users[first]),
            offsets=np.append(first, len(users)).astype(np.int64),
            tags=codes.astype(np.int64),
            names=[str(name) for name in names],
            until_us=until.fill_null(np.iinfo(np.int64).max).to_numpy().astype(np.int64),
            rows=UserRows(path),
            titles=titles or {},
        )

    def names_of(self, customers: Sequence[str], *, now_us: int) -> list[list[str]]:
        """Return the tags that each customer carries now, by name."""
        rows = self.users.encode(customers).astype(np.int64) - FIRST
        return [[] if row < 0 else self._names(int(row), now_us) for row in rows]

    def of(self, customer: str, *, now_us: int) -> list[CustomerTag]:
        """Return the tags that a customer carries now, with since, until and evidence."""
        if customer not in self.users:
            return []
        rows = [row for row in self.rows.of(customer) if row["until"] is None or _us(row["until"]) > now_us]
        return [
            CustomerTag(
                tag=row["tag"],
                title=self.titles.get(row["tag"], ""),
                since=row["since"],
                until=row["until"],
                evidence=json.loads(row["evidence"]),
                version=row["version"] or "",
                source=row["source"],
            )
            for row in rows
        ]

    def carriers(self, tag: str, customers: Vocabulary, *, now_us: int) -> npt.NDArray[np.bool_]:
        """Return which customers carry a tag now, bool by row of ``customers``."""
        found = np.zeros(len(customers.ids), bool)
        if tag in self.names:
            held = (self.tags == self.names.index(tag)) & (self.until_us > now_us)
            owners = np.searchsorted(self.offsets, np.flatnonzero(held), side="right") - 1
            codes = customers.encode(self.users.ids[owners]).astype(np.int64) - FIRST
            found[codes[codes >= 0]] = True
        return found

    def _names(self, row: int, now_us: int) -> list[str]:
        span = slice(int(self.offsets[row]), int(self.offsets[row + 1]))
        return [self.names[tag] for tag in self.tags[span][self.until_us[span] > now_us]]


def _us(instant: Any) -> int:
    return round(instant.timestamp() * 1_000_000)
