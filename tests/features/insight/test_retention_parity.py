"""Retention on three engines: the same counts."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from features.insight.retention import (
    RepurchaseDefinition,
    RetentionDefinition,
    active_days_counts,
    growth_counts,
    repurchase_counts,
    retention_counts,
    stickiness_changes,
)
from tests.features.engines import assert_equal_tables, canonical
from tests.features.insight.insight_events import in_pandas, log

pytestmark = pytest.mark.xdist_group("spark")

_RNG = random.Random(4)
_KINDS = ["view", "view", "cart", "purchase", "message_sent"]
ROWS = [
    (f"u{_RNG.randrange(25)}", _RNG.choice(_KINDS), _RNG.randrange(80), _RNG.randrange(1440), f"i{_RNG.randrange(9)}")
    for _ in range(400)
]
EVENTS = log(ROWS, channel=[_RNG.choice([None, "ads", "email"]) for _ in ROWS])
ITEMS = pa.table(
    {"item_id": [f"i{n}" for n in range(9)], "category": ["a/b", "a/c", "b", "", None, "c/d/e", "b/x", "c", "a"]}
)

_BRACKETS = RetentionDefinition(brackets=(1, 3, 7, 14), by="channel", start=("purchase",))
TABLES: dict[str, tuple[Callable[[Any, Any], Any], list[str]]] = {
    "brackets": (lambda events, items: retention_counts(events, _BRACKETS), ["value", "start", "period"]),
    "unbounded weeks": (
        lambda events, items: retention_counts(events, RetentionDefinition(mode="unbounded", num_periods=4)),
        ["value", "start", "period"],
    ),
    "rolling weeks": (
        lambda events, items: retention_counts(events, RetentionDefinition(mode="rolling")),
        ["value", "start", "period"],
    ),
    "growth": (lambda events, items: growth_counts(events, period="week"), ["place", "state"]),
    "stickiness": (lambda events, items: stickiness_changes(events), ["place", "days"]),
    "active days": (lambda events, items: active_days_counts(events, period="month"), ["place", "days"]),
    "repurchase": (
        lambda events, items: repurchase_counts(events, RepurchaseDefinition(of="category"), items=items),
        ["value", "start", "wait"],
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_counts_when_run_by_each_engine_then_equal(
    name: str, connection: duckdb.DuckDBPyConnection, spark: Any
) -> None:
    count, keys = TABLES[name]
    expected = canonical(count(in_pandas(EVENTS), ITEMS.to_pandas()), keys)
    assert len(expected) > 5
    found = count(connection.from_arrow(EVENTS), connection.from_arrow(ITEMS))
    assert isinstance(found, duckdb.DuckDBPyRelation)
    assert_equal_tables(canonical(found, keys), expected)
    assert_equal_tables(canonical(count(spark.createDataFrame(EVENTS), spark.createDataFrame(ITEMS)), keys), expected)
