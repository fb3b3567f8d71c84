"""Who does what, of several processes over one file: a lease runs out unless its holder renews it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from serving.outbox.tables import outbox_file
from serving.surfaces.clock import wall_clock_us


class Lease:
    """The right to do one thing alone.

    Args:
        path: SQLite file, created where absent.
        name: of the thing.
        seconds: it runs out so long after it was last taken or renewed.
        wall: the present, UTC microseconds.
    """

    def __init__(self, path: Path, name: str, *, seconds: float, wall: Callable[[], int] = wall_clock_us) -> None:
        self._file = outbox_file(path)
        self._name = name
        self._length_us = int(seconds * 1e6)
        self._wall = wall
        self._holder = secrets.token_hex(8)
        self._until_us = 0

    def take(self) -> bool:
        """Take or renew the lease; return whether it is ours."""
        now_us = self._wall()
        # Renewed once a third of it is over: whoever holds it may act for two thirds without asking the file.
        if 2 * self._length_us < 3 * (self._until_us - now_us) <= 3 * self._length_us:
            return True
        with self._file.writing() as connection:
            found = connection.execute("SELECT holder, until_us FROM leases WHERE name = ?", (self._name,)).fetchone()
            # One that lies further ahead than any is long was written before the clock was set back.
            if found and found[0] != self._holder and now_us < found[1] <= now_us + 2 * self._length_us:
                self._until_us = 0
                return False
            connection.execute(
                "INSERT OR REPLACE INTO leases (name, holder, until_us) VALUES (?, ?, ?)",
                (self._name, self._holder, now_us + self._length_us),
            )
        self._until_us = now_us + self._length_us
        return True

    def leave(self) -> None:
        """Let others have it at once."""
        self._until_us = 0
        with self._file.writing() as connection:
            connection.execute("DELETE FROM leases WHERE name = ? AND holder = ?", (self._name, self._holder))
