"""What goes into the outbox, over a real engine."""

from __future__ import annotations

import dataclasses
import datetime as dt
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from serving.api.rights_schemas import ConsentRequest
from serving.api.schemas import EventsRequest
from serving.engine import Engine
from serving.live.store import LiveEvent
from serving.outbox.feed import Feed
from serving.outbox.marks import Marks
from serving.outbox.messages import Messages
from serving.outbox.metrics import OutboxMetrics
from serving.outbox.outbox import Outbox
from serving.outbox.settings import WebhookEndpoint, WebhookSettings
from serving.outbox.signing import new_secret
from tests.serving.asking import engine_over, live_store
from tests.serving.clock import Clock
from tests.serving.tiny_release import AS_OF_US, TinyRelease
from tests.serving.webhook_receiver import Receiver

HOUR_S = 3600
AS_OF = dt.datetime.fromtimestamp(AS_OF_US / 1e6, dt.UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock(AS_OF_US)


def crm(**more: object) -> WebhookEndpoint:
    return msgspec.convert(
        {"name": "crm", "url": "https://crm.example", "triggers": ["all"], "secret_env": "CRM_SECRET"} | more,
        WebhookEndpoint,
    )


@pytest.fixture
def feed(engine: Engine, clock: Clock, tmp_path: Path) -> Callable[..., tuple[Feed, Messages, list[float]]]:
    def of(
        *endpoints: WebhookEndpoint, over: Engine | None = None, **settings: float
    ) -> tuple[Feed, Messages, list[float]]:
        slept: list[float] = []
        messages = Messages(tmp_path / "outbox.sqlite")
        made = Feed(
            WebhookSettings(endpoints=endpoints, **settings),
            messages,
            Marks(tmp_path / "outbox.sqlite"),
            lambda: over or engine,
            wall=clock,
            sleep=lambda seconds: bool(slept.append(seconds)),
        )
        return made, messages, slept

    return of


def put_in_cart(
    engine: Engine, user_id: str, *, hours_ago: float, item_id: str = "item-1", event_type: str = "cart"
) -> None:
    ts = (AS_OF - dt.timedelta(hours=hours_ago)).isoformat()
    event = {"user_id": user_id, "event_type": event_type, "item_id": item_id, "ts": ts}
    assert engine.add_events(EventsRequest(events=(event,))).accepted == 1


def settled(feed: Feed, clock: Clock) -> int:
    """Let the feed see what came and look once it has settled; return how many messages were added."""
    before = feed.run_once()
    clock.pass_(6)
    return before + feed.run_once()


def bodies(messages: Messages, endpoint: str, clock: Clock) -> list[dict[str, object]]:
    return [msgspec.json.decode(one.body) for one in messages.due(endpoint, now_us=clock.us, limit=1000)]


def test_feed_when_a_trigger_opened_then_one_message_says_so_once_a_settling_time_is_over(
    engine: Engine, clock: Clock, feed: Callable[..., tuple[Feed, Messages, list[float]]]
) -> None:
    made, messages, slept = feed(crm(triggers=["cart_left"]), crm(name="erp", triggers=["win_back"]), cpu_share=0.05)
    put_in_cart(engine, "carter", hours_ago=25)
    put_in_cart(engine, "carter", hours_ago=25, event_type="view")
    assert made.run_once() == 0
    clock.pass_(6)
    assert made.run_once() == 1
    (body,) = bodies(messages, "crm", clock)
    assert (body["type"], body["timestamp"]) == ("trigger.opened", (AS_OF + dt.timedelta(seconds=6)).strftime("%FT%TZ"))
    data = body["data"]
    assert (data["user_id"], data["trigger"], data["item_id"]) == ("carter", "cart_left", "item-1")
    assert data["reason"] == "Thing number 1 has been in the cart for 1 days and was not bought."
    assert len(slept) == 1  # one look for both events
    put_in_cart(engine, "carter", hours_ago=24.8, event_type="view")
    assert settled(made, clock) == 0  # the same occasion
    put_in_cart(engine, "carter", hours_ago=24.5, item_id="item-2")
    settled(made, clock)
    assert [one["data"]["item_id"] for one in bodies(messages, "crm", clock)] == ["item-1", "item-2"]


def test_feed_when_something_must_wait_first_then_it_is_looked_at_again_after_that(
    engine: Engine,
    clock: Clock,
    feed: Callable[..., tuple[Feed, Messages, list[float]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, _, slept = feed(crm())
    put_in_cart(engine, "waiter", hours_ago=0.1)
    looks = []
    for _ in range(26 * 6):
        made.run_once()
        looks.append(len(slept))
        clock.pass_(600)
    # At once, after the hour of low_stock_on_cart_item and after the day of cart_left, six minutes of which had passed.
    assert (looks[0], looks[1], looks[5], looks[6], looks[143], looks[144], looks[-1]) == (0, 1, 1, 2, 2, 3, 3)


def test_feed_when_looking_costs_time_then_it_rests_to_keep_its_share(
    engine: Engine, clock: Clock, feed: Callable[..., tuple[Feed, Messages, list[float]]]
) -> None:
    made, _, slept = feed(crm(), cpu_share=0.05)
    for number in range(20):
        put_in_cart(engine, f"user-{number}", hours_ago=1, event_type="view")
    settled(made, clock)
    assert len(slept) == 20
    assert all(0 < seconds < 60 for seconds in slept)  # 19 times what a look took: some milliseconds


def test_feed_when_consent_is_withdrawn_or_the_customer_erased_then_there_is_no_message(
    engine: Engine, clock: Clock, feed: Callable[..., tuple[Feed, Messages, list[float]]]
) -> None:
    made, messages, _ = feed(crm())
    for user in ("first", "second", "third"):
        put_in_cart(engine, user, hours_ago=25)
    made.run_once()
    engine.add_consent(ConsentRequest(user_id="first", purpose="personalisation", granted=False))
    engine.erase("second")
    clock.pass_(6)
    assert made.run_once() == 1
    engine.erase("third")
    assert made.tidy(engine.is_erased) == 1
    assert messages.counts() == {"crm": {"dropped": 1}}


def test_feed_when_a_demand_part_is_served_then_its_alerts_go_out_once(
    engine: Engine, clock: Clock, feed: Callable[..., tuple[Feed, Messages, list[float]]]
) -> None:
    endpoints = (crm(triggers=[], alerts=["riser"]), crm(name="erp", triggers=[], alerts=["all"]))
    made, messages, _ = feed(*endpoints)
    assert made.run_once() == 1 + 4
    assert made.run_once() == 0
    assert feed(*endpoints)[0].run_once() == 0  # another process knows that too
    (body,) = bodies(messages, "crm", clock)
    assert body["type"] == "demand.alert"
    assert (body["data"]["kind"], body["data"]["item_id"], body["data"]["quantity"]) == ("riser", "item-9", 12)
    assert len(bodies(messages, "erp", clock)) == 4


def test_feed_when_a_demand_part_has_thousands_of_alerts_then_none_is_left_out_and_a_failure_loses_none(
    engine: Engine, tiny: TinyRelease, feed: Callable[..., tuple[Feed, Messages, list[float]]], tmp_path: Path
) -> None:
    book = engine.state.demand.alerts
    many = tuple(
        msgspec.structs.replace(
            book.alerts[0], kind="riser" if number == 1_500 else "reorder_now", item_id=f"i{number}"
        )
        for number in range(1_501)
    )
    demand = dataclasses.replace(engine.state.demand, alerts=dataclasses.replace(book, alerts=many))
    more = engine_over(dataclasses.replace(engine.state, demand=demand), tiny, tmp_path / "more")
    made, messages, _ = feed(
        crm(triggers=[], alerts=["riser"]), crm(name="erp", triggers=[], alerts=["all"]), over=more
    )
    with sqlite3.connect(tmp_path / "outbox.sqlite") as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON messages BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(sqlite3.Error):
        made.run_once()
    with sqlite3.connect(tmp_path / "outbox.sqlite") as connection:
        connection.execute("DROP TRIGGER full")
    assert made.run_once() == 1_501 + 1
    assert {name: counts["pending"] for name, counts in messages.counts().items()} == {"crm": 1, "erp": 1_501}


def test_feed_when_an_endpoint_is_gone_then_nothing_is_kept_for_it(
    engine: Engine, clock: Clock, feed: Callable[..., tuple[Feed, Messages, list[float]]]
) -> None:
    made, messages, _ = feed(crm(alerts=["all"]), crm(name="erp", alerts=["all"]))
    messages.note_gone("crm", gone=True)
    put_in_cart(engine, "carter", hours_ago=25)
    assert settled(made, clock) > 4
    assert set(messages.counts()) == {"erp"}


def test_feed_when_rows_were_refused_then_nobody_is_looked_at_for_them(
    engine: Engine, clock: Clock, feed: Callable[..., tuple[Feed, Messages, list[float]]]
) -> None:
    made, _, slept = feed(crm())
    ts = (AS_OF - dt.timedelta(hours=25)).isoformat()
    bad = [{"user_id": {"made": "up" * 500}, "event_type": "cart"}, {"user_id": "x", "event_type": "no such"}, "no row"]
    good = {"user_id": "carter", "event_type": "cart", "item_id": "item-1", "ts": ts}
    assert engine.add_events(EventsRequest(events=(good, *bad))).accepted == 1
    settled(made, clock)
    assert len(slept) == 1


def test_feed_when_writing_fails_once_then_the_customers_are_looked_at_the_next_time(
    engine: Engine, clock: Clock, feed: Callable[..., tuple[Feed, Messages, list[float]]], tmp_path: Path
) -> None:
    made, _, _ = feed(crm(triggers=["cart_left"]))
    put_in_cart(engine, "carter", hours_ago=25)
    with sqlite3.connect(tmp_path / "outbox.sqlite") as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON marks BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(sqlite3.Error):
        made.run_once()
    with sqlite3.connect(tmp_path / "outbox.sqlite") as connection:
        connection.execute("DROP TRIGGER full")
    assert settled(made, clock) == 1


def test_feed_when_events_cannot_be_told_from_one_another_then_everyone_is_looked_at(
    engine: Engine, clock: Clock, feed: Callable[..., tuple[Feed, Messages, list[float]]], tmp_path: Path
) -> None:
    made, _, _ = feed(crm(triggers=["cart_left"]))
    put_in_cart(engine, "carter", hours_ago=25)
    Marks(tmp_path / "outbox.sqlite").add([], read_to="5000")  # of a file of live state that is no more
    assert made.run_once() == 1


@pytest.fixture
def outbox(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outbox]:
    monkeypatch.setenv("CRM_SECRET", new_secret())
    monkeypatch.setattr("serving.outbox.outbox._POLL_SECONDS", 0.05)

    def of(url: str = "http://127.0.0.1:9", **settings: float) -> Outbox:
        endpoint = crm(url=url, triggers=["cart_left"])
        given = WebhookSettings(endpoints=(endpoint,), settle_seconds=0.01, **settings)
        return Outbox(given, tmp_path, lambda: engine, metrics=OutboxMetrics(CollectorRegistry()))

    return of


@pytest.mark.parametrize("is_killed", [False, True])
def test_outbox_when_its_process_ends_before_it_looked_then_the_next_one_looks(
    engine: Engine, outbox: Callable[..., Outbox], tmp_path: Path, is_killed: bool
) -> None:
    with Receiver() as receiver:
        first = outbox(receiver.url)
        assert first.fill() == 0
        put_in_cart(engine, "carter", hours_ago=25)  # acknowledged, and the process ends
        if is_killed:
            first.messages._file.close()
            _expire_leases(tmp_path)
        else:
            first.stop()
        second = outbox(receiver.url)
        second.start()
        for _ in range(100):
            if receiver.taken:
                break
            second._stop.wait(0.05)
        second.stop()
        assert len(receiver.taken) == 1


def test_outbox_when_another_process_keeps_events_then_it_looks_at_their_customers_too(
    engine: Engine, outbox: Callable[..., Outbox], tmp_path: Path
) -> None:
    """As `footfall consume` does, or a worker that does not fill the outbox."""
    filling = outbox()
    assert filling.fill() == 0
    ts_us = AS_OF_US - 25 * HOUR_S * 1_000_000
    other = live_store(tmp_path / "live.sqlite")
    other.add([LiveEvent("e1", "carter", ts_us, "cart", "item-1")], judge=lambda events: ["kept"] * len(events))
    filling.fill()
    time.sleep(0.02)
    assert filling.fill() == 1


def test_outbox_when_it_stops_while_a_receiver_hangs_then_it_is_over_soon_and_nobody_else_sends_the_same(
    engine: Engine, outbox: Callable[..., Outbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.outbox.outbox._STOP_SECONDS", 0.3)
    with Receiver() as receiver:
        receiver.drips = 1
        stopping = outbox(receiver.url, timeout_seconds=3.0)
        put_in_cart(engine, "carter", hours_ago=25)
        stopping.start()
        for _ in range(100):
            if not receiver.drips:
                break
            time.sleep(0.05)
        started = time.monotonic()
        stopping.stop()
        assert time.monotonic() - started < 2.5  # less than the attempt may take
        assert not outbox(receiver.url).deliveries[0].lease.take()


def _expire_leases(directory: Path) -> None:
    with sqlite3.connect(directory / "outbox.sqlite") as connection:
        connection.execute("UPDATE leases SET until_us = 0")
