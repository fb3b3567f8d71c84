"""One customer's rows of a Parquet file that is sorted by user: read where they lie, and not kept in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import columns as c
from features.errors import ReleaseError


class UserRows:
    """Rows by user.

    Args:
        path: a file with ``user_id``, sorted by it.

    Raises:
        ReleaseError: it has no such column.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        metadata = pq.read_metadata(path)
        names = metadata.schema.names
        if c.USER_ID not in names:
            raise ReleaseError(f"{path}: expected a column {c.USER_ID!r}, found {names}.")
        column = names.index(c.USER_ID)
        self._ranges = [_range(metadata.row_group(n).column(column)) for n in range(metadata.num_row_groups)]

    def of(self, user_id: str) -> list[dict[str, Any]]:
        """Return a user's rows in the order of the file."""
        groups = [n for n, (low, high) in enumerate(self._ranges) if low is None or low <= user_id <= (high or "")]
        if not groups:
            return []
        table = pq.ParquetFile(self._path, memory_map=True).read_row_groups(groups, use_threads=False)
        mine = pc.equal(table[c.USER_ID].cast(pa.string()), user_id)
        rows: list[dict[str, Any]] = table.filter(mine).to_pylist()
        return rows


def _range(column: Any) -> tuple[str | None, str | None]:
    """Return the least and greatest user of a row group, ``None`` where the file does not say."""
    found = column.statistics
    return (found.min, found.max) if found is not None and found.has_min_max else (None, None)
