"""What the benchmark of live state times: it must keep and read what it says."""

from __future__ import annotations

from pathlib import Path

from benchmarks.live_state import NUM_EVENTS, NUM_USERS, filled, floors, read, written
from serving.live.opening import open_live
from serving.live.settings import LiveSettings


def test_written_when_timed_then_every_acknowledged_event_is_there(tmp_path: Path) -> None:
    settings = LiveSettings(file=str(tmp_path / "live.sqlite"), durability="process")
    found = written(settings, processes=1, count=10, seconds=0.05, run="r")
    assert found["events_per_s"] > 0
    assert 0 < found["p50_ms"] <= found["p99_ms"]
    kept = len(open_live(settings, Path()).logged(limit=100_000))
    assert kept > 0
    assert kept % 10 == 0


def test_read_when_timed_then_users_hold_the_events_that_are_named(tmp_path: Path) -> None:
    live = filled(LiveSettings(file=str(tmp_path / "live.sqlite"), durability="process"))
    users = live.read(f"user-{number}" for number in range(NUM_USERS))
    assert [len(user.events) for user in users.values()] == [NUM_EVENTS] * NUM_USERS
    for how in ("fresh", "held", "changing"):
        assert read(live, how)["cpu_us_p50"] > 0
    live.close()


def test_floors_when_timed_then_each_has_a_name(tmp_path: Path) -> None:
    names = [name for name, _ in floors(tmp_path, 0.01)]
    assert names[0] == "floor: fdatasync of 4 KB"
    assert len(names) == 5
