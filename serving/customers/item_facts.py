"""What is known of each item, looked up where it lies: a catalogue of objects would take long to make and much to keep."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import columns as c
from features.triggers.trigger import ItemFacts


class FactTable(Mapping[str, ItemFacts]):
    """Facts by item id.

    Args:
        rows: columns are the fields of ``ItemFacts``.
    """

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows.take(pc.sort_indices(rows[c.ITEM_ID])).combine_chunks()
        self._ids = self._rows[c.ITEM_ID]

    @classmethod
    def load(cls, path: Path) -> FactTable:
        """Read a customers part's file."""
        return cls(pq.read_table(path, use_threads=False))

    def __getitem__(self, item_id: str) -> ItemFacts:
        row = bisect.bisect_left(self._ids, item_id, key=lambda one: one.as_py())
        if row == len(self._ids) or self._ids[row].as_py() != item_id:
            raise KeyError(item_id)
        return ItemFacts(**self._rows.slice(row, 1).to_pylist()[0])

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids.to_pylist())

    def __len__(self) -> int:
        return len(self._ids)
