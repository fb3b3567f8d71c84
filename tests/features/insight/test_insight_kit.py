"""Intervals, definitions from mappings, and frames of engines as pandas."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import pytest

from features.errors import ConfigError
from features.insight.collecting import collected
from features.insight.definitions import check_choice, check_event_types, check_whole, parsed
from features.insight.intervals import ratio, wilson
from features.tables.expressions import order_sql


def test_wilson_when_shares_are_published_then_as_published() -> None:
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
    low, high = wilson([81, 15, 0, 1], [263, 148, 20, 29])
    np.testing.assert_allclose(low, [0.2553, 0.0624, 0.0, 0.0061], atol=5e-5)
    np.testing.assert_allclose(high, [0.3662, 0.1605, 0.1611, 0.1718], atol=5e-5)


def test_wilson_when_nobody_was_there_then_missing() -> None:
    low, high = wilson([0, 3], [0, 3])
    assert np.isnan(low[0])
    assert np.isnan(high[0])
    assert high[1] == 1.0
    assert np.isnan(ratio([1], [0])).all()


@dataclass(frozen=True, kw_only=True)
class _Asked:
    of: tuple[str, ...]
    by: str = "week"
    days: int = 7

    def __post_init__(self) -> None:
        check_event_types("of", self.of)
        check_choice("by", self.by, ("day", "week"))
        check_whole("days", self.days, least=1, most=30)


def test_parsed_when_the_mapping_is_right_then_the_definition() -> None:
    assert parsed(_Asked, {"of": ["view", "cart"]}, where="asked") == _Asked(of=("view", "cart"))


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ([1], "asked: expected a mapping of of, by, days, found list"),
        ({}, "asked: expected of, found none"),
        ({"of": [], "day": 3}, r"asked: expected one of of, by, days, found 'day'\. Did you mean 'days'"),
        ({"of": ["purchse"]}, r"asked\.of: expected one of .*, found 'purchse'\. Did you mean 'purchase'"),
        ({"of": "view"}, r"asked\.of: expected a list of event types, found 'view'"),
        ({"of": [], "by": "weak"}, r"asked\.by: expected one of day, week, found 'weak'\. Did you mean 'week'"),
        ({"of": [], "days": 31}, r"asked\.days: expected a whole number from 1 to 30, found 31"),
    ],
)
def test_parsed_when_something_is_wrong_then_says_what_was_expected(mapping: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parsed(_Asked, mapping, where="asked")


def test_collected_when_a_relation_holds_days_then_datetimes() -> None:
    found = collected(duckdb.connect().sql("SELECT DATE '2024-02-29' AS local_day"))
    assert str(found["local_day"].iloc[0]) == "2024-02-29 00:00:00"


def test_order_when_an_id_is_missing_or_of_two_customers_then_days_and_customers_tell_orders_apart() -> None:
    rows = "('a', 'o', 1), ('a', 'o', 2), ('b', 'o', 1), ('a', NULL, 1), ('a', NULL, 1), ('a', NULL, 2), ('b', NULL, 2)"
    log = duckdb.connect().sql(
        f"SELECT user_id, order_id, DATE '2024-02-28' + day AS local_day FROM (VALUES {rows}) r(user_id, order_id, day)"
    )
    assert log.aggregate(f"count(DISTINCT {order_sql(across_customers=True)})").fetchall() == [(5,)]
    each = log.aggregate(f"user_id, count(DISTINCT {order_sql()})", "user_id").fetchall()
    assert sorted(each) == [("a", 3), ("b", 2)]
