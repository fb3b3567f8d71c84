"""Recent events of all users, in the file that the workers share."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from serving.live.sqlite_file import LiveFile

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    ts_us INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    item_id TEXT
);
CREATE INDEX IF NOT EXISTS events_by_user ON events (user_id, ts_us, seq, event_type, item_id);
"""


class LiveEvent(NamedTuple):
    """One event as it is kept."""

    event_id: str
    user_id: str
    ts_us: int
    event_type: str
    item_id: str | None


@dataclass(frozen=True, kw_only=True)
class AddedEvents:
    """What became of a batch: row numbers are positions in it."""

    num_accepted: int
    num_duplicates: int
    refused_rows: tuple[int, ...]
    num_withheld: int = 0


class LiveEvents:
    """The store; safe to use from several threads and processes.

    Args:
        path: SQLite file, created where absent.
        max_events: the most events kept a user; the oldest go first.
    """

    def __init__(self, path: Path, *, max_events: int) -> None:
        self._file = LiveFile(path, _SCHEMA)
        self._max_events = max_events

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self._file.path

    def add(
        self,
        events: Sequence[LiveEvent],
        *,
        refuses: Callable[[str], bool],
        withholds: Callable[[LiveEvent], bool] = lambda _: False,
    ) -> AddedEvents:
        """Keep a batch of events; they are on disk when this returns.

        Args:
            events: in any order; an ``event_id`` that is kept already counts as a duplicate.
            refuses: whether a user's events must not be kept. It is asked inside the write lock, so that
                a deletion that follows its own entry in the erasure list misses nothing.
            withholds: whether no purpose may use an event, so that it is not kept; asked there too.
        """
        with self._file.writing() as connection:
            refused = tuple(row for row, event in enumerate(events) if refuses(event.user_id))
            known = [event for row, event in enumerate(events) if row not in set(refused)]
            kept = [event for event in known if not withholds(event)]
            before = connection.total_changes
            connection.executemany(
                "INSERT INTO events (event_id, user_id, ts_us, event_type, item_id) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (event_id) DO NOTHING",
                kept,
            )
            num_accepted = connection.total_changes - before
            for user_id in {event.user_id for event in kept}:
                self._trim(connection, user_id)
        return AddedEvents(
            num_accepted=num_accepted,
            num_duplicates=len(kept) - num_accepted,
            refused_rows=refused,
            num_withheld=len(known) - len(kept),
        )

    def of_user(self, user_id: str) -> list[tuple[int, str, str | None]]:
        """Return one user's ``(ts_us, event_type, item_id)``, oldest first, ties in order of arrival."""
        query = "SELECT ts_us, event_type, item_id FROM events WHERE user_id = ? ORDER BY ts_us, seq"
        return self._file.connection.execute(query, (user_id,)).fetchall()

    def users(self) -> list[str]:
        """Return all users with live events."""
        return [row[0] for row in self._file.connection.execute("SELECT DISTINCT user_id FROM events")]

    def delete_user(self, user_id: str) -> int:
        """Delete one user's events, also from the write-ahead log; return how many there were."""
        with self._file.writing() as connection:
            deleted = connection.execute("DELETE FROM events WHERE user_id = ?", (user_id,)).rowcount
        self._file.empty_log()
        return deleted

    def keep_only(self, user_id: str, may_serve: Callable[[int], bool]) -> int:
        """Delete a user's events of instants that nothing may use; return how many there were."""
        with self._file.writing() as connection:
            rows = connection.execute("SELECT seq, ts_us FROM events WHERE user_id = ?", (user_id,)).fetchall()
            gone = [(seq,) for seq, ts_us in rows if not may_serve(ts_us)]
            connection.executemany("DELETE FROM events WHERE seq = ?", gone)
        if gone:
            self._file.empty_log()
        return len(gone)

    def close(self) -> None:
        """Close this thread's connection."""
        self._file.close()

    def _trim(self, connection: sqlite3.Connection, user_id: str) -> None:
        connection.execute(
            "DELETE FROM events WHERE seq IN ("
            "SELECT seq FROM events WHERE user_id = ? ORDER BY ts_us DESC, seq DESC LIMIT -1 OFFSET ?)",
            (user_id, self._max_events),
        )


def content_id(user_id: str, event_type: str, item_id: str | None, ts_us: int) -> str:
    """Return the id of an event that came without one: the same content has the same id."""
    text = "\x1f".join((user_id, event_type, item_id or "", str(ts_us)))
    return "content-" + hashlib.sha256(text.encode()).hexdigest()[:32]
