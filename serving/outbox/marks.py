"""Customers to look at, and when: soon after their events, and again once something has waited long enough in vain."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from serving.outbox.tables import outbox_file

Mark = tuple[int, str]  # UTC microseconds, user_id
_READ_TO: Final = "read_to"


class Marks:
    """The table; safe to use from several threads and processes.

    Args:
        path: SQLite file, created where absent.
    """

    def __init__(self, path: Path) -> None:
        self._file = outbox_file(path)

    def add(self, rows: Iterable[Mark], *, read_to: str | None = None) -> None:
        """Keep instants (UTC microseconds) and customers to look at then; the same twice counts once.

        Args:
            rows: in any order.
            read_to: the position in live state up to which events are marked now; kept with the rows or not at all.
        """
        with self._file.writing() as connection:
            connection.executemany("INSERT OR IGNORE INTO marks (at_us, user_id) VALUES (?, ?)", rows)
            if read_to is not None:
                fact = (_READ_TO, read_to)
                connection.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", fact)

    def read_to(self) -> str:
        """Return the position in live state up to which events are marked; blank before the first."""
        row = self._file.reader.execute("SELECT value FROM facts WHERE name = ?", (_READ_TO,)).fetchone()
        return "" if row is None else str(row[0])

    def due(self, now_us: int, *, limit: int) -> list[Mark]:
        """Return what is due now, the longest due first."""
        rows = self._file.reader.execute(
            "SELECT at_us, user_id FROM marks WHERE at_us <= ? ORDER BY at_us, user_id LIMIT ?", (now_us, limit)
        )
        return [(int(at_us), user_id) for at_us, user_id in rows]

    def num_due(self, now_us: int) -> int:
        """Return how much is due now."""
        return int(self._file.reader.execute("SELECT count(*) FROM marks WHERE at_us <= ?", (now_us,)).fetchone()[0])

    def done(self, marks: Iterable[Mark]) -> None:
        """Strike out what was looked at."""
        with self._file.writing() as connection:
            connection.executemany("DELETE FROM marks WHERE at_us = ? AND user_id = ?", marks)

    def withdraw(self, is_gone: Callable[[str], bool]) -> None:
        """Strike out customers who are gone, overwritten on disk."""
        rows = self._file.reader.execute("SELECT DISTINCT user_id FROM marks").fetchall()
        if gone := [(user_id,) for (user_id,) in rows if is_gone(user_id)]:
            with self._file.writing() as connection:
                connection.executemany("DELETE FROM marks WHERE user_id = ?", gone)
            self._file.empty_log()
