"""Purchase days, buyers, growth, segments, tiers and moves: one function, three engines."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from features import columns as c
from features.contract.tables import EVENTS, ITEMS
from features.customers.groups import GROUPS, members, rfm_segment, value_tier
from features.customers.growth import growth_stage
from features.customers.moves import steps
from features.customers.settings import GrowthSettings
from features.customers.value.purchase_days import buyers, came, purchase_days
from tests.features.engines import assert_equal_tables, canonical
from tests.features.tiny_shop import arrow_table, event, utc

pytestmark = pytest.mark.xdist_group("spark")
AS_OF = dt.date(2024, 9, 30)


def _events() -> pa.Table:
    draw = random.Random(5)
    rows = []
    for _ in range(400):
        at = utc("2024-01-01 00:00") + dt.timedelta(minutes=draw.randrange(366 * 24 * 60))
        more = {"quantity": draw.choice([None, 1, 3]), "price": draw.choice([None, 199, 10_000])}
        kind = draw.choice(["view", "purchase", "purchase"])
        rows.append(event(f"u{draw.randrange(60)}", kind, at, f"i{draw.randrange(9)}", **more))
    events = arrow_table(EVENTS, rows)
    days = [at.date() for at in events["ts"].to_pylist()]
    return events.append_column(c.LOCAL_DAY, pa.array(days, pa.date32()))


def _items() -> pa.Table:
    return arrow_table(ITEMS, [{"item_id": f"i{n}", "cost": [50, None, 7][n % 3]} for n in range(9)])


def _customers(seed: int) -> pa.Table:
    draw = random.Random(seed)
    users = [f"u{n:03}" for n in range(200) if draw.random() < 0.9]

    def column(kind: pa.DataType, *choices: Any) -> pa.Array:
        return pa.array([draw.choice(choices) for _ in users], kind)

    scores = {f"{name}_score": column(pa.int64(), 1, 2, 3, 4, 5) for name in ("recency", "frequency", "monetary")}
    return pa.table(
        {
            c.USER_ID: users,
            **scores,
            "customer_lifetime_value": column(pa.float64(), 1.0, 2.5, 30.0, 31.0, 99.5),
            "growth_stage": column(pa.string(), None, "loyal", "silent", "newcomer"),
            "churn_risk": column(pa.float64(), 0.1, 0.5, 0.9),
            "value_tier": column(pa.string(), None, "top_1", "rest"),
            "price_sensitivity": column(pa.float64(), 0.1, 0.4, 0.5, 3.0, 5.0, 7.0),
            "frequency": column(pa.int64(), 0, 1, 2),
            "num_interactions": column(pa.int64(), 0, 1, 2),
        }
    )


def _buyers(events: Any, items: Any) -> Any:
    return buyers(purchase_days(events, items), as_of=AS_OF, trend_days=90)


def _group(name: str) -> Callable[[Any, Any], Any]:
    (group,) = [group for group in GROUPS if group.name == name]
    return lambda before, after: members(after, group)


OF_EVENTS: dict[str, Callable[[Any, Any], Any]] = {
    "purchase_days": purchase_days,
    "buyers": _buyers,
    "came": lambda events, items: came(purchase_days(events, items), after=AS_OF, until=dt.date(2024, 12, 31)),
    "growth_stage": lambda events, items: growth_stage(_buyers(events, items), settings=GrowthSettings()),
}
OF_CUSTOMERS: dict[str, Callable[[Any, Any], Any]] = {
    "rfm_segment": lambda before, after: rfm_segment(after),
    "value_tier": lambda before, after: value_tier(after, percents=(1, 5, 20)),
    "steps": lambda before, after: steps(before, after, column="growth_stage"),
    **{group.name: _group(group.name) for group in GROUPS},
}
KEYS = {"purchase_days": [c.USER_ID, "day_number"]}


def _compare(make: Callable[[Any, Any], Any], tables: tuple[pa.Table, pa.Table], engine: Any, keys: list[str]) -> None:
    expected = canonical(make(*(table.to_pandas(date_as_object=False) for table in tables)), keys)
    load = engine.from_arrow if isinstance(engine, duckdb.DuckDBPyConnection) else engine.createDataFrame
    found = canonical(make(*map(load, tables)), keys)
    assert len(expected) > 10
    assert_equal_tables(found, expected)


@pytest.mark.parametrize("name", [*OF_EVENTS, *OF_CUSTOMERS])
@pytest.mark.parametrize("engine", ["connection", "spark"])
def test_value_table_when_run_by_another_engine_then_equal_to_pandas(
    name: str, engine: str, request: pytest.FixtureRequest
) -> None:
    made = OF_EVENTS | OF_CUSTOMERS
    tables = (_events(), _items()) if name in OF_EVENTS else (_customers(1), _customers(2))
    _compare(made[name], tables, request.getfixturevalue(engine), KEYS.get(name, [c.USER_ID]))
