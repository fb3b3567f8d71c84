"""Heat on three engines: the same sums."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from features.insight.heat import (
    HeatDefinition,
    MoversDefinition,
    block_counts,
    first_view_waits,
    heat_sums,
    hour_of_week,
    price_band_sums,
)
from tests.features.engines import assert_equal_tables, canonical
from tests.features.insight.insight_events import day, in_pandas, log

pytestmark = pytest.mark.xdist_group("spark")

_RNG = random.Random(6)
_KINDS = ["view", "view", "view", "cart", "purchase", "login"]
ROWS = [
    (
        f"u{_RNG.randrange(20)}",
        _RNG.choice(_KINDS),
        _RNG.randrange(30),
        _RNG.randrange(1440),
        _RNG.choice(["i1", "i2", "i3", "i4", None]),
    )
    for _ in range(500)
]
EVENTS = log(
    ROWS,
    dwell_ms=[_RNG.choice([None, 900, 12_345]) for _ in ROWS],
    quantity=[_RNG.choice([None, 1, 3]) for _ in ROWS],
)
ITEMS = pa.table(
    {"item_id": ["i1", "i2", "i3", "i4"], "category": ["a/b", "a/c", "b", None], "price": [100, 250, 250, None]}
)
_LAST = dt.datetime.combine(day(30), dt.time(), dt.UTC)
TABLES: dict[str, tuple[Callable[[Any, Any], Any], list[str]]] = {
    "hours": (
        lambda events, items: hour_of_week(events, by="category", items=items),
        ["value", "weekday", "local_hour"],
    ),
    "heat": (lambda events, items: heat_sums(events, HeatDefinition(), as_of=day(28)), ["value"]),
    "blocks": (
        lambda events, items: block_counts(events, MoversDefinition(period_days=14), as_of=day(28)),
        ["value", "block"],
    ),
    "price bands": (lambda events, items: price_band_sums(events, items, num_bands=2), ["value", "band"]),
    "waits": (lambda events, items: first_view_waits(events, last_at=_LAST, by="item"), ["value", "minutes"]),
}


@pytest.mark.parametrize("name", TABLES)
def test_sums_when_run_by_each_engine_then_equal(name: str, connection: duckdb.DuckDBPyConnection, spark: Any) -> None:
    count, keys = TABLES[name]
    expected = canonical(count(in_pandas(EVENTS), ITEMS.to_pandas()), keys)
    assert len(expected) >= 2
    found = count(connection.from_arrow(EVENTS), connection.from_arrow(ITEMS))
    assert isinstance(found, duckdb.DuckDBPyRelation)
    assert_equal_tables(canonical(found, keys), expected)
    assert_equal_tables(canonical(count(spark.createDataFrame(EVENTS), spark.createDataFrame(ITEMS)), keys), expected)
