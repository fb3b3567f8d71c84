"""One SQLite file that the workers share: durable before acknowledged, and deleted means overwritten.

Write-ahead logging lets every worker read while one writes; each read sees all that was acknowledged
before it, whichever worker acknowledged it.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_BUSY_SECONDS: Final = 5.0


class LiveFile:
    """The file; safe to use from several threads and processes.

    Args:
        path: created where absent.
        schema: SQL that makes what is not there yet.
    """

    def __init__(self, path: Path, schema: str) -> None:
        self.path = Path(path)
        self._local = threading.local()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.connection.executescript(schema)

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        if not hasattr(self._local, "connection"):
            connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # what is acknowledged outlives a power cut
            connection.execute("PRAGMA secure_delete = ON")  # deleted means overwritten
            self._local.connection = connection
        connection = self._local.connection
        assert isinstance(connection, sqlite3.Connection)
        return connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock; what the block wrote is on disk when it ends well, and undone otherwise."""
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    def empty_log(self) -> None:
        """Leave nothing of deleted rows in the write-ahead log."""
        with contextlib.suppress(sqlite3.OperationalError):  # a reader holds it: the next checkpoint does it
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close this thread's connection."""
        self.connection.close()
        del self._local.connection
