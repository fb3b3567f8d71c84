"""Retention worked out by hand, and against a slow reference."""

from __future__ import annotations

import datetime as dt
import itertools
import random
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ConfigError
from features.insight.retention import RetentionDefinition, retention, retention_curve
from tests.features.insight.insight_events import FIRST, day, in_pandas, log

# Weeks begin on days 0, 7, 14, 21.
EVENTS = in_pandas(
    log(
        [
            *[("ann", "view", number) for number in (0, 8, 15)],
            *[("bob", "view", number) for number in (2, 4, 17)],
            *[("cho", "view", number) for number in (7, 21)],
            ("dan", "purchase", 0),
            ("dan", "view", 1),
        ],
        channel=["email", "ads", "ads", "ads", "email", "email", None, "ads", "ads", "ads"],
    )
)
VIEWS = {"start": ("view",), "returns": ("view",)}


def _cells(table: pd.DataFrame, *names: str) -> list[tuple[Any, ...]]:
    return list(
        table[["cohort", "period", *names]].assign(cohort=table["cohort"].dt.date).itertuples(index=False, name=None)
    )


@pytest.mark.parametrize(
    ("mode", "first_cohort"),
    [
        ("bracket", [1, 2, 0]),  # ann in week 1; ann and bob in week 2
        ("unbounded", [2, 2, 0]),  # bob's week 2 is after week 1
        ("rolling", [1, 1, 0]),  # only ann came in both
    ],
)
def test_retention_when_counted_by_week_then_as_worked_out(mode: str, first_cohort: list[int]) -> None:
    table = retention(EVENTS, RetentionDefinition(mode=mode, **VIEWS), last_day=day(28))
    # dan's purchase is no view: his first was on day 1, so the first cohort holds three.
    week0, week1 = FIRST, day(7)
    assert _cells(table, "customers", "returned") == [
        *[(week0, period, 3, number) for period, number in enumerate([*first_cohort, 0], start=1)],
        (week1, 1, 1, 1 if mode == "unbounded" else 0),
        (week1, 2, 1, 0 if mode == "rolling" else 1),
        (week1, 3, 1, 0),
    ]
    over = [True, True, True, False, True, True, False]  # day 28 begins the fifth week
    assert table["complete"].tolist() == (
        [False] * 7 if mode == "unbounded" else over
    )  # without an end, it may still rise
    assert table["rate"].tolist()[:2] == [first_cohort[0] / 3, first_cohort[1] / 3]


def test_retention_when_the_last_day_is_a_sunday_then_its_week_has_not_ended() -> None:
    table = retention(EVENTS, RetentionDefinition(**VIEWS), last_day=day(20))
    week2 = table[(table["cohort"] == pd.Timestamp(FIRST)) & (table["period"] == 2)].iloc[0]
    assert (week2["observed"], week2["so_far"], week2["complete"]) == (0, 2, False)
    assert pd.isna(week2["rate"])
    assert pd.isna(week2["high"])


def test_retention_when_brackets_count_from_the_own_first_day_then_as_worked_out() -> None:
    definition = RetentionDefinition(brackets=(1, 3, 7, 14, 30), cohorts="all", **VIEWS)
    table = retention(EVENTS, definition, last_day=day(22))
    # ann +8, +15; bob +2, +15; cho +14; dan nothing. Days 1-2, 3-6, 7-13, 14-29.
    assert table["so_far"].tolist() == [1, 0, 1, 3]
    # 14-29 ends for ann on day 30, for all others later: nobody is observed. cho's 7-13 ended on day 21.
    assert table["observed"].tolist() == [4, 4, 4, 0]
    assert table["returned"].tolist() == [1, 0, 1, 0]
    assert table[["from_day", "to_day"]].to_numpy().tolist() == [[1, 2], [3, 6], [7, 13], [14, 29]]
    earlier = retention(EVENTS, definition, last_day=day(20))  # cho's day 13 is the last: hers has not ended
    assert earlier["observed"].tolist() == [4, 4, 3, 0]
    unbounded = retention(
        EVENTS, RetentionDefinition(brackets=(1, 3, 7, 15), mode="unbounded", cohorts="all", **VIEWS), last_day=day(21)
    )
    # By day 14: ann +8, bob +2, cho +14; cho's day 14 is the last of the log and so not over.
    assert unbounded["so_far"].tolist() == [3, 2, 2]
    assert unbounded["returned"].tolist() == [2, 1, 1]
    assert unbounded["observed"].tolist() == [3, 3, 3]


def test_retention_when_unbounded_is_followed_for_some_periods_then_old_cohorts_look_no_better() -> None:
    """Each customer comes back in each week with the same chance; twelve cohorts of thirty, the log twelve weeks."""
    draw = random.Random(5)
    rows = [
        (f"u{first}-{number}", "view", 7 * week)
        for first in range(12)
        for number in range(30)
        for week in range(first, 12)
        if week == first or draw.random() < 0.1
    ]
    events = in_pandas(log(rows))
    followed = retention(events, RetentionDefinition(mode="unbounded", num_periods=4), last_day=day(83), is_over=True)
    complete = followed[followed["complete"] & (followed["period"] == 1)]
    assert complete["cohort"].dt.date.tolist() == [
        day(7 * week) for week in range(8)
    ]  # the others had less than 4 weeks
    expected = [sum(any((f"u{first}-{n}", "view", 7 * week) in rows for week in range(first + 1, first + 5))
                    for n in range(30)) for first in range(8)]  # fmt: skip
    assert complete["returned"].tolist() == expected
    endless = retention(events, RetentionDefinition(mode="unbounded"), last_day=day(83), is_over=True)
    assert endless["returned"].iloc[0] > expected[0]  # twelve weeks of the oldest
    assert not endless["complete"].any()


def test_retention_when_the_log_goes_on_then_the_last_day_is_over() -> None:
    for is_over, observed in ((False, 0), (True, 3)):
        table = retention(EVENTS, RetentionDefinition(**VIEWS), last_day=day(20), is_over=is_over)
        assert table.loc[table["period"] == 2, "observed"].tolist() == [observed]
        assert table["period"].max() == 2  # and no period is begun that is none of the days looked at


def test_retention_when_split_by_first_channel_then_the_first_event_decides() -> None:
    table = retention(EVENTS, RetentionDefinition(by="channel", cohorts="all", **VIEWS), last_day=day(28))
    sizes = table.groupby("value")["customers"].first()
    assert sizes.to_dict() == {"": 1, "ads": 2, "email": 1}  # cho without one; bob and dan; ann


def test_retention_when_returns_are_other_events_then_only_later_periods_count() -> None:
    definition = RetentionDefinition(start=("purchase",), returns=("view",))
    table = retention(EVENTS, definition, last_day=day(14))
    assert _cells(table, "customers", "so_far") == [(FIRST, 1, 1, 0), (FIRST, 2, 1, 0)]


def test_retention_when_cohorts_begin_later_then_earlier_customers_are_left_out() -> None:
    table = retention(EVENTS, RetentionDefinition(since=day(2), **VIEWS), last_day=day(28))
    assert table.groupby("cohort")["customers"].first().tolist() == [1, 1]  # bob, cho


def test_retention_curve_when_cohorts_are_taken_together_then_only_whole_observations_enter() -> None:
    curve = retention_curve(retention(EVENTS, RetentionDefinition(**VIEWS), last_day=day(21)))
    assert curve["observed"].tolist() == [4, 3, 0]
    assert curve["returned"].tolist() == [1, 2, 0]


def test_retention_when_nobody_started_then_empty() -> None:
    assert retention(EVENTS, RetentionDefinition(start=("refund",)), last_day=day(3)).empty


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"mode": "bracketed"}, "boards.weekly.mode: expected one of .* Did you mean 'bracket'"),
        ({"start": ["viewed"]}, "boards.weekly.start: .* Did you mean 'view'"),
        ({"start": []}, "boards.weekly.start: expected at least one"),
        ({"brackets": [1, 7, 3]}, "boards.weekly.brackets: expected two or more rising days"),
        ({"brackets": [0, 7]}, "boards.weekly.brackets: expected a whole number of 1 or more, found 0"),
        ({"by": "chanel"}, "boards.weekly.by: .* Did you mean 'channel'"),
        ({"by": "user_id"}, "boards.weekly.by: expected one of event_type, channel, .*, found 'user_id'"),
        ({"by": "order_id"}, "boards.weekly.by: expected one of event_type, channel, .*, found 'order_id'"),
        ({"period": "week", "cohorts": "month"}, "boards.weekly.cohorts: expected week or all with periods of a week"),
        ({"since": "2024"}, "boards.weekly.since: expected a day such as 2024-05-01, found '2024'"),
    ],
)
def test_definition_when_something_is_wrong_then_says_what_was_expected(mapping: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RetentionDefinition.parse(mapping, where="boards.weekly")


def test_retention_when_the_last_day_is_an_instant_then_refused() -> None:
    with pytest.raises(ConfigError, match="last_day: expected a day"):
        retention(EVENTS, RetentionDefinition(), last_day=dt.datetime(2024, 1, 1, tzinfo=dt.UTC))


def _spans(start: dt.date, clock: Any) -> list[tuple[dt.date, dt.date]]:
    """First day of each period after the start, and the first day after it."""
    if isinstance(clock, tuple):
        edges = [start + dt.timedelta(days=number) for number in clock]
    else:
        calendar = [start + dt.timedelta(days=number) for number in range(250)]
        begins = {"day": lambda at: True, "week": lambda at: at.weekday() == 0, "month": lambda at: at.day == 1}[clock]
        edges = [at for at in calendar[1:] if begins(at)]
    return list(itertools.pairwise(edges))


def _slow(rows: list[tuple[str, str, int]], mode: str, clock: Any, most: int, last: dt.date) -> dict[Any, Any]:
    """Customer by customer and period by period, from the definitions alone."""
    found: dict[Any, tuple[int, int, int]] = {}
    for user in {user for user, kind, _ in rows if kind == "view"}:
        start = min(day(n) for u, kind, n in rows if u == user and kind == "view")
        bought = [day(n) for u, kind, n in rows if u == user and kind == "purchase"]
        came_in_all = True
        spans = _spans(start, clock)
        # Where "or later" ends, everyone is followed to that day: the end of the last bracket, or of the last period.
        until = spans[min(most or 999, len(spans)) - 1][1] if most or isinstance(clock, tuple) else None
        for k, (begin, end) in enumerate(spans[: most or None], start=1):
            if begin > last:
                break
            came = any(begin <= at < end for at in bought)
            came_in_all &= came
            later = any(at >= begin and (until is None or at < until) for at in bought)
            back = {"bracket": came, "unbounded": later, "rolling": came_in_all}[mode]
            cell = found.get((_cohort(start, clock), k), (0, 0, 0))
            ended = (until or end) <= last if mode == "unbounded" else end <= last
            found[_cohort(start, clock), k] = (cell[0] + ended, cell[1] + (ended and back), cell[2] + back)
    return found


def _cohort(start: dt.date, clock: Any) -> dt.date:
    if clock == "month":
        return start.replace(day=1)
    return start if clock == "day" else start - dt.timedelta(days=start.weekday())


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["view", "purchase"]), st.integers(0, 70)),
        min_size=1,
        max_size=25,
    ),
    mode=st.sampled_from(["bracket", "unbounded", "rolling"]),
    clock=st.sampled_from(["day", "week", "month", (1, 3, 7, 14), (2, 5)]),
    most=st.sampled_from([0, 0, 1, 2]),
)
def test_retention_when_compared_with_a_slow_reference_then_equal(
    rows: Any, mode: Any, clock: Any, most: int, connection: duckdb.DuckDBPyConnection
) -> None:
    kind = {"brackets": clock} if isinstance(clock, tuple) else {"period": clock}
    definition = RetentionDefinition(start=("view",), returns=("purchase",), mode=mode, num_periods=most, **kind)
    table = retention(connection.from_arrow(log(rows)), definition, last_day=day(70))
    cells = {(row.cohort.date(), row.period): (row.observed, row.returned, row.so_far) for row in table.itertuples()}
    assert cells == _slow(rows, mode, clock, most, day(70))
