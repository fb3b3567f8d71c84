"""Consents that were given or withdrawn through this service, in the file of the live events."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from serving.live.sqlite_file import LiveFile

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS consents (
    seq INTEGER PRIMARY KEY,
    user_id TEXT NOT NULL,
    purpose TEXT NOT NULL,
    granted INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    UNIQUE (user_id, purpose, at_us, granted)
);
"""


class ConsentChange(NamedTuple):
    """One row of the contract's ``consents``; the instant is UTC microseconds."""

    user_id: str
    purpose: str
    granted: bool
    at_us: int


class LiveConsents:
    """The table; safe to use from several threads and processes.

    Args:
        path: SQLite file, created where absent.
    """

    def __init__(self, path: Path) -> None:
        self._file = LiveFile(path, _SCHEMA)

    def add(self, change: ConsentChange) -> None:
        """Keep a change; it is on disk when this returns, and one sent again counts once."""
        with self._file.writing() as connection:
            connection.execute(
                "INSERT INTO consents (user_id, purpose, granted, at_us) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                change,
            )

    def of_users(self, user_ids: Iterable[str]) -> dict[str, list[ConsentChange]]:
        """Return the changes of those who made any, in order of arrival."""
        query = (
            "SELECT user_id, purpose, granted, at_us FROM consents "
            "WHERE user_id IN (SELECT value FROM json_each(?)) ORDER BY seq"
        )
        found: dict[str, list[ConsentChange]] = defaultdict(list)
        for user_id, purpose, granted, at_us in self._file.connection.execute(query, (json.dumps(list(user_ids)),)):
            found[user_id].append(ConsentChange(user_id, purpose, bool(granted), at_us))
        return found

    def users(self) -> list[str]:
        """Return everyone who made a change."""
        return [row[0] for row in self._file.connection.execute("SELECT DISTINCT user_id FROM consents")]

    def delete_user(self, user_id: str) -> int:
        """Delete one user's changes, also from the write-ahead log; return how many there were."""
        with self._file.writing() as connection:
            deleted = connection.execute("DELETE FROM consents WHERE user_id = ?", (user_id,)).rowcount
        self._file.empty_log()
        return deleted

    def close(self) -> None:
        """Close this thread's connection."""
        self._file.close()
