"""The SQLite file of live state: its owner's alone, older ones taken over, nothing of a deleted user left in it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from serving.live.settings import LiveSettings
from serving.live.sqlite_store import SqliteStore
from tests.serving.clock import Clock
from tests.serving.live.live_rows import DAY_US, NOW_US, events_of, items_of, keep, row


def test_arrived_when_the_file_is_another_then_it_begins_anew_and_says_so(tmp_path: Path) -> None:
    live = SqliteStore(tmp_path / "new.sqlite")
    assert live.arrived(after="5000", limit=9) == ([], "0", False)
    live.add([row(1)], judge=keep)
    found = live.arrived(after="5000", limit=9)
    assert ([one.event.event_id for one in found.events], found.is_whole) == (["e1"], False)


def test_open_when_the_file_is_of_before_receipts_were_noted_then_its_log_waits_from_now_on(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    live = SqliteStore(path, wall=Clock(NOW_US))
    live.close()
    with sqlite3.connect(path) as old:
        old.execute("DROP INDEX events_by_ages")
        old.execute("ALTER TABLE events DROP COLUMN received_us")
        old.execute("DELETE FROM meta WHERE name IN ('aged_us', 'seen_us')")
        old.execute("INSERT INTO events VALUES (3, 'e1', 'u', ?, 'view', 'item-1', NULL, 1)", (NOW_US - 120 * DAY_US,))
    live = SqliteStore(path, wall=Clock(NOW_US))
    live.add([row(2)], judge=keep)
    assert [one.event.event_id for one in live.logged()] == ["e1", "e2"]
    live.close()


def test_delete_user_when_done_in_sqlite_then_no_byte_of_the_user_is_left(tmp_path: Path) -> None:
    live = SqliteStore(tmp_path / "events.sqlite", wall=Clock(NOW_US))
    live.add([row(1, user="someone-in-particular"), row(2, user="another")], judge=keep)
    live.delete_user("someone-in-particular")
    assert not any(b"someone-in-particular" in path.read_bytes() for path in tmp_path.iterdir())
    live.close()


def test_open_when_the_file_is_made_then_its_owner_alone_may_read_it(tmp_path: Path) -> None:
    live = SqliteStore(tmp_path / "events.sqlite", wall=Clock(NOW_US))
    live.add([row(1)], judge=keep)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        f"events.sqlite{end}": 0o600 for end in ("", "-wal", "-shm")
    }
    live.close()


def test_add_when_it_fails_midway_then_nothing_of_the_batch_is_kept(tmp_path: Path) -> None:
    live = SqliteStore(tmp_path / "events.sqlite", wall=Clock(NOW_US))
    with pytest.raises(sqlite3.IntegrityError):
        live.add([row(1), row(2)._replace(user_id=None)], judge=keep)  # type: ignore[arg-type]
    assert events_of(live) == []
    assert live.add([row(1)], judge=keep).num_accepted == 1
    live.close()


def test_open_when_the_file_is_of_before_there_was_a_log_then_its_events_stay(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    with sqlite3.connect(path) as old:
        old.execute(
            "CREATE TABLE events (seq INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, user_id TEXT NOT NULL, "
            "ts_us INTEGER NOT NULL, event_type TEXT NOT NULL, item_id TEXT)"
        )
        old.execute("CREATE INDEX events_by_user ON events (user_id, ts_us, seq, event_type, item_id)")
        old.execute("INSERT INTO events VALUES (3, 'e1', 'u', ?, 'view', 'item-1')", (NOW_US,))
    live = SqliteStore(path, wall=Clock(NOW_US))
    assert items_of(live) == ["item-1"]
    assert live.add([row(1), row(2)], judge=keep).num_duplicates == 1
    live.close()


def test_read_when_nothing_was_committed_then_it_is_answered_from_memory(tmp_path: Path) -> None:
    live = SqliteStore(tmp_path / "events.sqlite", LiveSettings(cached_users=2), wall=Clock(NOW_US))
    live.add([row(number, user=user) for number, user in enumerate("abc")], judge=keep)
    [held] = live.read(["a"]).values()
    assert live.read(["a"])["a"] is held
    live.add([row(9, user="b")], judge=keep)
    assert live.read(["a"])["a"] is held  # the commit was of another
    live.read(["b", "c"])  # more than are kept in memory
    assert live.read(["a"])["a"] is not held
    live.close()
