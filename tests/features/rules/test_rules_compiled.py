"""Conditions swept over tables, in DuckDB and pandas and live, equal the definition worked instant by instant."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import narwhals as nw
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.engine import connect
from features.rules.compile import BY_USER, BY_USER_AND_ITEM, Compiler
from features.rules.conditions import Condition
from features.rules.live import LiveCustomer
from features.rules.parse import RuleParser
from features.rules.place import Place
from features.rules.rows import rule_rows
from features.rules.spells import FOREVER
from features.settings import EngineSettings
from tests.features.rules import rule_worlds as worlds
from tests.features.rules.slow_rules import day_of, holding

Held = dict[Any, tuple[int, int | None]]
PARSER = RuleParser(columns=worlds.NATURES)
AS_OF = day_of(worlds.AS_OF_US)


def parsed(values: Mapping[str, Any]) -> Condition:
    return PARSER.condition(dict(values), Place(file="here"))


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(EngineSettings(memory_limit="500MB", threads=1), spill=tmp_path_factory.mktemp("spill")) as opened:
        yield opened


def compiled(events: Any, items: Any, customers: Any, by: Sequence[str]) -> Compiler:
    rows = rule_rows(events, items, as_of_us=worlds.AS_OF_US)
    return Compiler(
        rows=nw.from_native(rows), customers=nw.from_native(customers), as_of_us=worlds.AS_OF_US, as_of=AS_OF, by=by,
        natures=worlds.NATURES,
    )  # fmt: skip


def by_key(native: Any, by: Sequence[str]) -> Held:
    frame = native.df() if isinstance(native, duckdb.DuckDBPyRelation) else native
    keys = frame[list(by)].itertuples(index=False, name=None)
    spans = zip(frame["start_us"].astype(int), frame["end_us"].astype(int), strict=True)
    found = {key: (start, None if end == FOREVER else end) for key, (start, end) in zip(keys, spans, strict=True)}
    assert len(found) == len(frame)
    return found


def expected_of(condition: Condition, rows: Sequence[Mapping[str, Any]], *, by_item: bool) -> Held:
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in map(worlds.as_slow, rows):
        key = (row["user_id"], row["item_id"]) if by_item else (row["user_id"],)
        if not by_item or row["item_id"] is not None:
            groups.setdefault(key, []).append(row)
    held = {key: holding(condition, events, worlds.PROFILES[key[0]], worlds.AS_OF_US) for key, events in groups.items()}
    return {key: span for key, span in held.items() if span is not None}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=worlds.logs, values=worlds.conditions, by_item=st.booleans())
def test_condition_when_swept_in_pandas_then_as_defined(rows: list[Any], values: dict[str, Any], by_item: bool) -> None:
    condition, by = parsed(values), BY_USER_AND_ITEM if by_item else BY_USER
    events = worlds.log_table(rows).to_pandas(date_as_object=False)
    compiler = compiled(events, worlds.items_table().to_pandas(), worlds.customers_frame(), by)
    assert by_key(compiler.holding(condition).to_native(), by) == expected_of(condition, rows, by_item=by_item)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=worlds.logs, values=worlds.conditions, by_item=st.booleans())
def test_condition_when_swept_in_duckdb_then_as_defined(
    rows: list[Any], values: dict[str, Any], by_item: bool, connection: duckdb.DuckDBPyConnection
) -> None:
    condition, by = parsed(values), BY_USER_AND_ITEM if by_item else BY_USER
    compiler = compiled(
        connection.from_arrow(worlds.log_table(rows)),
        connection.from_arrow(worlds.items_table()),
        connection.from_df(worlds.customers_frame()),
        by,
    )
    assert by_key(compiler.holding(condition).to_native(), by) == expected_of(condition, rows, by_item=by_item)


@settings(max_examples=200, deadline=None)
@given(rows=worlds.logs, values=worlds.conditions, by_item=st.booleans())
def test_condition_when_asked_live_then_as_defined(rows: list[Any], values: dict[str, Any], by_item: bool) -> None:
    condition, found = parsed(values), {}
    for user, profile in worlds.PROFILES.items():
        events = [worlds.as_live(row) for row in rows if row["user_id"] == user]
        customer = LiveCustomer(
            events=events, profile=profile, as_of_us=worlds.AS_OF_US, as_of=AS_OF, natures=worlds.NATURES
        )
        spans = customer.by_item(condition) if by_item else {None: customer.holding(condition)}
        for item, span in spans.items():
            if span is not None:
                key = (user, item) if by_item else (user,)
                found[key] = (span[0], None if span[1] == FOREVER else span[1])
    assert found == expected_of(condition, rows, by_item=by_item)


def test_window_when_worked_by_hand_then_since_and_until_are_exact() -> None:
    """Views on days 1, 5, 9 and a window of 14 days: three of them from day 9 until day 15, when the first leaves."""
    start, day = worlds.START, dt.timedelta(days=1)
    rows = [worlds.event("ann", "view", start + n * day, "i0") for n in (0, 4, 8)]
    events = worlds.log_table(rows).to_pandas(date_as_object=False)
    as_of_us = worlds.START_US + 10 * 86_400_000_000
    compiler = Compiler(
        rows=nw.from_native(rule_rows(events, worlds.items_table().to_pandas(), as_of_us=as_of_us)),
        customers=None,
        as_of_us=as_of_us,
        as_of=day_of(as_of_us),
    )
    condition = parsed({"events": "view", "where": {"category": "a"}, "at_least": 3, "within_days": 14})
    (span,) = compiler.holding(condition).to_native().itertuples(index=False)
    assert (span.start_us - worlds.START_US) / 86_400_000_000 == 8
    assert (span.end_us - worlds.START_US) / 86_400_000_000 == 14
    evidence = compiler.evidence(condition).to_native()
    assert isinstance(evidence, pd.DataFrame)
    assert evidence.to_dict("records") == [
        {
            "user_id": "ann", "level": 3, "num_events": 3, "first_us": worlds.START_US,
            "last_us": span.start_us, "last_item_id": "i0",
        }
    ]  # fmt: skip
