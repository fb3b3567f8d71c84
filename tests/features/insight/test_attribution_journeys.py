"""From the log to journeys: by hand, against a slow reference, and on three engines."""

from __future__ import annotations

import datetime as dt
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ConfigError, DataError
from features.insight.attribution import (
    AttributionDefinition,
    JourneyCounts,
    journey_counts,
    journeys,
    touchpoints,
)
from tests.features.engines import assert_equal_tables, canonical
from tests.features.insight.attribution_reference import START, log_of, random_log, seen, slow_journeys

ALL = AttributionDefinition()
TEN_DAYS = AttributionDefinition(lookback_days=10)


def found_journeys(table: pd.DataFrame) -> list[tuple[Any, ...]]:
    parts = table.sort_values("position").groupby(["user_id", "journey", "stretch"])
    return sorted(
        (key[0], int(part["converted"].iloc[0]), tuple(part["touch"]), int(part["revenue"].iloc[0]))
        for key, part in parts
    )


def found(rows: list[dict[str, Any]], definition: AttributionDefinition = ALL) -> list[Any]:
    return found_journeys(journeys(log_of(rows).to_pandas(date_as_object=False), definition))


def test_journeys_when_worked_by_hand_then_as_the_module_says() -> None:
    rows = [
        seen("u", 0, "view", "paid_social", "s1"),
        seen("u", 40, "view", "paid_search", "s2"),
        seen("u", 40.01, "cart", "paid_search", "s2"),
        seen("u", 45, "view", "email", "s3"),
        seen("u", 45.01, "purchase", "email", "s3", order_id="o1", price=500, quantity=2),
        seen("u", 50, "purchase", None, "s4", order_id="o2", price=300),
        seen("u", 60, "view", "email", "s5"),
    ]
    assert found(rows) == [
        ("u", 0, ("email",), 0),
        ("u", 0, ("paid_social",), 0),
        ("u", 1, ("direct",), 300),
        ("u", 1, ("paid_search", "email"), 1000),
    ]


def test_touchpoints_when_a_session_changes_its_channel_then_each_counts_once_and_direct_not() -> None:
    rows = [
        seen("u", 1.0, "view", "direct", "s"),
        seen("u", 1.1, "view", "email", "s"),
        seen("u", 1.2, "view", "search", "s"),
        seen("u", 1.3, "view", "email", "s"),
        seen("v", 1.0, "login", None, "t"),
        seen("v", 1.1, "message_sent", "sms", None),
    ]
    table = touchpoints(log_of(rows).to_pandas(date_as_object=False))
    hours = {(row.user_id, row.touch): row.at_us for row in table.itertuples()}
    assert set(hours) == {("u", "email"), ("u", "search"), ("v", "direct")}
    start = int(START.timestamp() * 1e6)
    assert hours["u", "email"] == start + round(1.1 * 86_400_000_000)


def test_journeys_when_events_have_no_session_then_a_pause_parts_them() -> None:
    minutes = [0, 20, 51, 70]
    rows = [seen("u", 1 + m / 1440, "view", "email", None) for m in minutes]
    assert found(rows) == [("u", 0, ("email", "email"), 0)]
    assert found(rows, AttributionDefinition(gap_minutes=60)) == [("u", 0, ("email",), 0)]


def test_journeys_when_a_second_order_follows_in_a_session_then_its_touch_is_the_sessions() -> None:
    rows = [
        seen("u", 1, "view", "email", "s"),
        seen("u", 1.01, "purchase", "email", "s", order_id="a", price=1),
        seen("u", 1.02, "purchase", "email", "s", order_id="b", price=2),
    ]
    assert found(rows) == [("u", 1, ("email",), 1), ("u", 1, ("email",), 2)]


def test_journeys_when_a_conversion_is_another_event_then_each_is_one_without_revenue() -> None:
    rows = [
        seen("u", 1, "view", "email", "s"),
        seen("u", 1.01, "cart", "email", "s", price=100),
        seen("u", 3, "cart", "search", "t", price=100),
    ]
    definition = AttributionDefinition(conversion="cart")
    assert found(rows, definition) == [("u", 1, ("email",), 0), ("u", 1, ("search",), 0)]


def test_journeys_when_days_are_named_then_conversions_of_these_look_back_before_them() -> None:
    rows = [
        seen("u", 1, "view", "email", "s1"),
        seen("u", 5, "purchase", "search", "s2", price=1),
        seen("v", 2, "view", "email", "s3"),
    ]
    days = (dt.date(2026, 3, 6), dt.date(2026, 3, 7))
    table = journeys(log_of(rows).to_pandas(date_as_object=False), days=days)
    assert found_journeys(table) == [("u", 1, ("email", "search"), 1)]


@settings(max_examples=8, deadline=None)  # each of 60 customers is an example of its own
@given(seed=st.integers(0, 10_000))
def test_journeys_when_the_log_is_random_then_equal_to_the_slow_reference(seed: int) -> None:
    rows = random_log(seed, num_rows=600, num_users=60)
    assert found(rows, TEN_DAYS) == slow_journeys(log_of(rows), TEN_DAYS)


@pytest.mark.xdist_group("spark")
def test_journey_counts_when_run_by_each_engine_then_equal(connection: duckdb.DuckDBPyConnection, spark: Any) -> None:
    events = log_of(random_log(3, num_rows=400))
    keys = ["kind", "user_group", "name", "converted"]
    frames = [events.to_pandas(date_as_object=False), connection.from_arrow(events), spark.createDataFrame(events)]
    expected, *others = [canonical(journey_counts(frame, TEN_DAYS), keys) for frame in frames]
    assert len(expected) > 20
    for other in others:
        assert_equal_tables(other.astype(expected.dtypes.to_dict()), expected)


def test_counts_when_read_then_paths_and_time_decay_are_those_of_the_journeys() -> None:
    events = log_of(random_log(5, num_rows=200)).to_pandas(date_as_object=False)
    counts, table = JourneyCounts.of_events(events, TEN_DAYS), journeys(events, TEN_DAYS)
    parts = table.sort_values("position").groupby(["user_id", "journey", "stretch"])
    paths = parts.agg(path=("touch", " > ".join), converted=("converted", "first"), revenue=("revenue", "first"))
    top = counts.paths(top=10_000).set_index("path")
    won = paths.groupby("path")["converted"].sum()
    assert top["num_conversions"].to_dict() == won.to_dict()
    assert top["num_journeys"].to_dict() == paths.groupby("path").size().to_dict()
    assert counts.total.tolist() == [paths["converted"].sum(), paths["revenue"].sum()]
    decay = table.groupby("touch")["time_decay"].sum()
    assert counts.decayed.sum(axis=0)[:, 0] == pytest.approx(decay.reindex(counts.touches).to_numpy())


def test_time_decay_when_worked_by_hand_then_halves_each_week() -> None:
    rows = [
        seen("u", 1, "view", "email", "s1"),
        seen("u", 8, "view", "search", "s2"),
        seen("u", 15, "purchase", "social", "s3", price=70),
    ]
    table = journeys(log_of(rows).to_pandas(date_as_object=False)).set_index("touch")
    assert table["time_decay"].to_dict() == pytest.approx({"email": 1 / 7, "search": 2 / 7, "social": 4 / 7})


def test_counts_when_there_is_nothing_then_says_so() -> None:
    rows = log_of([seen("u", 1, "message_sent", "email", None)])
    with pytest.raises(DataError, match="expected one touch or conversion in these rows, found none"):
        JourneyCounts.of_events(rows.to_pandas(date_as_object=False))


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"touch": "chanel"}, r"attribution.main.touch: expected one of .*, found 'chanel'. Did you mean 'channel'\?"),
        ({"lookback": 3}, r"attribution.main: expected one of .*, found 'lookback'. Did you mean 'lookback_days'\?"),
        ({"models": ["lats"]}, r"models: expected one of .*, found 'lats'. Did you mean 'last'\?"),
        ({"models": []}, "models: expected some of"),
        ({"lookback_days": 0}, "lookback_days: expected a whole number from 1 to 365, found 0"),
        ({"conversion": "buy"}, "conversion: expected one of"),
        ({"touch_events": []}, "touch_events: expected one event type or more, found none"),
        ({"direct": ["{x}"]}, "direct: expected names without braces"),
    ],
)
def test_definition_when_a_value_is_wrong_then_says_what_was_expected(mapping: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AttributionDefinition.parse(mapping, where="attribution.main")


def test_definition_when_read_from_yaml_then_lists_become_tuples() -> None:
    definition = AttributionDefinition.parse({"models": ["last", "markov"], "markov_order": 2}, where="attribution")
    assert definition == AttributionDefinition(models=("last", "markov"), markov_order=2)
