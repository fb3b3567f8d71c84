"""Live state in one SQLite file, shared by the workers of one machine.

A row of ``events`` stays while answers read it (``is_live``) or the log has not been taken; so what was acknowledged
and what is logged are one row, written in one commit.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from serving.live.ageing import age_clock_us
from serving.live.settings import LiveSettings
from serving.live.sqlite_file import LiveFile
from serving.live.sqlite_reads import GENERATION, CachedReads, read_consents
from serving.live.sqlite_schema import set_up
from serving.live.store import (
    AddedEvents,
    Arrived,
    ConsentChange,
    Judge,
    LiveEvent,
    LiveUser,
    LoggedEvent,
    judged,
    receipt_us,
    stamped,
)
from serving.surfaces.clock import wall_clock_us

_DAY_US: Final = 86_400_000_000
_GRACE_US: Final = _DAY_US  # what a clock that runs ahead must not delete
_SWEEP_SECONDS: Final = 60.0
_SWEPT_ROWS: Final = 5_000
_PAGE: Final = 1_000


class SqliteStore:
    """The store; safe to use from several threads and processes.

    Args:
        path: SQLite file, created where absent.
        settings: durability, caps and ages.
        wall: the present, UTC microseconds.
    """

    def __init__(
        self, path: Path, settings: LiveSettings = LiveSettings(), *, wall: Callable[[], int] = wall_clock_us
    ) -> None:
        self._settings = settings
        self._wall = wall
        self._file = LiveFile(
            path,
            set_up=lambda connection: set_up(connection, now_us=wall()),
            durability=settings.durability,
            busy_seconds=settings.busy_seconds,
        )
        self._local = threading.local()
        self._swept_at = -_SWEEP_SECONDS

    @property
    def place(self) -> str:
        """The SQLite file."""
        return str(self._file.path)

    @property
    def holds_consents(self) -> bool:
        """Whether anyone ever changed a consent here, as of this thread's last read."""
        return self._reads.holds_consents

    def add(self, events: Sequence[LiveEvent], *, judge: Judge) -> AddedEvents:
        """Keep a batch of events; see ``LiveStore``."""
        return self.add_together([events], judge=judge)[0]

    def add_together(self, batches: Sequence[Sequence[LiveEvent]], *, judge: Judge) -> list[AddedEvents]:
        """Keep several callers' batches with one commit."""
        with self._file.writing() as connection:
            now_us = self._received(connection, [event for batch in batches for event in batch])
            taken = _meta(connection, "taken")
            oldest_us = self._oldest_us(min(now_us, _meta(connection, "aged_us")))
            added = [self._insert(connection, batch, judge, now_us, oldest_us) for batch in batches]
            for user_id in {event.user_id for batch in batches for event in batch}:
                self._trim(connection, user_id, taken)
            self._sweep(connection, taken)
        return added

    def add_consent(self, change: ConsentChange) -> None:
        """Keep a change of consent, also past a power cut."""
        with self._file.writing(durability="power") as connection:
            connection.execute(
                "INSERT INTO consents (user_id, purpose, granted, at_us) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                change,
            )

    def read(self, user_ids: Iterable[str]) -> dict[str, LiveUser]:
        """Return what some ids sent, of those that sent anything."""
        with self._file.reading():
            return self._reads.users(user_ids, since_us=self._oldest_us(self._wall()))

    def consents_of(self, user_ids: Iterable[str]) -> dict[str, list[ConsentChange]]:
        """Return the changes of consent of those who made any."""
        with self._file.reading() as connection:
            return read_consents(connection, list(user_ids))

    def kept_of(self, user_ids: Sequence[str]) -> list[LiveEvent]:
        """Return all that is kept of some ids' events, live or in the log."""
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT event_id, user_id, ts_us, event_type, item_id, more FROM events "
                "WHERE user_id IN (SELECT value FROM json_each(?)) ORDER BY ts_us, seq",
                (json.dumps(list(user_ids)),),
            ).fetchall()
        return [LiveEvent(*row) for row in rows]

    def users(self) -> list[str]:
        """Return all ids that anything is kept of."""
        with self._file.reading() as connection:
            return [
                row[0] for row in connection.execute("SELECT user_id FROM events UNION SELECT user_id FROM consents")
            ]

    def consents(self) -> Iterator[dict[str, list[ConsentChange]]]:
        """Yield the changes of consent of all who made any, page by page."""
        query = "SELECT DISTINCT user_id FROM consents WHERE user_id > ? ORDER BY user_id LIMIT ?"
        after = ""
        while True:
            with self._file.reading() as connection:
                ids = [row[0] for row in connection.execute(query, (after, _PAGE))]
                if not ids:
                    return
                page = read_consents(connection, ids)
            yield page
            after = ids[-1]

    def delete_user(self, user_id: str) -> int:
        """Forget one id, also in the write-ahead log; return how many live events that were."""
        with self._file.writing(durability="power") as connection:
            deleted = _num_live(connection, user_id)
            connection.execute("DELETE FROM events WHERE user_id = ?", (user_id,))
            connection.execute("DELETE FROM consents WHERE user_id = ?", (user_id,))
            _tell_readers(connection)
        self._file.empty_log()
        return deleted

    def keep_only(self, user_id: str, may_serve: Callable[[int], bool]) -> int:
        """Delete an id's events of instants that nothing may use; return how many live events that were."""
        with self._file.writing(durability="power") as connection:
            before = _num_live(connection, user_id)
            rows = connection.execute("SELECT seq, ts_us FROM events WHERE user_id = ?", (user_id,)).fetchall()
            gone = [(seq,) for seq, ts_us in rows if not may_serve(ts_us)]
            connection.executemany("DELETE FROM events WHERE seq = ?", gone)
            deleted = before - _num_live(connection, user_id)
            _tell_readers(connection)
        if gone:
            self._file.empty_log()
        return deleted

    def logged(self, *, after: str = "", limit: int = 10_000) -> list[LoggedEvent]:
        """Return the events of the log, in order of arrival, from one position on."""
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT seq, event_id, user_id, ts_us, event_type, item_id, more FROM events "
                "WHERE seq > max(?, (SELECT value FROM meta WHERE name = 'taken')) ORDER BY seq LIMIT ?",
                (int(after or 0), limit),
            ).fetchall()
        return [LoggedEvent(str(seq), LiveEvent(*event)) for seq, *event in rows]

    def arrived(self, *, after: str, limit: int) -> Arrived:
        """Return the events that came after a position; live ones stay when the log is taken."""
        with self._file.reading() as connection:
            [newest] = connection.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()
            is_whole = int(after or 0) <= newest  # otherwise this is not the file that the position is of
            rows = connection.execute(
                "SELECT seq, event_id, user_id, ts_us, event_type, item_id, more FROM events WHERE seq > ? ORDER BY seq LIMIT ?",
                (int(after or 0) if is_whole else 0, limit),
            ).fetchall()
        events = [LoggedEvent(str(seq), LiveEvent(*event)) for seq, *event in rows]
        unmoved = after if is_whole else str(newest)
        return Arrived(events, events[-1].position if events else unmoved, is_whole)

    def forget_logged(self, upto: str) -> None:
        """Drop the log up to a position; live events stay."""
        with self._file.writing() as connection:
            taken = _meta(connection, "taken")
            connection.execute("UPDATE meta SET value = max(value, ?) WHERE name = 'taken'", (int(upto),))
            connection.execute("DELETE FROM events WHERE seq > ? AND seq <= ? AND is_live = 0", (taken, int(upto)))

    def risk(self) -> str:
        """Return nothing: SQLite is set by ``durability``."""
        return ""

    def close(self) -> None:
        """Close this thread's connections."""
        vars(self._local).clear()
        self._file.close()

    @property
    def _reads(self) -> CachedReads:
        held = vars(self._local)
        if "reads" not in held:
            held["reads"] = CachedReads(self._file.reader, max_users=self._settings.cached_users)
        return held["reads"]

    def _insert(
        self, connection: sqlite3.Connection, events: Sequence[LiveEvent], judge: Judge, now_us: int, oldest_us: int
    ) -> AddedEvents:
        kept, others = judged(events, judge, now_us=now_us)
        before = connection.total_changes
        connection.executemany(
            "INSERT INTO events (event_id, user_id, ts_us, event_type, item_id, more, is_live, received_us) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (event_id) DO NOTHING",
            [(*event, self._is_live(event, oldest_us), now_us) for event in stamped(kept, now_us)],
        )
        num_accepted = connection.total_changes - before
        return AddedEvents(num_accepted=num_accepted, num_duplicates=len(kept) - num_accepted, **others)

    def _received(self, connection: sqlite3.Connection, events: Sequence[LiveEvent]) -> int:
        """Return the moment of receipt, which goes back for no worker, and note it where an event is stamped with it."""
        newest_us = _meta(connection, "newest_us")
        now_us = receipt_us(self._wall(), newest_us)
        if now_us != newest_us and not all(event.ts_us for event in events):
            connection.execute("UPDATE meta SET value = ? WHERE name = 'newest_us'", (now_us,))
        return now_us

    def _is_live(self, event: LiveEvent, oldest_us: int) -> bool:
        return event.event_type not in self._settings.logged_only and event.ts_us >= oldest_us

    def _oldest_us(self, now_us: int) -> int:
        return now_us - int(self._settings.max_age_days * _DAY_US)

    def _trim(self, connection: sqlite3.Connection, user_id: str, taken: int) -> None:
        rows = connection.execute(
            "SELECT seq FROM events WHERE user_id = ? AND is_live = 1 ORDER BY ts_us DESC, seq DESC LIMIT -1 OFFSET ?",
            (user_id, self._settings.max_events),
        ).fetchall()
        connection.executemany("DELETE FROM events WHERE seq = ?", [row for row in rows if row[0] <= taken])
        connection.executemany("UPDATE events SET is_live = 0 WHERE seq = ?", [row for row in rows if row[0] > taken])

    def _sweep(self, connection: sqlite3.Connection, taken: int) -> None:
        """Once a minute, delete some of what is past its age: live events by their time, the log by that of receipt."""
        if time.monotonic() - self._swept_at < _SWEEP_SECONDS:
            return
        self._swept_at = time.monotonic()
        aged_us = self._aged(connection) - _GRACE_US
        logged_us = aged_us - int(self._settings.log_days * _DAY_US)
        connection.execute(
            "DELETE FROM events WHERE seq IN "
            "(SELECT seq FROM events WHERE ts_us < ? AND (seq <= ? OR received_us < ?) LIMIT ?)",
            (self._oldest_us(aged_us), taken, logged_us, _SWEPT_ROWS),
        )

    def _aged(self, connection: sqlite3.Connection) -> int:
        """Return the instant that ages count from, and note it for the next sweep."""
        wall_us = self._wall()
        before_us, seen_us = (_meta(connection, name) for name in ("aged_us", "seen_us"))
        aged_us = age_clock_us(wall_us, aged_us=before_us, seen_us=seen_us)
        notes = [(aged_us, "aged_us"), (wall_us, "seen_us")]
        connection.executemany("UPDATE meta SET value = ? WHERE name = ?", notes)
        return aged_us


def _meta(connection: sqlite3.Connection, name: str) -> int:
    [value] = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return int(value)


def _num_live(connection: sqlite3.Connection, user_id: str) -> int:
    query = "SELECT count(*) FROM events WHERE user_id = ? AND is_live = 1"
    return int(connection.execute(query, (user_id,)).fetchone()[0])


def _tell_readers(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE meta SET value = value + 1 WHERE name = ?", (GENERATION,))
