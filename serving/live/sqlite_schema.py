"""The tables of the SQLite file, and how older files come by them."""

from __future__ import annotations

import sqlite3
from typing import Final

from serving.live.sqlite_reads import GENERATION

_EVENTS: Final = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    ts_us INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    item_id TEXT,
    more TEXT,
    is_live INTEGER NOT NULL,
    received_us INTEGER NOT NULL
)"""
_SCHEMA: Final = (
    _EVENTS,
    "CREATE INDEX IF NOT EXISTS events_of_user ON events (user_id, is_live, ts_us, seq, event_type, item_id)",
    "CREATE INDEX IF NOT EXISTS events_by_ages ON events (ts_us, received_us)",
    """CREATE TABLE IF NOT EXISTS consents (
        seq INTEGER PRIMARY KEY,
        user_id TEXT NOT NULL,
        purpose TEXT NOT NULL,
        granted INTEGER NOT NULL,
        at_us INTEGER NOT NULL,
        UNIQUE (user_id, purpose, at_us, granted)
    )""",
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    f"INSERT INTO meta VALUES ('{GENERATION}', 0), ('newest_us', 0), ('taken', 0) ON CONFLICT DO NOTHING",
    "INSERT INTO meta VALUES ('aged_us', {now_us}), ('seen_us', {now_us}) ON CONFLICT DO NOTHING",
)
# The file of before there was a log: the same events, without their further columns.
_FROM_UNLOGGED: Final = (
    "ALTER TABLE events RENAME TO old_events",
    "DROP INDEX events_by_user",
    _EVENTS,
    """INSERT INTO events SELECT seq, event_id, user_id, ts_us, event_type, item_id, NULL, 1, {now_us}
       FROM old_events ORDER BY seq""",
    "DROP TABLE old_events",
)
# The file of before receipts were noted: its events wait in the log from now on. A default rewrites no row.
_FROM_UNRECEIVED: Final = (
    "ALTER TABLE events ADD COLUMN received_us INTEGER NOT NULL DEFAULT {now_us}",
    "DROP INDEX IF EXISTS events_by_age",
)


def set_up(connection: sqlite3.Connection, *, now_us: int) -> None:
    """Make the tables where they are absent, and those of an older file what they are today.

    Args:
        connection: with the write lock held.
        now_us: the present, from which events count as received where nobody noted when they were.
    """
    columns = [row[1] for row in connection.execute("PRAGMA table_info(events)")]
    for statement in (*_from(columns), *_SCHEMA):
        connection.execute(statement.format(now_us=now_us))


def _from(columns: list[str]) -> tuple[str, ...]:
    if not columns or "received_us" in columns:
        return ()
    return _FROM_UNRECEIVED if "is_live" in columns else _FROM_UNLOGGED
