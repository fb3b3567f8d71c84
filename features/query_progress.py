"""How far DuckDB is with a query, asked from another thread.

DuckDB 2.0 answers ``query_progress`` from any thread while a query runs, as a percentage that is -1 at first and between
queries, but only on a connection whose progress bar is enabled; printing the bar is a setting of its own. The share is
of one query, and a sort's tail comes after 100%.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final

import duckdb

_QUERIES: Final[ContextVar[QueryProgress | None]] = ContextVar("queries", default=None)


class QueryProgress:
    """The connections that are open, newest last."""

    def __init__(self) -> None:
        self._connections: list[duckdb.DuckDBPyConnection] = []

    def share(self) -> float | None:
        """Return how much of the newest connection's query is done, from 0 to 1; ``None`` where none runs."""
        try:
            percent = self._connections[-1].query_progress()
        except (IndexError, duckdb.Error):  # closed meanwhile
            return None
        return percent / 100 if percent >= 0 else None

    @contextlib.contextmanager
    def of(self, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Watch a connection while the block runs."""
        connection.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
        self._connections.append(connection)
        try:
            yield
        finally:
            self._connections.remove(connection)


@contextlib.contextmanager
def watching_queries() -> Iterator[QueryProgress]:
    """Yield what watches the connections that are opened through ``watched`` inside the block."""
    queries = QueryProgress()
    token = _QUERIES.set(queries)
    try:
        yield queries
    finally:
        _QUERIES.reset(token)


@contextlib.contextmanager
def watched(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let whoever watches queries see those of a connection; nothing where nobody does."""
    queries = _QUERIES.get()
    with contextlib.nullcontext() if queries is None else queries.of(connection):
        yield
