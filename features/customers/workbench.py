"""Where the customer table is computed: what its parts ask of an engine beside the table functions.

A frame is a DuckDB relation or a PySpark frame; parts treat both alike, through Narwhals and ``features.tables``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import duckdb
import pyarrow as pa

from features.engine import sql_name

Frame = Any  # a DuckDB relation or a PySpark frame
Batches = Iterator[pa.RecordBatch]
BatchFunction = Callable[[Batches], Batches]

_ROWS_A_BATCH: Final = 50_000  # of what numpy computes in one go: some tens of bytes a row and node of its sums
_APPENDED: Final = 16  # batches that go into a table together


class Workbench(Protocol):
    """What parts need of an engine."""

    def keep(self, name: str, frame: Frame) -> Frame:
        """Compute a frame and keep it: whoever reads it later reads the result. One name, one content."""

    def read(self, path: Path) -> Frame:
        """Return the frame of a Parquet file."""

    def from_arrow(self, table: pa.Table) -> Frame:
        """Return a small table as a frame."""

    def to_arrow(self, frame: Frame) -> pa.Table:
        """Return a frame that is small by its nature: sums, fitted parameters, a bounded sample."""

    def mapped(
        self, name: str, frame: Frame, function: BatchFunction, schema: pa.Schema, *, order: Sequence[str] = ()
    ) -> Frame:
        """Return what a function makes of a frame's rows, batch after batch.

        Args:
            name: of a table for it, where the engine needs one.
            frame: the rows.
            function: batches -> batches of ``schema``; each call sees some of the rows, and may run elsewhere.
            schema: of the result: text, int64 and double.
            order: columns that a call's rows are sorted by, the first of which is never split between calls; any
                order where left out.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class DuckWorkbench:
    """Tables of one DuckDB connection.

    Args:
        connection: all relations live on it.
        threads: that functions of numpy may use; what NumPy and SciPy compute of an array lets other threads run.
        prefix: of the tables' names, so that two workbenches share a connection.
    """

    connection: duckdb.DuckDBPyConnection
    threads: int = 1
    prefix: str = ""
    _kept: list[str] = field(default_factory=list, init=False, repr=False)

    def keep(self, name: str, frame: Frame) -> Frame:
        """Make a table of it."""
        self._kept.append(name)
        frame.create(self._name(name))
        return self.table(name)

    def append(self, name: str, frame: Frame) -> Frame:
        """Add rows to a table, which the first of them make."""
        if name not in self._kept:
            return self.keep(name, frame)
        frame.insert_into(self._name(name))
        return self.table(name)

    def table(self, name: str) -> Frame:
        """Return a table that is kept."""
        return self.connection.table(self._name(name))

    def clear(self) -> None:
        """Drop all tables."""
        for name in self._kept:
            self.connection.execute(f"DROP TABLE {self._name(name)}")
        self._kept.clear()

    def read(self, path: Path) -> Frame:
        """Return the relation of a file."""
        return self.connection.read_parquet(str(path))

    def from_arrow(self, table: pa.Table) -> Frame:
        """Return the relation of a table in memory."""
        return self.connection.from_arrow(table)

    def to_arrow(self, frame: Frame) -> pa.Table:
        """Fetch a relation."""
        return frame.to_arrow_table()

    def mapped(
        self, name: str, frame: Frame, function: BatchFunction, schema: pa.Schema, *, order: Sequence[str] = ()
    ) -> Frame:
        """Map in this process: without an order on all threads."""
        found = self.append(name, self.connection.from_arrow(schema.empty_table()))
        source = DuckWorkbench(connection=self.connection, prefix=f"{self.prefix}source of ")
        source.keep(name, frame)
        for batches in _in_lots(self._made(source.table(name), function, order), _APPENDED):
            found = self.append(name, self.connection.from_arrow(pa.Table.from_batches(batches, schema)))
        source.clear()
        return found

    def _made(self, table: Frame, function: BatchFunction, order: Sequence[str]) -> Batches:
        # A connection does one thing at a time; a cursor reads while results are added.
        with self.connection.cursor() as reading, ThreadPoolExecutor(self.threads) as pool:
            rows = reading.table(table.alias)
            reader = (rows.order(", ".join(order)) if order else rows).to_arrow_reader(_ROWS_A_BATCH)
            if order:
                yield from function(iter(reader))
                return
            for batches in _in_lots(reader, 2 * self.threads):
                for made in pool.map(lambda batch: list(function(iter([batch]))), batches):
                    yield from made

    def _name(self, name: str) -> str:
        return sql_name(self.prefix + name)


def _in_lots(batches: Iterable[pa.RecordBatch], size: int) -> Iterator[list[pa.RecordBatch]]:
    iterator = iter(batches)
    while lot := list(itertools.islice(iterator, size)):
        yield lot
