"""The store of recent events: order, idempotency, caps, and many writers at once."""

from __future__ import annotations

import multiprocessing
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.live.events import LiveEvent, LiveEvents, content_id


def row(number: int, *, user: str = "u", ts: int = 0, event_id: str = "") -> LiveEvent:
    return LiveEvent(event_id or f"e{number}", user, ts or number, "view", f"item-{number}")


def keep_all(user_id: str) -> bool:
    return False


@pytest.fixture
def live(tmp_path: Path) -> LiveEvents:
    return LiveEvents(tmp_path / "events.sqlite", max_events=5)


def test_add_when_events_come_out_of_order_then_they_are_read_by_time(live: LiveEvents) -> None:
    live.add([row(1, ts=30), row(2, ts=10), row(3, ts=30)], refuses=keep_all)
    live.add([row(4, ts=20)], refuses=keep_all)
    assert [item for _, _, item in live.of_user("u")] == ["item-2", "item-4", "item-1", "item-3"]


def test_add_when_an_id_comes_again_then_it_counts_once(live: LiveEvents) -> None:
    first = live.add([row(1), row(2), row(1)], refuses=keep_all)
    again = live.add([row(2), row(3)], refuses=keep_all)
    assert (first.num_accepted, first.num_duplicates) == (2, 1)
    assert (again.num_accepted, again.num_duplicates) == (1, 1)
    assert len(live.of_user("u")) == 3


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 50)), max_size=40), st.integers(1, 6))
def test_add_when_a_user_has_many_events_then_the_newest_are_kept(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int]], cap: int
) -> None:
    live = LiveEvents(tmp_path_factory.mktemp("cap") / "events.sqlite", max_events=cap)
    rows = [row(number, user=user, ts=ts) for number, (user, ts) in enumerate(events)]
    for start in range(0, len(rows), 7):
        live.add(rows[start : start + 7], refuses=keep_all)
    for user in "ab":
        own = sorted((one for one in rows if one.user_id == user), key=lambda one: one.ts_us)  # stable: by arrival
        assert [item for _, _, item in live.of_user(user)] == [one.item_id for one in own[-cap:]]
    live.close()


def test_delete_user_when_done_then_no_byte_of_the_user_is_left(live: LiveEvents, tmp_path: Path) -> None:
    live.add([row(1, user="someone-in-particular"), row(2, user="another")], refuses=keep_all)
    assert live.delete_user("someone-in-particular") == 1
    assert live.delete_user("someone-in-particular") == 0
    assert live.users() == ["another"]
    assert not any(b"someone-in-particular" in path.read_bytes() for path in tmp_path.iterdir())


def test_add_when_users_are_refused_then_only_their_rows_are_left_out(live: LiveEvents) -> None:
    added = live.add([row(1, user="gone"), row(2), row(3, user="gone")], refuses=lambda user: user == "gone")
    assert added.refused_rows == (0, 2)
    assert live.users() == ["u"]


def test_add_when_it_fails_midway_then_nothing_of_the_batch_is_kept(live: LiveEvents) -> None:
    broken = LiveEvent("e9", "u", "not a number", "view", b"\xff")  # type: ignore[arg-type]
    with pytest.raises(sqlite3.Error):
        live.add([row(1), broken._replace(user_id=None)], refuses=keep_all)  # type: ignore[arg-type]
    assert live.of_user("u") == []
    assert live.add([row(1)], refuses=keep_all).num_accepted == 1


def _write(path: Path, writer: int) -> None:
    live = LiveEvents(path, max_events=1000)
    for number in range(30):
        live.add([row(number, user=f"u{writer}", event_id=f"{writer}-{number}")], refuses=keep_all)
        assert len(live.of_user(f"u{writer}")) == number + 1  # a writer reads what it has written


def test_add_when_several_processes_write_then_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, writer)) for writer in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    live = LiveEvents(path, max_events=1000)
    assert [len(live.of_user(f"u{writer}")) for writer in range(3)] == [30, 30, 30]


def test_content_id_when_content_is_the_same_then_the_id_is() -> None:
    assert content_id("u", "view", "i", 1) == content_id("u", "view", "i", 1)
    assert content_id("u", "view", "i", 1) != content_id("u", "view", "i", 2)
