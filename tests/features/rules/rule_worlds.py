"""Small logs and random conditions for tests of rules."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
from hypothesis import strategies as st

from features import columns as c
from features.contract.tables import EVENTS, ITEMS
from features.rules.conditions import DAY_US, HOUR_US
from features.rules.live import LiveEvent
from tests.features.rules.slow_rules import day_of
from tests.features.tiny_shop import arrow_table, event

START = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
START_US = 1_709_251_200_000_000
AS_OF_US = START_US + 20 * DAY_US
PATHS = ("a", "a/b", "ab", "c/d", None)
BRANDS = ("kin", "ore", None, "kin", "lab")
LABELS = ("fresh|new", "new", None, "fresh", "newest")
NUM_ITEMS = 5
TYPES = ("view", "cart", "purchase", "remove_from_cart", "search")


def items_table() -> pa.Table:
    rows = [
        {"item_id": f"i{n}", "category": PATHS[n], "brand": BRANDS[n], "labels": LABELS[n]} for n in range(NUM_ITEMS)
    ]
    return arrow_table(ITEMS, rows)


def log_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows of the contract as the event log has them, in UTC."""
    table = arrow_table(EVENTS, rows)
    instants = table[c.TS].to_pylist()
    table = table.append_column(c.LOCAL_DAY, pa.array([at.date() for at in instants], pa.date32()))
    return table.append_column(c.LOCAL_HOUR, pa.array([at.hour for at in instants], pa.int32()))


def as_slow(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the slow reference reads it, with its item's attributes."""
    at_us = (row["ts"] - START) // dt.timedelta(microseconds=1) + START_US
    known = {"at_us": at_us, "local_day": day_of(at_us), "local_hour": row["ts"].hour}
    if row.get("item_id") in {f"i{n}" for n in range(NUM_ITEMS)}:
        n = int(row["item_id"][1:])
        known |= {"category": PATHS[n], "brand": BRANDS[n], "labels": LABELS[n]}
    return {**row, **known}


def as_live(row: Mapping[str, Any]) -> LiveEvent:
    known = as_slow(row)
    fields = {name: value for name, value in known.items() if name not in ("at_us", "event_type", "local_day")}
    return LiveEvent(event_type=known["event_type"], at_us=known["at_us"], local_day=known["local_day"], fields=fields)


@st.composite
def event_rows(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(TYPES))
    hours = draw(st.integers(0, 22 * 8)) * 3  # few instants, so that some fall together; a few after as_of
    item = None if kind == "search" else f"i{draw(st.integers(0, NUM_ITEMS))}"  # one that the items table lacks
    return event(
        draw(st.sampled_from(("ann", "bob", "cem"))), kind, START + dt.timedelta(hours=hours), item,
        quantity=draw(st.sampled_from((None, 1, 3))), price=draw(st.sampled_from((None, 250, 1000))),
        order_id=draw(st.sampled_from((None, "o1", "o2"))), session_id=draw(st.sampled_from((None, "s1", "s2"))),
        channel=draw(st.sampled_from((None, "app", "web"))),
    )  # fmt: skip


logs = st.lists(event_rows(), min_size=1, max_size=25)

_types = st.lists(st.sampled_from(TYPES), min_size=1, max_size=2, unique=True)
_item_types = st.lists(st.sampled_from(TYPES[:4]), min_size=1, max_size=2, unique=True)
_wheres = st.fixed_dictionaries(
    {},
    optional={
        "category": st.sampled_from(("a", ["a/b", "c"], {"is_not": "a"}, {"missing": True}, {"none_of": ["a", "c"]})),
        "brand": st.sampled_from(("kin", {"missing": False})),
        "labels": st.just("new"),
        "price": st.sampled_from(({"at_least": 5}, {"below": 10, "above": 1})),
        "channel": st.sampled_from((["app", "web"], {"is_not": "app"})),
        "local_hour": st.sampled_from(({"at_least": 8, "at_most": 12}, {"one_of": [0, 3]})),
    },
)
_days = st.sampled_from((None, 1, 2.5, 7))


def _cleaned(values: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in values.items() if value is not None and value != {}}
    low, high = kept.get("at_least"), kept.get("at_most")
    return {k: v for k, v in kept.items() if k != "at_most"} if None not in (low, high) and low > high else kept


@st.composite
def _event_tests(draw: st.DrawFn) -> dict[str, Any]:
    found = {
        "events": draw(_types), "where": draw(_wheres), "within_days": draw(_days),
        "at_least": draw(st.sampled_from((None, 0, 1, 2, 3))), "at_most": draw(st.sampled_from((None, 0, 1, 2))),
    }  # fmt: skip
    measure = draw(st.sampled_from((None, None, "distinct", "sum_of", "share")))
    if measure == "distinct":
        found["distinct"] = draw(st.sampled_from(("item", "order", "session", "day", "category", "brand")))
    elif measure == "sum_of":
        found |= {"sum_of": draw(st.sampled_from(("amount", "units"))), "at_least": 5}
    elif measure == "share" and found["where"]:
        found["share_at_least"] = draw(st.sampled_from((0.25, 0.5, 1)))
    return _cleaned(found)


@st.composite
def _open_tests(draw: st.DrawFn) -> dict[str, Any]:
    return _cleaned(
        {
            "events": draw(_item_types), "not_followed_by": draw(_item_types), "where": draw(_wheres),
            "of_same": draw(st.sampled_from((None, "item", "session", "order"))),
            "for_hours": draw(st.sampled_from((0, 3, 24))), "within_days": draw(_days),
            "at_least": draw(st.sampled_from((None, 1, 2))),
        }
    )  # fmt: skip


@st.composite
def _order_tests(draw: st.DrawFn) -> dict[str, Any]:
    sizes = st.sampled_from(("any", {"amount": {"at_least": 10}}, {"units": {"above": 1}, "lines": {"at_most": 2}}))
    return _cleaned({"orders": draw(sizes), "within_days": draw(_days), "at_most": draw(st.sampled_from((None, 0, 1)))})


_column_tests = st.sampled_from(
    (
        {"column": "lifecycle", "is": "active"},
        {"column": "lifecycle", "none_of": ["active", "new"]},
        {"column": "monetary", "at_least": 10},
        {"column": "average_basket", "missing": True},
        {"column": "average_basket", "below": 12.5},
    )
)
PROFILES: Mapping[str, dict[str, Any]] = {
    "ann": {"lifecycle": "active", "monetary": 2500, "average_basket": 1250.0},
    "bob": {"lifecycle": "new", "monetary": 900, "average_basket": 900.0},
    "cem": {"lifecycle": None, "monetary": 0, "average_basket": None},
}
NATURES = {"lifecycle": "text", "monetary": "money", "average_basket": "money"}
_leaves = st.one_of(_event_tests(), _event_tests(), _open_tests(), _order_tests(), _column_tests)
conditions = st.recursive(
    _leaves,
    lambda parts: st.one_of(
        st.lists(parts, min_size=1, max_size=3).map(lambda found: {"all": found}),
        st.lists(parts, min_size=1, max_size=3).map(lambda found: {"any": found}),
        parts.map(lambda found: {"not": found}),
    ),
    max_leaves=4,
)


def customers_frame() -> pd.DataFrame:
    rows = [{"user_id": user, **profile} for user, profile in PROFILES.items()]
    return pd.DataFrame(rows).astype({"lifecycle": "str", "average_basket": "float64"})


__all__ = ["HOUR_US"]
