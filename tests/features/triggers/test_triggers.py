"""Triggers by hand, live against batch, and on the synthetic shop against plain Python over the raw log."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import narwhals as nw
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

from features.customers.basics import BASICS
from features.customers.table import CustomerTable
from features.engine import connect
from features.errors import ConfigError
from features.event_log import EventLog
from features.rules.compile import Compiler
from features.rules.conditions import DAY_US, HOUR_US
from features.rules.live import LiveCustomer
from features.rules.rows import end_of_day_us, rule_rows
from features.rules.session import RuleSession, columns_at_hand
from features.settings import EngineSettings, ShopSettings
from features.sources.synthetic import generate
from features.triggers.batch import live_triggers, open_triggers
from features.triggers.cycles import NO_GAPS, OwnGaps, own_cycle, own_strength, purchase_gaps
from features.triggers.facts import item_facts
from features.triggers.limits import Cap, Limits, is_quiet, planned
from features.triggers.sent import Sent
from features.triggers.trigger import ItemFacts, OpenTrigger, read_triggers
from tests.features.rules import rule_worlds as worlds
from tests.features.rules.slow_rules import day_of
from tests.features.tiny_shop import event

ENGINE = EngineSettings(memory_limit="500MB", threads=1)
SHOP = ShopSettings(time_zone="UTC")
READY = read_triggers(minor_units=100, columns={})
FACTS = {
    f"i{n}": ItemFacts(item_id=f"i{n}", title=f"Item {n}", price=900, stock=n, cycle_days=5, own_strength=2.0)
    for n in range(5)
}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with connect(ENGINE, spill=tmp_path_factory.mktemp("spill")) as opened:
        yield opened


def session_of(connection: Any, rows: Sequence[Mapping[str, Any]]) -> RuleSession:
    events = connection.from_arrow(worlds.log_table(rows))
    found = rule_rows(events, connection.from_arrow(worlds.items_table()), as_of_us=worlds.AS_OF_US)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE rule_rows AS {found.sql_query()}")
    compiler = Compiler(
        rows=nw.from_native(connection.table("rule_rows")), customers=None, as_of_us=worlds.AS_OF_US,
        as_of=day_of(worlds.AS_OF_US),
    )  # fmt: skip
    return RuleSession(connection=connection, compiler=compiler, as_of_us=worlds.AS_OF_US)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=worlds.logs)
def test_triggers_when_asked_live_then_as_in_the_batch(rows: list[Any], connection: Any) -> None:
    batch = open_triggers(session_of(connection, rows), READY, FACTS)
    live = []
    for user in sorted({row["user_id"] for row in rows}):
        events = [worlds.as_live(row) for row in rows if row["user_id"] == user]
        customer = LiveCustomer(events=events, profile={}, as_of_us=worlds.AS_OF_US, as_of=day_of(worlds.AS_OF_US))
        live += live_triggers(user, customer, READY, FACTS)
    assert live == batch


def test_triggers_when_worked_by_hand_then_item_reason_and_instants(connection: Any) -> None:
    """As of day 20: a cart of day 18, a favourite of day 10 at 10.00 that costs 9.00 now, a purchase 6 days ago."""
    at = [worlds.START + dt.timedelta(days=n) for n in range(20)]
    rows = [
        event("ann", "cart", at[18], "i3"),
        event("ann", "favorite", at[10], "i1", price=1000),
        event("bob", "purchase", at[14], "i4", price=500),
    ]
    found = open_triggers(session_of(connection, rows), READY, FACTS)
    assert [(one.user_id, one.trigger, one.item_id, one.reason) for one in found] == [
        ("ann", "low_stock_on_cart_item", "i3", "Only 3 left of Item 3, which is in the cart."),
        ("ann", "cart_left", "i3", "Item 3 has been in the cart for 2 days and was not bought."),
        ("ann", "price_drop_on_favourite", "i1", "Item 1, a favourite, costs 10% less than when it was marked."),
        ("ann", "favourite_not_bought", "i1", "Item 1 has been a favourite for 10 days and was not bought."),
        ("bob", "replenishment_due", "i4", "Item 4 was bought 6 days ago and is usually bought again after 5 days."),
        ("bob", "after_first_order", "i4", "First order 6 days ago."),
    ]  # fmt: skip
    left = found[1]
    assert (left.due_us, left.until_us) == (worlds.START_US + 19 * DAY_US, worlds.START_US + 25 * DAY_US)


def test_lead_days_when_longer_then_replenishment_comes_earlier(connection: Any) -> None:
    rows = [event("bob", "purchase", worlds.START + dt.timedelta(days=16), "i4")]  # 4 days ago, due in 6 of 10
    facts = {"i4": dataclasses.replace(FACTS["i4"], cycle_days=10)}
    for lead, opened in (("5", []), ("6", ["i4"])):
        triggers = read_triggers(minor_units=100, columns={}, parameters={"lead_days": lead})
        found = open_triggers(session_of(connection, rows), triggers, facts)
        assert [one.item_id for one in found if one.trigger == "replenishment_due"] == opened


def test_replenishment_when_a_customer_has_a_pace_of_its_own_then_that_decides(connection: Any) -> None:
    """Bob buys every 2 days, cem once: the item's 8 days count as 2 gaps, so bob's cycle is (2 x 2 x 8 x 8) ** 1/4."""
    bob = [event("bob", "purchase", worlds.START + dt.timedelta(days=day), "i4") for day in (12, 14, 14, 16)]
    cem = [event("cem", "purchase", worlds.START + dt.timedelta(days=16), "i4")]
    assert own_cycle(8.0, 2.0, OwnGaps(count=2, sum_log=2 * math.log(2))) == pytest.approx(4.0)
    assert own_cycle(8.0, 2.0, NO_GAPS) == own_cycle(8.0, None, OwnGaps(count=2, sum_log=0.0)) == 8.0
    facts = {"i4": dataclasses.replace(FACTS["i4"], cycle_days=8.0)}
    triggers = [one for one in READY if one.rule.name == "replenishment_due"]  # 3 lead days: due 4 days after the last
    (found,) = open_triggers(session_of(connection, [*bob, *cem]), triggers, facts)
    assert (found.user_id, found.reason) == (
        "bob", "Item 4 was bought 4 days ago and is usually bought again after 4 days."
    )  # fmt: skip
    assert dict(found.known)["due_in_days"] == pytest.approx(0.0)
    events = [worlds.as_live(row) for row in bob]
    customer = LiveCustomer(events=events, profile={}, as_of_us=worlds.AS_OF_US, as_of=day_of(worlds.AS_OF_US))
    assert live_triggers("bob", customer, triggers, facts) == [found]


def test_own_strength_when_worked_by_hand_then_within_over_between(connection: Any) -> None:
    """Gaps of i1: ann 2 and 4 days, bob 8 and 8, cem 2: median 4. In powers of two: ann 1 2, bob 3 3, cem 1; middle 2."""
    days = {"ann": (0, 2, 6), "bob": (0, 8, 16), "cem": (1, 3)}
    rows = [
        event(user, "purchase", worlds.START + dt.timedelta(days=day), "i1") for user, at in days.items() for day in at
    ]
    gaps = purchase_gaps(connection.from_arrow(worlds.log_table(rows)))
    within = (0.25 + 0.25) / 2  # squares around ann's mean of 1.5, over one gap more than the mean of ann and of bob
    around = 2 * 0.5**2 + 2 * 1**2 + 1 * 1**2
    assert own_strength(gaps) == pytest.approx(within / ((around - 3 * within) / 5))


def opened(user: str, trigger: str, priority: int) -> OpenTrigger:
    return OpenTrigger(
        user_id=user,
        trigger=trigger,
        item_id=None,
        reason="",
        priority=priority,
        due_us=0,
        until_us=DAY_US,
        version="v",
    )


def plan(found: Sequence[OpenTrigger], **more: Any) -> pd.DataFrame:
    noon = 12 * 3_600_000_000 + 100 * DAY_US
    given_ = {"as_of_us": noon, "zone": ZoneInfo("UTC"), "sent": {}, "profiles": {}, **more}
    return planned(found, **given_)


def test_caps_when_reached_then_the_lower_priority_is_held_back_with_the_reason() -> None:
    now = 100 * DAY_US
    limits = Limits(
        caps=(Cap(messages=2, window_days=7), Cap(messages=1, window_days=30, medium="email")), medium="push"
    )
    sent = {"ann": Sent(messages=[(now - 3 * DAY_US, "email"), (now - 9 * DAY_US, "push")])}
    found = plan([opened("ann", "low", 1), opened("ann", "high", 9)], sent=sent, limits=limits)
    assert found[["trigger", "held_back"]].to_numpy().tolist() == [
        ["high", ""], ["low", "cap of 2 messages in 7 days: 1 sent and 1 of higher priority"]
    ]  # fmt: skip
    by_mail = Limits(caps=limits.caps, medium="email")
    assert plan([opened("ann", "high", 9)], sent=sent, limits=by_mail)["held_back"].tolist() == [
        "cap of 1 messages by email in 30 days: 1 sent"
    ]
    gone = {"ann": Sent(unsubscribed=frozenset({"push"}))}
    assert plan([opened("ann", "high", 9)], sent=gone)["held_back"].tolist() == ["unsubscribed from push"]


def test_sent_when_plan_and_log_hold_a_message_then_it_counts_once_and_is_about_its_item() -> None:
    """Two planned, for 07:59 and the next day; the log has one of 08:00, and one of another day about nothing known."""
    day = 100 * DAY_US
    log = Sent.of(
        [("message_sent", day + 8 * HOUR_US, "push", "", None), ("message_sent", day - DAY_US, "email", "", None)]
    )
    plans = [
        ("message_sent", day + 8 * HOUR_US - 60_000_000, "push", "cart_left", "i1"),
        ("message_sent", day + DAY_US, "push", "cart_left", "i2"),
    ]
    both = log.with_planned(plans, ZoneInfo("UTC"))
    assert sorted(both.messages) == [(day - DAY_US, "email"), (day + 8 * HOUR_US, "push"), (day + DAY_US, "push")]
    assert both.last_about("cart_left", "i1") == day + 8 * HOUR_US - 60_000_000
    assert both.last_about("cart_left", None) == day + DAY_US
    assert both.last_about("cart_left", "i3") is None
    assert both.last_about("win_back", None) is None
    anything = Sent.of([("message_sent", day, "push", "cart_left", None)])  # names no item: it may have been any
    assert anything.last_about("cart_left", "i3") == day


def test_quiet_hours_when_planned_then_moved_and_when_now_then_held_back() -> None:
    one = [opened("ann", "high", 9)]
    at_ten = plan(one)  # noon: the best hour, 10, is tomorrow's
    assert at_ten["send_at"].tolist() == [pd.Timestamp("1970-04-12 10:00Z")]
    night = plan(one, profiles={"ann": {"best_hour": 23, "quiet_from": 22, "quiet_until": 9}})
    assert night["send_at"].tolist() == [pd.Timestamp("1970-04-12 09:00Z")]  # quiet to 8 for all, to 9 for ann
    late = plan(one, as_of_us=100 * DAY_US + 22 * 3_600_000_000, when="now")
    assert late["held_back"].tolist() == ["quiet hours at 22:00 local"]
    assert late["send_at"].isna().all()
    assert [is_quiet(hour, 9, 9) for hour in (8, 9)] == [False, False]


def test_library_when_a_reason_names_the_unknown_then_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text("triggers:\n  mine: {when: {events: cart}, reason: 'Dear {name}'}\n")
    with pytest.raises(ConfigError, match="rule 'mine', reason: expected only"):
        read_triggers(path, minor_units=100, columns=None)


def slow_carts(rows: Sequence[Any], as_of_us: int) -> set[tuple[str, str]]:
    """Carts of the last 7 days that are a day old, and not answered: line by line."""
    found = set()
    for user, kind, at, item in rows:
        if kind == "cart" and at + DAY_US <= as_of_us < at + 7 * DAY_US:
            answered = any(
                u == user and i == item and k in ("purchase", "remove_from_cart") and at <= t <= as_of_us
                for u, k, t, i in rows
            )
            if not answered:
                found.add((user, item))
    return found


def slow_lifecycle(rows: Sequence[Any], as_of: dt.date, day: Any) -> dict[str, str]:
    """The stage of each customer from its purchases' and own events' days."""
    by_the_shop = {"impression", "message_sent", "message_delivered", "message_bounced"}
    found = {}
    for user in {row[0] for row in rows}:
        bought = [(as_of - day(t)).days for u, k, t, _ in rows if u == user and k == "purchase"]
        quiet = min(((as_of - day(t)).days for u, k, t, _ in rows if u == user and k not in by_the_shop), default=None)
        if not bought:
            found[user] = "prospect"
            continue
        quiet = min(bought) if quiet is None else quiet
        if max(bought) <= 30:
            found[user] = "new"
        elif min(bought) <= 30:
            found[user] = "active"
        elif min(bought) <= 180 and quiet <= 90:
            found[user] = "cooling"
        else:
            found[user] = "churned" if min(bought) > 180 else "dormant"
    return found


def test_synthetic_shop_when_worked_from_the_raw_log_then_carts_and_lifecycle_are_exact(tmp_path: Path) -> None:
    """Consent, local days and deduplication included: plain Python over events.parquet and consents.parquet."""
    data = tmp_path / "shop"
    generate(data, num_users=60, num_items=60, num_days=110, seed=3)
    shop = ShopSettings.load(data)
    log = EventLog.build(data, tmp_path / "log.parquet", shop=shop, engine=ENGINE)
    events, consents = (pd.read_parquet(data / f"{name}.parquet") for name in ("events", "consents"))
    last: dict[tuple[str, str], pd.Timestamp] = {}
    granted: dict[tuple[str, str], bool] = {}
    for row in consents.sort_values("at").itertuples():
        granted[row.user_id, row.purpose] = row.granted
        last[row.user_id, row.purpose] = row.at
    epoch = pd.Timestamp(0, tz="UTC")

    def allowed(purpose: str) -> list[tuple[str, str, int, str | None]]:
        return [
            (e.user_id, e.event_type, (e.ts - epoch) // pd.Timedelta(microseconds=1), e.item_id)
            for e in events.itertuples()
            if granted.get((e.user_id, purpose), False) and e.ts >= last[e.user_id, purpose]
        ]

    def local_day(at_us: int) -> dt.date:
        return (epoch + pd.Timedelta(microseconds=at_us)).tz_convert(shop.zone).date()

    for as_of in (log.last_day, log.last_day - dt.timedelta(days=30)):
        customers = CustomerTable.build(
            log, data / "items.parquet", as_of=as_of, shop=shop, engine=ENGINE, parts=BASICS
        )
        until = end_of_day_us(as_of, shop.zone)
        seen = [row for row in allowed("analytics") if row[2] <= until]
        expected = slow_lifecycle(seen, as_of, local_day)
        assert dict(zip(customers.frame["user_id"], customers.frame["lifecycle"], strict=True)) == expected
        with RuleSession.open(
            log, data / "items.parquet", customers, shop=shop, purpose="personalisation", engine=ENGINE
        ) as session:
            triggers = read_triggers(minor_units=100, columns=columns_at_hand(customers.frame))
            carts = [one for one in triggers if one.rule.name == "cart_left"]
            found = open_triggers(session, carts, item_facts(session, data / "items.parquet"))
        rows = [row for row in allowed("personalisation") if row[2] <= until]
        carted = {(one.user_id, str(one.item_id)) for one in found}
        assert carted == slow_carts([row for row in rows if row[3] is not None], until)
        assert len(carted) > 2
