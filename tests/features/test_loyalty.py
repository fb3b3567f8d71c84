"""Loyalty points: worked examples, and a ledger that always adds up."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.customers.context import Context
from features.customers.loyalty.account import Account
from features.customers.loyalty.ledger import Ledger, LoyaltyEvent, build_ledger, ledger_of
from features.customers.loyalty.rules import LoyaltyRules
from features.customers.registry import PARTS
from features.customers.workbench import DuckWorkbench
from features.engine import connect
from features.errors import ConfigError
from features.settings import EngineSettings, ShopSettings
from tests.features.tiny_shop import event, write_shop

AS_OF = dt.date(2024, 12, 31)
RULES = LoyaltyRules.from_values(
    {
        "points_per_unit": 1,
        "categories": {"drinks": 2, "drinks/tea": 3},
        "events": {"login": 5},
        "bonuses": [{"from": dt.date(2024, 6, 1), "until": dt.date(2024, 6, 2), "times": 2, "name": "june"}],
        "steps": [{"points": 50, "coupon": "half"}, {"points": 20, "coupon": "mug"}],
        "expire_days": 100,
        "expiring_days": 30,
    }
)


def moved(event_type: str, day: str, item: str | None = None, **more: Any) -> LoyaltyEvent:
    values = {"order_id": None, "coupon_id": None, "units": 1, "price": None, "category": None} | more
    when = dt.date.fromisoformat(day)
    return LoyaltyEvent(
        user_id="ann",
        local_day=when,
        epoch_us=when.toordinal() * 86_400_000_000,
        event_id=None,
        event_type=event_type,
        item_id=item,
        **values,
    )


def ledger(*events: LoyaltyEvent, as_of: dt.date = AS_OF) -> Ledger:
    return ledger_of(events, RULES, as_of=as_of, minor_units=100)


def points(found: Ledger) -> list[tuple[str, int]]:
    return [(row["reason"], row["points"]) for row in found.movements.to_pylist()]


@pytest.mark.parametrize(
    ("category", "day", "expected"),
    [
        (None, "2024-12-01", 3),  # 3.99 at 1 point a unit, rounded down
        ("drinks/coffee", "2024-12-01", 7),  # 7.98
        ("drinks/tea/green", "2024-12-01", 11),  # 11.97: the longest path holds
        ("drinksware", "2024-12-01", 3),  # a path, not a beginning
    ],
)
def test_purchase_when_bought_then_whole_points_by_category(category: str | None, day: str, expected: int) -> None:
    found = ledger(moved("purchase", day, "x", price=399, category=category))
    assert points(found) == [("purchase", expected)]


def test_purchase_when_in_a_bonus_then_its_last_day_counts_too() -> None:
    days = ["2024-05-31", "2024-06-01", "2024-06-02", "2024-06-03"]
    found = ledger(*(moved("purchase", day, "x", price=1000) for day in days), as_of=dt.date(2024, 6, 30))
    assert [value for _, value in points(found)] == [10, 20, 20, 10]


def test_event_when_it_happens_twice_a_day_then_it_earns_once() -> None:
    found = ledger(*(moved("login", day) for day in ("2024-12-01", "2024-12-01", "2024-12-02")))
    assert points(found) == [("login", 5), ("login", 5)]


def test_refund_when_a_part_is_sent_back_then_what_those_units_earned() -> None:
    bought = moved("purchase", "2024-12-01", "x", order_id="o1", units=3, price=150)  # int(4.5) = 4 points
    back = moved("refund", "2024-12-05", "x", order_id="o1", units=1)  # two units keep int(3.0) = 3
    other = moved("refund", "2024-12-06", "x", order_id="o2", units=1)  # of no order known
    found = ledger(bought, back, other)
    assert points(found) == [("purchase", 4), ("refund", -1)]
    assert found.standings.to_pylist()[0]["loyalty_points"] == 3


def test_refund_when_the_points_were_spent_then_the_balance_is_owed() -> None:
    bought = moved("purchase", "2024-12-01", "x", order_id="o1", price=2000)
    spent = moved("purchase", "2024-12-02", "y", order_id="o2", price=500, coupon_id="mug")
    back = moved("refund", "2024-12-03", "x", order_id="o1")
    later = moved("purchase", "2024-12-04", "z", order_id="o4", price=2000)
    found = ledger(bought, spent, back, later)
    assert points(found) == [("purchase", 20), ("redeemed", -20), ("purchase", 5), ("refund", -20), ("purchase", 20)]
    # 20 - 20 + 5 - 20 = -15, of which the last purchase pays 15
    assert found.standings.to_pylist()[0]["loyalty_points"] == 5


def test_redeemed_when_the_balance_does_not_cover_it_then_nothing_moves() -> None:
    found = ledger(moved("purchase", "2024-12-02", "y", order_id="o2", price=500, coupon_id="mug"))
    assert points(found) == [("purchase", 5)]


def test_redeemed_when_an_order_has_two_rows_then_it_is_spent_once() -> None:
    first = moved("purchase", "2024-12-01", "x", order_id="o1", price=9000)
    rows = [moved("purchase", "2024-12-02", i, order_id="o2", price=0, coupon_id="mug") for i in "ab"]
    assert points(ledger(first, *rows)) == [("purchase", 90), ("redeemed", -20)]


def test_points_when_their_time_has_come_then_the_oldest_lapse() -> None:
    events = [moved("purchase", day, "x", order_id=day, price=1000) for day in ("2024-05-01", "2024-07-01")]
    spent = moved("purchase", "2024-07-02", "y", order_id="o", price=0, coupon_id="mug")
    # 1 May + 100 days = 9 August; the 20 points were spent before
    assert points(ledger(*events, spent)) == [("purchase", 10), ("purchase", 10), ("redeemed", -20)]
    found = ledger(*events, moved("refund", "2024-12-01", "x", order_id="2024-07-01"))
    assert points(found) == [("purchase", 10), ("purchase", 10), ("expired", -10), ("expired", -10)]
    assert [row["local_day"] for row in found.movements.to_pylist()][2:] == [dt.date(2024, 8, 9), dt.date(2024, 10, 9)]


def test_standing_when_points_are_about_to_lapse_then_counted_and_the_next_step_is_named() -> None:
    events = [moved("purchase", day, "x", price=1500) for day in ("2024-10-10", "2024-12-20")]
    found = ledger(*events).standings.to_pylist()
    # 10 October + 100 days = 18 January, within 30 days of 31 December; 30 points, next step 50
    assert found == [
        {
            "user_id": "ann",
            "loyalty_points": 30,
            "loyalty_expiring_points": 15,
            "loyalty_next_step": 50,
            "loyalty_points_missing": 20,
        }
    ]


_ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["purchase", "purchase", "refund", "login"]),
        st.integers(0, 300),
        st.sampled_from("xyz"),
        st.sampled_from([None, "o1", "o2"]),
        st.sampled_from([None, "mug", "half"]),
        st.integers(1, 4),
        st.integers(0, 5000),
    ),
    max_size=40,
)


@given(actions=_ACTIONS)
def test_ledger_when_anything_happens_then_it_adds_up(actions: list[Any]) -> None:
    events = [
        moved(
            kind,
            (dt.date(2024, 1, 1) + dt.timedelta(days=day)).isoformat(),
            item,
            **dict(zip(names, rest, strict=True)),
        )
        for kind, day, item, *rest in sorted(actions, key=lambda action: action[1])
        for names in [("order_id", "coupon_id", "units", "price")]
    ]
    found = ledger(*events)
    rows, standing = found.movements.to_pylist(), found.standings.to_pylist()
    assert sum(row["points"] for row in rows) == (standing[0]["loyalty_points"] if standing else 0)
    gained = sum(row["points"] for row in rows if row["reason"] == "purchase")
    assert -sum(row["points"] for row in rows if row["reason"] == "refund") <= gained
    assert all(row["points"] != 0 for row in rows)
    days = [row["local_day"] for row in rows]
    assert days == sorted(days)


def test_account_when_all_units_come_back_in_steps_then_nothing_is_left() -> None:
    account = Account()
    account.buy(dt.date(2024, 1, 1), "o", "x", units=7, per_unit=Fraction(10, 7))
    assert account.balance == 10
    assert sum(account.refund("o", "x", 1) for _ in range(9)) == 10
    assert account.balance == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "expected YAML"),
        ("- a", "expected a mapping, found list"),
        ("points_per_unt: 1", "Did you mean 'points_per_unit'?"),
        ("points_per_unit: many", "points_per_unit: expected a number of 0 or more, found 'many'"),
        ("events: {logn: 5}", "Did you mean 'login'?"),
        ("events: {purchase: 5}", "expected event types other than purchase"),
        ("steps: [{points: 0}]", "steps.points: expected at least 1, found 0"),
        ("expire_days: -1", "expire_days: expected a whole number of 0 or more, found -1"),
        ("bonuses: [{from: 2024-02-01, until: 2024-01-01, times: 2}]", "expected days with from <= until"),
    ],
)
def test_rules_when_a_value_does_not_fit_then_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "loyalty.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        LoyaltyRules.load(tmp_path / "loyalty.yaml")
    assert message in str(caught.value)


def test_columns_when_the_shop_has_no_scheme_then_empty_and_with_one_then_filled(tmp_path: Path) -> None:
    rows = [
        event("ann", "purchase", "2024-05-01 09:00", "x", event_id="1", price=250, quantity=2),
        event("bob", "view", "2024-05-01 09:00", "x", event_id="2"),
    ]
    data = write_shop(tmp_path / "data", events=rows, items=[{"item_id": "x", "category": "drinks/tea"}])
    part = next(part for part in PARTS if part.name == "loyalty")
    with connect(EngineSettings(memory_limit="200MB", threads=1), spill=tmp_path) as connection:
        log = connection.read_parquet(str(data / "events.parquet")).project("*, ts::DATE AS local_day")
        context = Context(
            bench=DuckWorkbench(connection=connection),
            rows=log,
            items=connection.read_parquet(str(data / "items.parquet")),
            as_of=dt.date(2024, 5, 2),
            shop=ShopSettings(),
            data=data,
        )
        assert part.select(context).fetchall() == []
        (data / "loyalty.yaml").write_text("categories: {drinks: 2}\nsteps: [{points: 25}]\n")
        assert part.select(context).fetchall() == [("ann", 10, 0, 25, 15)]
        rules = LoyaltyRules.load(data / "loyalty.yaml")
        made = build_ledger(log, context.items, rules, as_of=context.as_of, minor_units=100).movements.to_pylist()
        assert [(row["user_id"], row["points"], row["event_id"]) for row in made] == [("ann", 10, "1")]
