"""What goes into the outbox, over a real engine."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from serving.api.schemas import ConsentRequest, EventsRequest
from serving.engine import Engine
from serving.outbox.feed import Feed, Noticed
from serving.outbox.marks import Marks
from serving.outbox.messages import Messages
from serving.outbox.metrics import OutboxMetrics
from serving.outbox.outbox import Outbox
from serving.outbox.settings import WebhookEndpoint, WebhookSettings
from serving.outbox.signing import new_secret
from tests.serving.tiny_release import AS_OF_US
from tests.serving.webhook_receiver import Receiver

HOUR_S = 3600
AS_OF = dt.datetime.fromtimestamp(AS_OF_US / 1e6, dt.UTC)


class Clock:
    def __init__(self) -> None:
        self.us = AS_OF_US

    def __call__(self) -> int:
        return self.us

    def pass_(self, seconds: float) -> None:
        self.us += int(seconds * 1e6)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def crm(**more: object) -> WebhookEndpoint:
    return msgspec.convert(
        {"name": "crm", "url": "https://crm.example", "triggers": ["all"], "secret_env": "CRM_SECRET"} | more,
        WebhookEndpoint,
    )


@pytest.fixture
def feed(engine: Engine, clock: Clock, tmp_path: Path) -> Callable[..., tuple[Feed, Messages, list[float]]]:
    def of(*endpoints: WebhookEndpoint, **settings: float) -> tuple[Feed, Messages, list[float]]:
        slept: list[float] = []
        messages = Messages(tmp_path / "outbox.sqlite")
        made = Feed(
            WebhookSettings(endpoints=endpoints, **settings),
            messages,
            Marks(tmp_path / "outbox.sqlite"),
            lambda: engine,
            wall=clock,
            sleep=lambda seconds: bool(slept.append(seconds)),
        )
        return made, messages, slept

    return of


def put_in_cart(engine: Engine, user_id: str, *, hours_ago: float, item_id: str = "item-1") -> None:
    ts = (AS_OF - dt.timedelta(hours=hours_ago)).isoformat()
    event = {"user_id": user_id, "event_type": "cart", "item_id": item_id, "ts": ts}
    assert engine.add_events(EventsRequest(events=(event,))).accepted == 1


def bodies(messages: Messages, endpoint: str, clock: Clock) -> list[dict[str, object]]:
    return [msgspec.json.decode(one.body) for one in messages.due(endpoint, now_us=clock.us, limit=1000)]


def test_feed_when_a_trigger_opened_then_one_message_says_so_once_a_settling_time_is_over(
    engine: Engine, clock: Clock, feed: Callable[..., tuple[Feed, Messages, list[float]]]
) -> None:
    made, messages, slept = feed(crm(triggers=["cart_left"]), crm(name="erp", triggers=["win_back"]), cpu_share=0.05)
    put_in_cart(engine, "carter", hours_ago=25)
    made.mark([("carter", "cart"), ("carter", "cart"), ("carter", "view")])
    assert made.run_once() == 0
    clock.pass_(6)
    assert made.run_once() == 1
    (body,) = bodies(messages, "crm", clock)
    assert (body["type"], body["timestamp"]) == ("trigger.opened", (AS_OF + dt.timedelta(seconds=6)).strftime("%FT%TZ"))
    data = body["data"]
    assert (data["user_id"], data["trigger"], data["item_id"]) == ("carter", "cart_left", "item-1")
    assert data["reason"] == "Thing number 1 has been in the cart for 1 days and was not bought."
    assert len(slept) == 1  # one look for three events
    made.mark([("carter", "view")])
    clock.pass_(6)
    assert made.run_once() == 0  # the same occasion
    put_in_cart(engine, "carter", hours_ago=24.5, item_id="item-2")
    made.mark([("carter", "cart")])
    clock.pass_(6)
    made.run_once()
    assert [one["data"]["item_id"] for one in bodies(messages, "crm", clock)] == ["item-1", "item-2"]


def test_feed_when_something_must_wait_first_then_it_is_looked_at_again_after_that(
    engine: Engine,
    clock: Clock,
    feed: Callable[..., tuple[Feed, Messages, list[float]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, _, slept = feed(crm())
    put_in_cart(engine, "waiter", hours_ago=0.1)
    made.mark([("waiter", "cart")])
    looks = []
    for _ in range(26 * 6):
        made.run_once()
        looks.append(len(slept))
        clock.pass_(600)
    # At once, after the hour of low_stock_on_cart_item and after the day of cart_left.
    assert (looks[0], looks[1], looks[6], looks[8], looks[143], looks[146], looks[-1]) == (0, 1, 1, 2, 2, 3, 3)


def test_feed_when_looking_costs_time_then_it_rests_to_keep_its_share(
    engine: Engine, clock: Clock, feed: Callable[..., tuple[Feed, Messages, list[float]]]
) -> None:
    made, _, slept = feed(crm(), cpu_share=0.05)
    made.mark([(f"user-{number}", "view") for number in range(20)])
    clock.pass_(6)
    made.run_once()
    assert len(slept) == 20
    assert all(0 < seconds < 5 for seconds in slept)  # 19 times what a look took: some milliseconds


def test_feed_when_consent_is_withdrawn_or_the_customer_erased_then_there_is_no_message(
    engine: Engine, clock: Clock, feed: Callable[..., tuple[Feed, Messages, list[float]]]
) -> None:
    made, messages, _ = feed(crm())
    for user in ("first", "second", "third"):
        put_in_cart(engine, user, hours_ago=25)
        made.mark([(user, "cart")])
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


def test_noticed_when_taken_then_each_customer_and_type_is_there_once() -> None:
    noticed = Noticed()
    noticed.add([("a", "view"), ("b", "view")])
    noticed.add([("a", "view"), ("a", "cart")])
    assert noticed.take() == [("a", "view"), ("b", "view"), ("a", "cart")]
    assert noticed.take() == []


def test_outbox_when_its_process_died_then_another_looks_at_everyone_with_recent_events(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRM_SECRET", new_secret())
    put_in_cart(engine, "carter", hours_ago=25)

    def outbox(url: str) -> Outbox:
        endpoint = crm(url=url, triggers=["cart_left"])
        return Outbox(
            WebhookSettings(endpoints=(endpoint,)), tmp_path, lambda: engine, metrics=OutboxMetrics(CollectorRegistry())
        )

    with Receiver() as receiver:
        first, second = outbox(receiver.url), outbox(receiver.url)
        first.notice(({"user_id": "carter", "event_type": "cart"}, "no row"))
        first.fill()  # marked for in some seconds; then the process dies with its lease
        assert second.fill() == 0
        first.messages._file.close()
        _expire_leases(tmp_path)
        assert second.fill() == 1
        second.start()
        for _ in range(100):
            if receiver.taken:
                break
            second._stop.wait(0.05)
        second.stop()
        assert len(receiver.taken) == 1


def _expire_leases(directory: Path) -> None:
    with sqlite3.connect(directory / "outbox.sqlite") as connection:
        connection.execute("UPDATE leases SET until_us = 0")
