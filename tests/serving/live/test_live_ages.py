"""What live state lets go of with time, and what clocks that are wrong do to it."""

from __future__ import annotations

from pathlib import Path

from serving.live.settings import LiveSettings
from serving.live.sqlite_store import SqliteStore
from serving.live.store import LiveEvent
from tests.serving.clock import Clock
from tests.serving.live.live_rows import DAY_US, NOW_US, Open, events_of, items_of, keep, row


def test_add_when_an_event_is_too_old_then_it_is_logged_and_not_read(open_store: Open, wall: Clock) -> None:
    live = open_store(max_age_days=10)
    live.add([row(1), row(2)._replace(ts_us=NOW_US - 11 * DAY_US)], judge=keep)
    assert items_of(live) == ["item-1"]
    assert [one.event.event_id for one in live.logged()] == ["e1", "e2"]
    wall.us += 10 * DAY_US
    assert items_of(live) == []
    live.close()


def test_add_when_the_clock_is_set_back_then_order_stays_that_of_receipt(open_store: Open, wall: Clock) -> None:
    first, second = open_store(), open_store()

    def now(number: int) -> LiveEvent:
        return row(number)._replace(ts_us=0)

    first.add([now(1)], judge=keep)
    wall.us -= DAY_US // 2
    second.add([now(2)], judge=keep)
    second.add([now(2)], judge=keep)  # sent again under its id
    first.add([now(3)], judge=keep)
    assert items_of(first) == ["item-1", "item-2", "item-3"]
    assert [ts for ts, _, _ in events_of(first)] == [NOW_US] * 3
    wall.us = NOW_US + 5
    second.add([now(4)], judge=keep)
    assert events_of(second)[-1][0] == NOW_US + 5
    first.close(), second.close()


def test_add_when_the_clock_was_years_ahead_then_it_is_not_believed_for_ever(open_store: Open, wall: Clock) -> None:
    live = open_store()
    wall.us = NOW_US + 3_000 * DAY_US
    live.add([row(1)._replace(ts_us=0)], judge=keep)
    wall.us = NOW_US
    live.add([row(2)._replace(ts_us=0)], judge=keep)
    assert events_of(live)[0][0] == NOW_US
    live.close()


def test_add_when_an_event_is_past_every_age_then_it_still_waits_in_the_log(open_store: Open) -> None:
    live = open_store(max_age_days=90, log_days=90)
    late = row(1)._replace(ts_us=NOW_US - 120 * DAY_US)
    assert live.add([late], judge=keep).num_accepted == 1
    assert live.add([late], judge=keep).num_duplicates == 1
    assert [one.event for one in live.logged()] == [late]
    live.close()


def test_add_when_the_clock_is_far_ahead_for_a_while_then_nothing_is_deleted_early(
    open_store: Open, wall: Clock
) -> None:
    live, rows = open_store(max_events=50), [row(number) for number in range(60)]
    live.add(rows, judge=keep)
    wall.us += 200 * DAY_US
    for number in (60, 61):  # by a process that began while it was
        open_store(max_events=50).add([row(number, user="another")._replace(ts_us=0)], judge=keep)
    wall.us = NOW_US
    live.add([row(62)], judge=keep)
    assert items_of(live) == [f"item-{number}" for number in (*range(11, 60), 62)]
    assert [one.event.event_id for one in live.logged()] == [f"e{number}" for number in range(63)]
    live.close()


def test_add_when_days_have_passed_then_what_is_past_its_age_goes(tmp_path: Path, wall: Clock) -> None:
    path, chosen = tmp_path / "events.sqlite", LiveSettings(max_age_days=2, log_days=3)
    SqliteStore(path, chosen, wall=wall).add([row(1), row(2, kind="impression")], judge=keep)
    for hour in range(6 * 24):
        wall.us = NOW_US + hour * DAY_US // 24
        live = SqliteStore(path, chosen, wall=wall)
        live.add([row(3, user="another", event_id="e3")], judge=keep)
        # two days live, three in the log, and one of grace
        assert len(live.kept_of(["u"])) == (2 if hour <= 4 * 24 else 0)
        live.close()
