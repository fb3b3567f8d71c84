"""One SQLite file that the workers share: durable before acknowledged, and deleted means overwritten.

Write-ahead logging lets every worker read while one writes; each read sees all that was acknowledged
before it, whichever worker acknowledged it.

    synchronous = NORMAL    a commit is in the kernel: it outlives every process, a power cut may take the last seconds
    synchronous = FULL      a commit is on the disk: it outlives a power cut
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

from serving.live.store import LiveStateError

Durability = Literal["process", "power"]
_SYNCHRONOUS: Final = {"process": "NORMAL", "power": "FULL"}
_READ_BUSY_SECONDS: Final = 0.1  # a reader waits for no writer; only for the rare moment when the log is begun anew
_LARGEST_LOG_BYTES: Final = 64 << 20  # what the write-ahead log is cut back to after a burst
_TELL_SECONDS: Final = 10.0
_OWNER_ONLY: Final = 0o600
_HELD: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

_log = logging.getLogger(__name__)


class LiveFile:
    """The file; safe to use from several threads and processes.

    A file that cannot be opened when the service starts is tried again at each call.

    Args:
        path: created where absent.
        set_up: makes the tables, with the write lock held; called once, by whoever connects first.
        durability: of what is written, unless a write asks for more.
        busy_seconds: how long a writer waits for another.
    """

    def __init__(
        self,
        path: Path,
        *,
        set_up: Callable[[sqlite3.Connection], None],
        durability: Durability = "power",
        busy_seconds: float = 5.0,
    ) -> None:
        self.path = Path(path)
        self._set_up = set_up
        self._is_set_up = False
        self._durability = durability
        self._busy_seconds = busy_seconds
        self._local = threading.local()
        self._told_at = -_TELL_SECONDS
        with contextlib.suppress(LiveStateError), self.writing():
            pass

    @property
    def reader(self) -> sqlite3.Connection:
        """This thread's connection for reading; nothing is ever written through it."""
        return self._connection("reader", _READ_BUSY_SECONDS)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection for reading.

        Raises:
            LiveStateError: the file cannot be read.
        """
        with self._explained():
            yield self.reader

    @contextlib.contextmanager
    def writing(self, *, durability: Durability | None = None) -> Iterator[sqlite3.Connection]:
        """Hold the write lock; what the block wrote is kept when it ends well, and undone otherwise.

        Raises:
            LiveStateError: others hold the lock for too long, or the file cannot be written.
        """
        with self._explained():
            connection = self._connection("writer", self._busy_seconds)
            connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durability or self._durability]}")
            with _transaction(connection):
                yield connection

    def empty_log(self) -> None:
        """Leave nothing of deleted rows in the write-ahead log."""
        with contextlib.suppress(sqlite3.OperationalError):  # a reader holds it: the next checkpoint does it
            self._connection("writer", self._busy_seconds).execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close this thread's connections."""
        for connection in vars(self._local).values():
            connection.close()
        vars(self._local).clear()

    def _connection(self, kind: str, busy_seconds: float) -> sqlite3.Connection:
        held = vars(self._local)
        if kind not in held:
            held[kind] = self._connected(busy_seconds)
        connection = held[kind]
        assert isinstance(connection, sqlite3.Connection)
        return connection

    def _connected(self, busy_seconds: float) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _create(self.path)
        connection = sqlite3.connect(self.path, timeout=busy_seconds, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA journal_size_limit = {_LARGEST_LOG_BYTES}")
            connection.execute("PRAGMA secure_delete = ON")  # deleted means overwritten
            if not self._is_set_up:
                with _transaction(connection):
                    self._set_up(connection)
                self._is_set_up = True
        except BaseException:
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise
        except OSError as error:
            raise LiveStateError.unavailable(f"{self.path.name}: {error.strerror}") from None
        except sqlite3.DatabaseError as error:
            name = getattr(error, "sqlite_errorname", type(error).__name__)
            self._tell(error, name)
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _HELD:
                raise LiveStateError.busy(self.path.name) from None
            raise LiveStateError.unavailable(f"{self.path.name}: {name}") from None

    def _tell(self, error: Exception, name: str) -> None:
        """Say it once in a while: a full disk refuses every request."""
        if time.monotonic() - self._told_at > _TELL_SECONDS:
            self._told_at = time.monotonic()
            _log.warning("%s: %s (%s)", self.path.name, error, name)


def _create(path: Path) -> None:
    """Make an empty file for its owner alone; SQLite gives the log beside it the same rights."""
    # Never open one that is there: closing it would give up this process's locks on it.
    if not path.exists():
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _OWNER_ONLY))


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has ended it already
            connection.execute("ROLLBACK")
        raise
