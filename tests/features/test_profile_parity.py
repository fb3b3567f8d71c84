"""The profile's table functions on pandas and DuckDB: integers exact, floats to 1e-9 relative.

PySpark runs them all in ``customers/test_customer_engines.py``: the whole customer table, held equal to DuckDB's.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from features import columns as c
from features.contract.tables import COUPONS, EVENTS, ITEMS, PLAN
from features.tables import answers, hours, order_habits, orders, price_sensitivity, prices, shares, visits
from tests.features.engines import assert_equal_tables, canonical
from tests.features.tiny_shop import arrow_table, event, utc

AS_OF = dt.date(2024, 5, 31)
KINDS = [
    *("view", "view", "view", "cart", "favorite", "purchase", "purchase", "refund", "login", "search"),
    *("message_sent", "message_sent", "message_delivered", "message_bounced", "message_opened", "message_clicked"),
]


def _events(num_rows: int = 900) -> pa.Table:
    generator = random.Random(7)
    rows = []
    for number in range(num_rows):
        kind = generator.choice(KINDS)
        item = f"i{generator.randrange(12)}" if kind in c.ITEM_EVENT_TYPES else None
        at = utc("2024-05-01 00:00") + dt.timedelta(minutes=generator.randrange(31 * 24 * 60))
        more = {
            "event_id": f"e{number:04}",
            "session_id": generator.choice([None, f"s{at:%d}"]),
            "order_id": generator.choice([None, f"o{generator.randrange(80)}"]),
            "quantity": generator.choice([None, 1, 2, 5]),
            "price": generator.choice([None, 180, 199, 199, 199, 250]),
            "region": generator.choice([None, "north", "south"]),
            "channel": generator.choice([None, "direct", "email"]),
            "dwell_ms": generator.choice([None, 1500, 20_000]),
            "medium": generator.choice([None, "email", "push"]),
            "coupon_id": generator.choice([None, f"k{generator.randrange(4)}"]),
        }
        rows.append(event(f"u{generator.randrange(25)}", kind, at, item, **more))
    events = arrow_table(EVENTS, rows)
    instants = events["ts"].to_pylist()
    events = events.append_column(c.LOCAL_DAY, pa.array([at.date() for at in instants], pa.date32()))
    return events.append_column(c.LOCAL_HOUR, pa.array([at.hour for at in instants], pa.int32()))


def _others() -> dict[str, pa.Table]:
    generator = random.Random(8)
    paths = ["food/fruit", "food/bread", "home", "home/garden/hose", None, ""]
    items = [
        {"item_id": f"i{n}", "category": paths[n % 6], "brand": f"b{n % 5}", "price": None if n == 3 else 100 + n // 2}
        for n in range(12)
    ]
    coupons = [
        {"coupon_id": f"k{n % 4}", "user_id": f"u{n}", "issued_at": utc("2024-05-01"), "value": 150 * (n % 4) + 50}
        for n in range(25)
    ]
    plan = [
        {
            "item_id": f"i{n % 12}",
            "day": dt.date(2024, 5, 1 + n % 31),
            "announced_at": utc("2024-04-01"),
            "promotion": generator.choice([None, 0.0, 0.2]),
            "display": generator.choice([None, 1.0]),
            "mailer": generator.choice([0.0, 1.0]),
        }
        for n in range(200)
    ]
    return {
        "items": arrow_table(ITEMS, items),
        "coupons": arrow_table(COUPONS, coupons),
        "plan": arrow_table(PLAN, plan),
    }


def _visits(f: dict[str, Any]) -> Any:
    return visits.visits(f["events"], gap_minutes=30)


def _moments(f: dict[str, Any]) -> Any:
    return hours.moments(_visits(f), f["events"])


def _interest(f: dict[str, Any]) -> Any:
    weights = {"view": 1, "cart": 3, "purchase": 8}
    return shares.interest(f["events"], as_of=AS_OF, half_life_days=10, event_weights=weights)


def _list_prices(f: dict[str, Any]) -> Any:
    return prices.list_prices(f["events"], as_of=AS_OF, days=10, percent=90)


def _bands(f: dict[str, Any]) -> Any:
    return prices.price_bands(f["items"], num_bands=3)


def _rates(f: dict[str, Any]) -> Any:
    return answers.shrunk_rates(answers.message_answers(f["events"], "medium"))


def _occasions(f: dict[str, Any]) -> Any:
    return price_sensitivity.occasions(f["events"], _list_prices(f), as_of=AS_OF, days=10)


def _cells(f: dict[str, Any]) -> Any:
    return price_sensitivity.price_cells(_occasions(f))


def _slopes(f: dict[str, Any]) -> Any:
    cells = _cells(f)
    slope = price_sensitivity.shop_slope(cells)
    return price_sensitivity.category_slopes(cells, f["items"], slope)


TABLES: dict[str, tuple[Callable[[dict[str, Any]], Any], list[str]]] = {
    "visits": (_visits, ["user_id", "visit_id"]),
    "visit_habits": (lambda f: visits.visit_habits(_visits(f), as_of=AS_OF), ["user_id"]),
    "moments": (_moments, ["user_id", "local_day", "local_hour"]),
    "weekend_share": (lambda f: hours.weekend_share(_moments(f)), ["user_id"]),
    "hours_to_write": (
        lambda f: hours.hours_to_write(hours.hour_counts(_moments(f)), quiet_hours=8, prior=10),
        ["user_id"],
    ),
    "event_shares": (lambda f: shares.event_shares(f["events"], "channel"), ["user_id", "rank"]),
    "weekday_shares": (lambda f: shares.event_shares(_moments(f), "weekday"), ["user_id", "rank"]),
    "interest": (_interest, ["user_id", "item_id"]),
    "item_shares": (lambda f: shares.item_shares(_interest(f), f["items"], "category"), ["user_id", "rank"]),
    "band_shares": (lambda f: shares.item_shares(_interest(f), _bands(f), "price_band"), ["user_id", "rank"]),
    "list_prices": (_list_prices, ["item_id", "period"]),
    "price_bands": (_bands, ["item_id"]),
    "repeats": (lambda f: order_habits.repeats(f["events"], orders.purchases(f["events"])), ["user_id"]),
    "days_between_orders": (lambda f: order_habits.days_between_orders(f["events"]), ["user_id"]),
    "refunds": (lambda f: order_habits.refunds(f["events"]), ["user_id"]),
    "discounts": (
        lambda f: order_habits.discounts(f["events"], _list_prices(f), as_of=AS_OF, days=10, min_percent=5),
        ["user_id"],
    ),
    "occasions": (_occasions, ["user_id", "item_id", "price", "list_price", "taken"]),
    "price_cells": (_cells, ["item_id", "price", "list_price"]),
    "category_slopes": (_slopes, ["item_id"]),
    "price_sensitivity": (
        lambda f: price_sensitivity.price_sensitivity(_occasions(f), _slopes(f)),
        ["user_id"],
    ),
    "message_answers": (lambda f: answers.message_answers(f["events"], "medium"), ["user_id", "arm"]),
    "coupon_answers": (lambda f: answers.coupon_answers(f["events"], f["coupons"]), ["user_id", "arm"]),
    "promotion_answers": (lambda f: answers.promotion_answers(f["events"], f["plan"]), ["user_id", "arm"]),
    "shrunk_rates": (_rates, ["user_id", "arm"]),
    "best_answers": (lambda f: answers.best_answers(_rates(f), min_chances=2), ["user_id"]),
}


@pytest.fixture(scope="module")
def tables() -> dict[str, pa.Table]:
    return {"events": _events(), **_others()}


@pytest.fixture(scope="module")
def by_pandas(tables: dict[str, pa.Table]) -> Callable[[str], pd.DataFrame]:
    frames = {name: table.to_pandas(date_as_object=False) for name, table in tables.items()}
    return lambda name: canonical(TABLES[name][0](frames), TABLES[name][1])


@pytest.mark.parametrize("name", TABLES)
def test_profile_table_when_run_by_duckdb_then_equal_to_pandas(
    name: str, tables: dict[str, pa.Table], by_pandas: Callable[[str], pd.DataFrame], connection: Any
) -> None:
    make, keys = TABLES[name]
    found = make({key: connection.from_arrow(table) for key, table in tables.items()})
    assert isinstance(found, duckdb.DuckDBPyRelation)
    expected = by_pandas(name)
    assert_equal_tables(canonical(found, keys), expected)
    assert len(expected) > 5
