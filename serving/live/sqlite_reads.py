"""One thread's reads of the SQLite file: what was read stays in memory until a commit touches it.

PRAGMA data_version      the same      nothing was committed: what is held is as good as read
another       who has newer rows is dropped; everybody, where rows were deleted
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

from serving import timings
from serving.live.store import ConsentChange, LiveRow, LiveUser

GENERATION: Final = "generation"  # in table meta: grows with each deletion that a reader must hear of
_MOST_CHANGES: Final = 1000  # more new rows than this: forgetting everybody is cheaper
_NOBODY: Final = LiveUser()
_CHANGED: Final = "SELECT seq, user_id FROM {table} WHERE seq > ? ORDER BY seq LIMIT ?"
# One query a user is as quick as one for all of them, and its rows need no sorting out.
_EVENTS: Final = "SELECT ts_us, event_type, item_id FROM events WHERE user_id = ? AND is_live = 1 ORDER BY ts_us, seq"
_CONSENTS: Final = (
    "SELECT user_id, purpose, granted, at_us FROM consents "
    "WHERE user_id IN (SELECT value FROM json_each(?)) ORDER BY user_id, seq"
)


class CachedReads:
    """What one thread has read.

    Args:
        connection: nothing is written through it, so that its data_version tells of every commit.
        max_users: how many users are held; those asked for least lately go first.
    """

    def __init__(self, connection: sqlite3.Connection, *, max_users: int) -> None:
        self._connection = connection
        self._max_users = max_users
        self._version = -1
        self._generation = -1
        self._seen = {"events": 0, "consents": 0}
        self._held: OrderedDict[str, LiveUser] = OrderedDict()
        self.holds_consents = True

    def users(self, user_ids: Iterable[str], *, since_us: int) -> dict[str, LiveUser]:
        """Return what some ids sent from an instant on, of those that sent anything."""
        started, ids = time.perf_counter(), list(dict.fromkeys(user_ids))
        self._drop_what_changed()
        held = self._held
        missing = [id_ for id_ in ids if id_ not in held]
        if missing:
            held.update(self._read(missing))
        found = {id_: held[id_] for id_ in ids}
        for id_ in ids:
            held.move_to_end(id_)
        while len(held) > self._max_users:
            held.popitem(last=False)
        timings.measured("cache_filled" if missing else "cache_held", time.perf_counter() - started)
        return {id_: _since(user, since_us) for id_, user in found.items() if user is not _NOBODY}

    def _drop_what_changed(self) -> None:
        [version] = self._connection.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return
        [generation] = self._connection.execute("SELECT value FROM meta WHERE name = ?", (GENERATION,)).fetchone()
        changed = {table: self._changed(table) for table in self._seen}
        if generation != self._generation or any(len(rows) > _MOST_CHANGES for rows in changed.values()):
            self._held.clear()
            for table in self._seen:
                [[self._seen[table]]] = self._connection.execute(
                    f"SELECT coalesce(max(seq), 0) FROM {table}"
                ).fetchall()
        else:
            for table, rows in changed.items():
                for seq, user_id in rows:
                    self._held.pop(user_id, None)
                    self._seen[table] = seq
        self.holds_consents = self._seen["consents"] > 0
        self._version, self._generation = version, generation

    def _changed(self, table: str) -> list[tuple[int, str]]:
        query = _CHANGED.format(table=table)
        return self._connection.execute(query, (self._seen[table], _MOST_CHANGES + 1)).fetchall()

    def _read(self, ids: Sequence[str]) -> dict[str, LiveUser]:
        execute = self._connection.execute
        consents = read_consents(self._connection, ids)
        found: dict[str, LiveUser] = {}
        for id_ in ids:
            events: list[LiveRow] = execute(_EVENTS, (id_,)).fetchall()
            said = consents.get(id_, ())
            found[id_] = LiveUser(events=events, consents=said) if events or said else _NOBODY
        return found


def read_consents(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, list[ConsentChange]]:
    """Return the changes of consent of those who made any, in order of arrival."""
    found: dict[str, list[ConsentChange]] = {}
    for id_, purpose, granted, at_us in connection.execute(_CONSENTS, (json.dumps(ids),)):
        found.setdefault(id_, []).append(ConsentChange(id_, purpose, bool(granted), at_us))
    return found


def _since(user: LiveUser, since_us: int) -> LiveUser:
    events = user.events
    if not events or events[0][0] >= since_us:
        return user
    return LiveUser(events=[row for row in events if row[0] >= since_us], consents=user.consents)
