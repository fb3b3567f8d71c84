"""Live state, in SQLite and in Redis: order, idempotency, caps, deletion, and many writers at once."""

from __future__ import annotations

import contextlib
import multiprocessing
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.live.opening import open_live
from serving.live.settings import LiveSettings
from serving.live.store import ConsentChange, LiveEvent, LiveStateError, LiveStore, Verdict, content_id
from tests.serving.clock import Clock
from tests.serving.live.live_rows import NOW_US, Open, events_of, items_of, keep, row, without


def test_add_when_events_come_out_of_order_then_they_are_read_by_time(live: LiveStore) -> None:
    live.add([row(1, ts=30), row(2, ts=10), row(3, ts=30)], judge=keep)
    live.add([row(4, ts=20)], judge=keep)
    assert items_of(live) == ["item-2", "item-4", "item-1", "item-3"]


def test_add_when_an_id_comes_again_then_it_counts_once(live: LiveStore) -> None:
    first = live.add([row(1), row(2), row(1)], judge=keep)
    again = live.add([row(2), row(3)], judge=keep)
    other = live.add([row(9, user="another", event_id="e1")], judge=keep)
    assert (first.num_accepted, first.num_duplicates) == (2, 1)
    assert (again.num_accepted, again.num_duplicates) == (1, 1)
    assert (other.num_accepted, other.num_duplicates) == (0, 1)
    assert len(events_of(live)) == 3
    assert events_of(live, "another") == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 50)), max_size=40), st.integers(1, 6))
def test_add_when_a_user_has_many_events_then_the_newest_are_kept(
    open_store: Open, events: list[tuple[str, int]], cap: int
) -> None:
    live = open_store(max_events=cap)
    for user in "ab":
        live.delete_user(user)
    prefix = f"{id(events)}-{len(events)}-{cap}-{hash(tuple(events))}"  # ids of an example of its own
    rows = [row(number, user=user, ts=ts, event_id=f"{prefix}-{number}") for number, (user, ts) in enumerate(events)]
    for start in range(0, len(rows), 7):
        live.add(rows[start : start + 7], judge=keep)
    for user in "ab":
        own = sorted((one for one in rows if one.user_id == user), key=lambda one: one.ts_us)  # stable: by arrival
        assert items_of(live, user) == [one.item_id for one in own[-cap:]]
    live.close()


def test_read_when_another_handle_has_written_then_it_is_seen_at_once(open_store: Open) -> None:
    reader, writer = open_store(), open_store()
    assert reader.read(["u", "v"]) == {}
    writer.add([row(1)], judge=keep)
    assert items_of(reader) == ["item-1"]
    writer.add([row(2), row(3, user="v")], judge=keep)
    both = reader.read(["u", "v", "nobody"])
    assert {user: [item for _, _, item in found.events] for user, found in both.items()} == {
        "u": ["item-1", "item-2"],
        "v": ["item-3"],
    }
    writer.add_consent(ConsentChange("v", "analytics", False, 7))
    assert reader.read(["v"])["v"].consents == [ConsentChange("v", "analytics", False, 7)]
    writer.delete_user("u")
    assert reader.read(["u"]) == {}
    reader.close(), writer.close()


def test_add_when_users_are_refused_or_withheld_then_only_their_rows_are_left_out(live: LiveStore) -> None:
    verdicts: list[Verdict] = ["refused", "kept", "withheld", "refused"]
    rows = [row(1, user="gone"), row(2), row(3, user="silent"), row(4, user="gone")]
    added = live.add(rows, judge=lambda _: verdicts)
    assert added.refused_rows == (0, 3)
    assert (added.num_accepted, added.num_withheld) == (1, 1)
    assert live.users() == ["u"]
    assert [one.event.event_id for one in live.logged()] == ["e2"]


def test_add_when_a_user_is_erased_between_judgement_and_writing_then_nothing_is_kept(open_store: Open) -> None:
    live, other, erased = open_store(busy_seconds=0.2), open_store(busy_seconds=0.2), set()

    def judge(events: Sequence[LiveEvent]) -> list[Verdict]:
        verdicts = without(*erased)(events)
        if not erased:  # elsewhere, at this moment; SQLite makes them wait for the writing
            erased.add("u")
            with contextlib.suppress(LiveStateError):
                other.delete_user("u")
                deleted.append("u")
        return verdicts

    deleted: list[str] = []
    live.add([row(1)], judge=judge)
    if not deleted:
        other.delete_user("u")
    assert live.users() == []
    assert live.logged() == []
    live.close(), other.close()


def test_consents_when_sent_then_in_order_of_arrival_and_once(live: LiveStore) -> None:
    changes = [ConsentChange("u", "analytics", granted, at) for granted, at in ((True, 9), (False, 5), (True, 9))]
    for change in changes:
        live.add_consent(change)
    assert live.read(["u"])["u"].consents == changes[:2]
    assert live.consents_of(["nobody", "u"]) == {"u": changes[:2]}
    assert live.consents_of([]) == {}
    assert list(live.consents()) == [{"u": changes[:2]}]
    assert live.users() == ["u"]
    assert live.holds_consents


def test_consents_when_many_said_something_then_they_come_page_by_page(open_store: Open, place: dict[str, str]) -> None:
    live = open_store(durability="process")
    said = {f"u{number}": [ConsentChange(f"u{number}", "analytics", True, number + 1)] for number in range(2_300)}
    if "url" in place:
        client = redis.Redis.from_url(place["url"])
        with client.pipeline(transaction=False) as step:
            for user, [change] in said.items():
                step.sadd(f"{place['prefix']}:consenting", user)
                step.zadd(f"{place['prefix']}:consents:{user}", {f"analytics\x1f1\x1f{change.at_us}": change.at_us})
            step.execute()
    else:
        with sqlite3.connect(place["file"]) as connection:
            rows = [change for [change] in said.values()]
            connection.executemany("INSERT INTO consents (user_id, purpose, granted, at_us) VALUES (?, ?, ?, ?)", rows)
    pages = list(live.consents())
    assert len(pages) >= 3
    assert {user: changes for page in pages for user, changes in page.items()} == said
    live.close()


def test_delete_user_when_done_then_nothing_of_the_user_is_left(live: LiveStore) -> None:
    live.add([row(n, user="gone", kind=kind) for n, kind in enumerate(("view", "impression", "cart"))], judge=keep)
    live.add([row(9, user="another")], judge=keep)
    live.add_consent(ConsentChange("gone", "analytics", True, 1))
    assert live.delete_user("gone") == 2  # the impression is in the log alone
    assert live.delete_user("gone") == 0
    assert live.read(["gone"]) == {}
    assert live.users() == ["another"]
    assert list(live.consents()) == []
    assert [one.event.user_id for one in live.logged()] == ["another"]


def test_kept_of_when_events_are_live_logged_or_both_then_each_is_told(live: LiveStore) -> None:
    live.add([row(1), row(2, kind="impression"), row(3, user="another")], judge=keep)
    live.forget_logged(live.logged(limit=1)[-1].position)
    found = {(one.user_id, one.event_type, one.item_id) for one in live.kept_of(["u", "nobody"])}
    assert found == {("u", "view", "item-1"), ("u", "impression", "item-2")}


def test_keep_only_when_a_consent_is_withdrawn_then_what_was_before_goes_from_state_and_log(live: LiveStore) -> None:
    live.add([row(n, ts=n) for n in (1, 2, 3)], judge=keep)
    live.add([row(4, user="another", ts=1)], judge=keep)
    limit = row(2, ts=2).ts_us
    assert live.keep_only("u", lambda ts_us: ts_us > limit) == 2
    assert items_of(live) == ["item-3"]
    assert [one.event.event_id for one in live.logged()] == ["e3", "e4"]


def test_add_when_a_type_is_for_the_log_alone_then_no_read_tells_of_it(live: LiveStore) -> None:
    more = '{"section":"shelf","dwell_ms":1200}'
    live.add([row(1, kind="impression")._replace(more=more), row(2)], judge=keep)
    assert items_of(live) == ["item-2"]
    assert [(one.event.event_type, one.event.more) for one in live.logged()] == [("impression", more), ("view", None)]


def test_logged_when_taken_page_by_page_then_each_event_comes_once_and_live_events_stay(live: LiveStore) -> None:
    rows = [row(number) for number in range(1, 8)]
    live.add(rows, judge=keep)  # two more than are kept live
    first = live.logged(limit=3)
    rest = live.logged(after=first[-1].position)
    assert [one.event for one in (*first, *rest)] == rows
    live.forget_logged(first[-1].position)
    assert [one.event for one in live.logged()] == rows[3:]
    live.forget_logged(rest[-1].position)
    assert live.logged() == []
    assert items_of(live) == [f"item-{number}" for number in range(3, 8)]
    live.add([row(8), row(7)], judge=keep)
    assert [one.event.event_id for one in live.logged()] == ["e8"]
    assert items_of(live) == [f"item-{number}" for number in range(4, 9)]


def test_arrived_when_the_log_was_taken_meanwhile_then_it_comes_all_the_same_or_is_said_to_miss(
    live: LiveStore, place: dict[str, str]
) -> None:
    assert live.arrived(after="", limit=9) == ([], "", True)
    live.add([row(1), row(2), row(3)], judge=keep)
    first = live.arrived(after="", limit=2)
    assert ([one.event.event_id for one in first.events], first.is_whole) == (["e1", "e2"], True)
    seen = first.position
    live.forget_logged(seen)
    rest = live.arrived(after=seen, limit=9)
    assert ([one.event.event_id for one in rest.events], rest.is_whole) == (["e3"], True)
    live.forget_logged(rest.position)
    told = live.arrived(after=seen, limit=9)
    assert live.arrived(after=told.position, limit=9) == ([], rest.position, True)  # missed once, and said once
    live.add([row(4)], judge=keep)
    found = live.arrived(after=seen, limit=9)
    in_sqlite = "file" in place  # where one row is live and logged
    assert [one.event.event_id for one in found.events] == (["e3", "e4"] if in_sqlite else ["e4"])
    assert found.is_whole == in_sqlite


def _write(chosen: dict[str, str], writer: int) -> None:
    live = open_live(msgspec.convert(chosen | {"max_events": 1000}, LiveSettings), Path(), wall=Clock(NOW_US))
    for number in range(30):
        live.add([row(number, user=f"u{writer}", event_id=f"{writer}-{number}")], judge=keep)
        assert len(events_of(live, f"u{writer}")) == number + 1  # a writer reads what it has written


def test_add_when_several_processes_write_then_nothing_is_lost(place: dict[str, str], open_store: Open) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(place, writer)) for writer in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    live = open_store(max_events=1000)
    assert [len(events_of(live, f"u{writer}")) for writer in range(3)] == [30, 30, 30]
    assert len(live.logged()) == 90
    live.close()


def test_content_id_when_content_is_the_same_then_the_id_is() -> None:
    assert content_id("u", "view", "i", 1) == content_id("u", "view", "i", 1)
    assert content_id("u", "view", "i", 1) != content_id("u", "view", "i", 2)


def test_add_together_when_several_callers_come_then_each_gets_its_own_counts(live: LiveStore) -> None:
    batches = [[row(1), row(2)], [row(2), row(3, user="gone")], [row(4, user="v")], []]
    added = live.add_together(batches, judge=without("gone"))
    assert [(one.num_accepted, one.num_duplicates, one.refused_rows) for one in added] == [
        *((2, 0, ()), (0, 1, (1,))),
        *((1, 0, ()), (0, 0, ())),
    ]
    assert items_of(live) == ["item-1", "item-2"]
    assert items_of(live, "v") == ["item-4"]
