"""The outbox's tables, all in one file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final

from serving.live.sqlite_file import LiveFile

_TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS messages (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        endpoint TEXT NOT NULL,
        message_id TEXT NOT NULL,
        about TEXT NOT NULL,
        subject TEXT,
        body BLOB,
        state TEXT NOT NULL DEFAULT 'pending',
        created_us INTEGER NOT NULL,
        next_us INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        said TEXT NOT NULL DEFAULT '',
        UNIQUE (endpoint, message_id)
    )""",
    "CREATE INDEX IF NOT EXISTS messages_due ON messages (endpoint, state, next_us, seq)",
    "CREATE INDEX IF NOT EXISTS messages_about ON messages (endpoint, about, created_us)",
    "CREATE INDEX IF NOT EXISTS messages_of ON messages (subject) WHERE subject IS NOT NULL",
    """CREATE TABLE IF NOT EXISTS marks (
        at_us INTEGER NOT NULL, user_id TEXT NOT NULL, PRIMARY KEY (at_us, user_id)
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS leases (
        name TEXT PRIMARY KEY, holder TEXT NOT NULL, until_us INTEGER NOT NULL
    ) WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
)


def outbox_file(path: Path) -> LiveFile:
    """Return the file, created where absent for its owner alone: it says who gets what, and holds the key of its digests."""
    with contextlib.suppress(OSError):  # told by whoever writes first
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite gives its log the same mode
    # What is done with may be forgotten in a power cut: it is sent again under its id. What is added may not.
    return LiveFile(path, set_up=_set_up, durability="process")


def _set_up(connection: sqlite3.Connection) -> None:
    for table in _TABLES:
        connection.execute(table)
