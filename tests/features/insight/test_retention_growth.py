"""Growth accounting, stickiness and days active: by hand and against a slow reference."""

from __future__ import annotations

import datetime as dt
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ConfigError
from features.insight.retention import active_days, growth, stickiness
from tests.features.insight.insight_events import day, in_pandas, log

STATES = ["active", "new", "returning", "resurrected", "dormant", "silent"]


def test_growth_when_worked_out_by_hand_then_the_parts_of_the_docstring() -> None:
    rows = [*[("ann", "view", number) for number in (0, 8, 21)], *[("bob", "view", number) for number in (9, 15, 27)]]
    table = growth(in_pandas(log([*rows, ("cho", "message_sent", 3)])), period="week", last_day=day(27))
    assert table[STATES].to_numpy().tolist() == [
        [1, 1, 0, 0, 0, 0],
        [2, 1, 1, 0, 0, 0],
        [1, 0, 1, 0, 1, 1],
        [2, 0, 1, 1, 0, 0],
    ]
    assert table["change"].tolist() == [1, 1, -1, 1]
    assert table["quick_ratio"].tolist()[2] == 0
    assert np.isnan(table["quick_ratio"].tolist()[3])
    assert table["complete"].tolist() == [True, True, True, False]


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from("abcd"), st.just("view"), st.integers(0, 100)), min_size=1, max_size=25),
    period=st.sampled_from(["day", "week", "month"]),
)
def test_growth_when_compared_with_a_slow_reference_then_equal_and_the_parts_sum(
    rows: Any, period: Any, connection: duckdb.DuckDBPyConnection
) -> None:
    table = growth(connection.from_arrow(log(rows)), period=period, last_day=day(100))
    number = {"day": dt.date.toordinal, "week": lambda at: at.toordinal() - at.weekday(), "month": lambda at: at.month}
    came = [
        {user for user, _, n in rows if number[period](day(n)) == number[period](at.date())} for at in table["period"]
    ]
    for place, row in enumerate(table.itertuples()):
        now, before = came[place], came[place - 1] if place else set()
        ever = set().union(*came[:place])
        assert (row.new, row.returning) == (len(now - ever), len(now & before))
        assert (row.resurrected, row.dormant) == (len((now & ever) - before), len(before - now))
        assert row.silent == len(ever - now)
    assert (table["active"] == table["new"] + table["returning"] + table["resurrected"]).all()
    before = table["active"].shift(fill_value=0)
    assert (before == table["returning"] + table["dormant"]).all()
    assert (table["change"] == table["new"] + table["resurrected"] - table["dormant"]).all()
    assert (table["active"] + table["silent"] == table["new"].cumsum()).all()


@settings(max_examples=20, deadline=None)
@given(rows=st.lists(st.tuples(st.sampled_from("abcd"), st.just("view"), st.integers(0, 80)), min_size=1, max_size=25))
def test_stickiness_when_compared_with_a_slow_reference_then_equal(
    rows: Any, connection: duckdb.DuckDBPyConnection
) -> None:
    table = stickiness(connection.from_arrow(log(rows)), last_day=day(80))
    assert len(table) == 81 - min(n for _, _, n in rows)
    for row in table.itertuples():
        ago = [(user, (row.day.date() - day(n)).days) for user, _, n in rows]
        daily, weekly, monthly = [len({user for user, age in ago if 0 <= age < span}) for span in (1, 7, 30)]
        assert (row.dau, row.wau, row.mau) == (daily, weekly, monthly)
        assert row.dau_mau == daily / monthly if monthly else np.isnan(row.dau_mau)


def test_stickiness_when_the_log_is_young_then_its_windows_are_marked() -> None:
    table = stickiness(in_pandas(log([("ann", "view", 0)])), last_day=day(30))
    assert table["whole_week"].to_numpy().argmax() == 6
    assert table["whole_month"].to_numpy().argmax() == 29
    assert table["complete"].tolist() == [True] * 30 + [False]


def test_active_days_when_worked_out_by_hand_then_customers_by_number_of_days() -> None:
    rows = [("ann", "view", 0), ("ann", "cart", 0), ("ann", "view", 6), ("bob", "view", 3), ("bob", "view", 7)]
    table = active_days(in_pandas(log([*rows, ("cho", "view", 5)])), period="week", last_day=day(7))
    assert table[["days", "customers"]].to_numpy().tolist() == [[1, 2], [2, 1], [1, 1]]
    assert table["share"].tolist() == [2 / 3, 1 / 3, 1.0]
    assert table["complete"].tolist() == [True, True, False]


def test_growth_when_the_period_is_unknown_then_says_which_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"period: expected one of day, week, month, found 'weekly'\. Did you mean 'week'"
    ):
        growth(in_pandas(log([("ann", "view", 0)])), period="weekly", last_day=day(1))  # type: ignore[arg-type]
