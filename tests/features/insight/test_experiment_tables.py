"""Assignments and outcomes: worked by hand, equal on three engines, and clear about what cannot be."""

from __future__ import annotations

import datetime as dt
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.errors import ConfigError, DataError
from features.insight.collecting import collected
from features.insight.experiments.analysis import analyse_experiment
from features.insight.experiments.assignments import (
    experiments_in,
    from_exposures,
    from_holdout,
    from_tags,
    one_arm_each,
)
from features.insight.experiments.definition import ExperimentDefinition
from features.insight.experiments.outcomes import outcomes
from features.insight.experiments.participants import Participants
from features.insight.experiments.traffic import traffic
from tests.features.engines import assert_equal_tables, canonical

DAY = dt.timedelta(days=1)
START = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)
START_US = int(START.timestamp()) * 1_000_000

EXPOSURES = [  # user, days after START, experiments, variants
    ("ann", 0, "home+draw", "strict+explore"),
    ("ann", 1, "home", "strict"),
    ("bob", 0, "home", "control"),
    ("cid", 2, "draw+home", "plain+control"),
    ("dee", 1, "home", "control"),
    ("dee", 0, "home", "strict"),  # in both arms
    ("eve", 0, "homes", "strict"),  # another experiment
    ("fay", 0, "holdout", "holdout"),
]
EVENTS = [  # user, days after START, type, order, quantity, price, slot
    ("ann", -3, "purchase", "o1", 1, 500, None),
    ("ann", 0, "purchase", "o2", 2, 300, None),  # at the instant of assignment: counts
    ("ann", 1, "purchase", "o2", 1, 100, None),
    ("ann", 1, "view", None, None, None, "home_1"),
    ("ann", 1, "view", None, None, None, "home_2"),
    ("ann", 7, "purchase", "o3", 1, 900, None),  # at the end of the window: does not
    ("bob", 3, "purchase", None, 1, 40, None),
    ("bob", 3, "purchase", None, None, 60, None),  # without ids: one order of that day, one unit
    ("cid", 1, "view", None, None, None, "home_1"),  # before cid was assigned: past
    ("zoe", 1, "purchase", "o9", 1, 100, None),  # not in the test
    ("cid", 30, "view", None, None, None, "home_1"),
]
DEFINITION = ExperimentDefinition.parse(
    "home",
    {
        "window_days": 7,
        "covariate_days": 5,
        "metrics": {
            "conversion": {"count": "users"},
            "revenue": {"count": "revenue"},
            "units_per_order": {"count": "units", "per": {"count": "orders"}},
            "clicks": {"count": "events", "of": "view", "where": {"slot": "home_1"}, "covariate_days": 0},
            "days": {"count": "days", "of": ["view", "purchase"], "covariate_days": 0},
        },
        "exposure": {"count": "events", "of": "view"},
    },
    where="experiments.home",
)
EXPECTED = pd.DataFrame(
    [
        # user, arm, days, arms, past, conversion ±, revenue ±, units, orders, units before, orders before, clicks, days, exposed
        ("ann", "strict", 0, 1, 1, 1, 1, 700, 500, 3, 1, 1, 1, 1, 2, 1),
        ("bob", "control", 0, 1, 0, 1, 0, 100, 0, 2, 1, 0, 0, 0, 1, 0),
        ("cid", "control", 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1),
        ("dee", "control", 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    ],
    columns=[
        *("user_id", "arm", "assigned_us", "num_arms", "has_past", "conversion", "conversion__before", "revenue"),
        *("revenue__before", "units_per_order", "units_per_order__per", "units_per_order__before"),
        *("units_per_order__per_before", "clicks", "days", "exposed"),
    ],
)


def _exposures() -> pd.DataFrame:
    frame = pd.DataFrame(EXPOSURES, columns=["user_id", "ts", "campaign_id", "variant"])
    frame["ts"] = pd.to_datetime([START + day * DAY for day in frame["ts"]]).astype("datetime64[us, UTC]")
    return frame


def _events() -> pd.DataFrame:
    names = ["user_id", "ts", "event_type", "order_id", "quantity", "price", "slot"]
    frame = pd.DataFrame(EVENTS, columns=names)
    frame["ts"] = pd.to_datetime([START + day * DAY for day in frame["ts"]]).astype("datetime64[us, UTC]")
    frame["local_day"] = frame["ts"].dt.tz_localize(None).dt.floor("D")
    frame["event_id"] = [f"e{number}" for number in range(len(frame))]
    return frame.astype({"quantity": "Int64", "price": "Int64", "order_id": object, "slot": object})


@pytest.fixture(params=["pandas", "duckdb", pytest.param("spark", marks=pytest.mark.xdist_group("spark"))])
def frames(request: pytest.FixtureRequest) -> dict[str, Any]:
    tables = {"events": _events(), "exposures": _exposures()}
    if request.param == "pandas":
        return tables
    import pyarrow as pa  # noqa: PLC0415 (of the other engines alone)

    arrow = {
        name: pa.Table.from_pandas(
            frame.assign(local_day=frame["local_day"].dt.date) if name == "events" else frame, preserve_index=False
        )
        for name, frame in tables.items()
    }
    if request.param == "duckdb":
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        return {name: connection.from_arrow(table) for name, table in arrow.items()}
    spark = request.getfixturevalue("spark")
    return {name: spark.createDataFrame(table) for name, table in arrow.items()}


def test_outcomes_of_exposures_are_those_worked_by_hand_on_every_engine(frames: dict[str, Any]) -> None:
    assigned = from_exposures(frames["exposures"], experiment="home")
    found = canonical(outcomes(frames["events"], assigned, DEFINITION), ["user_id"])
    expected = EXPECTED.assign(assigned_us=START_US + EXPECTED["assigned_us"] * 86_400_000_000)
    read_until = START_US + 30 * 86_400_000_000 + 1
    assert found.pop("until_us").tolist() == [read_until] * 4
    assert_equal_tables(found[list(expected)], expected)
    days = canonical(traffic(frames["events"]), ["local_day"])
    assert days["num_users"].sum() == 8
    assert days["num_newcomers"].tolist() == [1, 0, 2, 1, 0, 0]


def test_outcomes_read_nothing_from_an_instant_on() -> None:
    assigned = from_exposures(_exposures(), experiment="home")
    until_us = START_US + 86_400_000_000  # ann's second day and all of bob's are not read
    found = outcomes(_events(), assigned, DEFINITION, until_us=until_us).set_index("user_id")
    assert found["revenue"].to_dict() == {"ann": 600, "bob": 0, "cid": 0, "dee": 0}
    assert set(found["until_us"]) == {until_us}


def test_holdout_stands_against_all_who_are_in_a_test() -> None:
    found = one_arm_each(from_holdout(_exposures())).set_index("user_id")["arm"]
    assert found.to_dict() == {
        "ann": "in_test", "bob": "in_test", "cid": "in_test", "dee": "in_test", "eve": "in_test", "fay": "holdout"
    }  # fmt: skip


def test_experiments_are_named_one_by_one() -> None:
    assert experiments_in(_exposures()) == ["draw", "holdout", "home", "homes"]


def test_tags_say_the_arm_of_who_has_one() -> None:
    users = pd.DataFrame({"user_id": ["a", "b", "c"], "tag_c001": ["treatment", None, "holdout"]})
    found = from_tags(users, column="tag_c001", assigned_at=START)
    assert found.to_numpy().tolist() == [["a", "treatment", START_US], ["c", "holdout", START_US]]
    with pytest.raises(ConfigError, match=r"'tag_c01', found tag_c001\. Did you mean 'tag_c001'\?"):
        from_tags(users, column="tag_c01", assigned_at=START)
    with pytest.raises(ConfigError, match="an instant with its zone"):
        from_tags(users, column="tag_c001", assigned_at=START.replace(tzinfo=None))


def test_a_frame_of_ones_own_needs_its_columns() -> None:
    frame = pd.DataFrame({"user_id": ["a"], "arm": ["x"], "assigned_at": [pd.Timestamp(START)]})
    assert one_arm_each(frame)["assigned_us"].tolist() == [START_US]
    with pytest.raises(DataError, match="expected a column 'assigned_at', found user_id, arm"):
        one_arm_each(frame[["user_id", "arm"]])


def _participants(arms: dict[str, str], definition: ExperimentDefinition = DEFINITION) -> Participants:
    assigned = pd.DataFrame({"user_id": list(arms), "arm": list(arms.values()), "assigned_us": START_US})
    return Participants.of(outcomes(_events(), assigned, definition), definition)


def _defined(**values: Any) -> ExperimentDefinition:
    metrics = values.pop("metrics", {"conversion": {"count": "users"}})
    return ExperimentDefinition.parse("home", {"metrics": metrics, **values}, where="experiments.home")


def test_users_of_both_arms_are_left_out_and_counted_and_alarm() -> None:
    definition = _defined()
    found = analyse_experiment(_events(), from_exposures(_exposures(), experiment="home"), definition)
    assert found.participants.frame["user_id"].tolist() == ["ann", "bob", "cid"]
    assert found.participants.num_crossed == 1
    assert found.balance.share_crossed == 0.25
    assert [alarm.name for alarm in found.alarms] == ["crossed"]
    assert found.participants.arms == ("control", "strict")


@pytest.mark.parametrize(
    ("arms", "values", "error", "said"),
    [
        ({"ann": "control", "bob": "control"}, {}, DataError, r"two arms or more, found 'control' \(2 users\)"),
        ({"ann": "a", "bob": "b"}, {}, ConfigError, "control to be one of a, b, found none"),
        ({"ann": "old", "bob": "new"}, {"control": "od"}, ConfigError, r"found od; .* Did you mean 'old'\?"),
        ({"ann": "control", "bob": "strict"}, {"weights": {"control": 1, "stric": 1}}, DataError,
         r"the arm 'stric' of weights, .* Did you mean 'strict'\?"),
        ({"ann": "control", "bob": "strict", "cid": "c"}, {"weights": {"control": 1, "strict": 1}}, DataError, "found 'c' too"),
        ({"ann": "control", "bob": "strict"}, {"metrics": {"x": {"count": "events", "of": "refund"}}}, DataError,
         r"expected an outcome \(refund\) of at least one user"),
        ({"ann": "control", "bob": "strict"}, {"window_days": 400}, DataError, "window of 400 days or more has ended"),
        ({}, {}, DataError, "expected users who were assigned to an arm, found none"),
    ],
)  # fmt: skip
def test_a_test_of_which_nothing_can_be_said_is_refused(
    arms: dict[str, str], values: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        _participants(arms, _defined(**values))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"window_days": -1}, "window_days: expected a number above 0, found -1"),
        ({"metrics": {"x": {"count": "user"}}}, r"metrics\.x\.count: .* Did you mean 'users'\?"),
        ({"metrics": {"x": {"count": "users", "of": "purchse"}}}, r"Did you mean 'purchase'\?"),
        ({"metrics": {"x": {"count": "users", "where": {"slto": "a"}}}}, r"found 'slto'\. Did you mean 'slot'\?"),
        ({"metrics": {"x": {"count": "users", "winsorise": 99}}}, "quantile between 0.5 and 1"),
        ({"metrics": {"X y": {"count": "users"}}}, "lower-case letters"),
        ({"metric": {}}, r"found 'metric'\. Did you mean 'metrics'\?"),
        ({"looks": {"number": 20}}, "expected a key 'users'"),
        ({"looks": {"number": 20, "users": 10}}, "users of at least 80 for 20 looks"),
        ({"weights": {"control": 0}}, "above 0, found 0"),
    ],
)
def test_a_definition_that_does_not_fit_is_refused_with_its_place(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ExperimentDefinition.parse("home", values, where="experiments.home")


def test_segments_need_one_row_a_user() -> None:
    twice = pd.DataFrame({"user_id": ["ann", "ann"], "kind": ["a", "b"]})
    with pytest.raises(DataError, match="one row of segments a user, found several of 'ann'"):
        analyse_experiment(_events(), from_exposures(_exposures(), experiment="home"), _defined(), segments=twice)


SMALL = _defined(
    window_days=3,
    covariate_days=2,
    metrics={"buys": {"count": "users"}, "paid": {"count": "revenue"}, "orders": {"count": "orders"}},
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(-100, 100), st.sampled_from(["purchase", "view"]),
                  st.sampled_from(["o1", "o2", None]), st.integers(1, 3)),
        min_size=1, max_size=25,
    ),
    dealt=st.dictionaries(st.sampled_from("abd"), st.integers(-30, 30), min_size=1),
)  # fmt: skip
def test_outcomes_are_those_of_a_slow_reading_user_by_user(
    connection: duckdb.DuckDBPyConnection, rows: list[tuple[str, int, str, str | None, int]], dealt: dict[str, int]
) -> None:
    hour = 3_600_000_000
    events = pd.DataFrame(rows, columns=["user_id", "hours", "event_type", "order_id", "quantity"])
    events["ts"] = pd.to_datetime(START_US + events["hours"] * hour, unit="us", utc=True).astype("datetime64[us, UTC]")
    events["local_day"] = events["ts"].dt.tz_localize(None).dt.floor("D").astype("datetime64[us]")
    events = events.assign(price=10).astype({"order_id": object})
    units = pd.DataFrame(
        {"user_id": list(dealt), "arm": "x", "assigned_us": [START_US + at * hour for at in dealt.values()]}
    )
    native = outcomes(connection.from_df(events), connection.from_df(units), SMALL)
    found = collected(native).set_index("user_id")
    for user, at in dealt.items():
        own = events[events["user_id"] == user]
        bought = own[own["event_type"] == "purchase"]
        spans = {"": (at, at + 72), "__before": (at - 48, at)}
        for suffix, (first, end) in spans.items():
            inside = bought[(bought["hours"] >= first) & (bought["hours"] < end)]
            keys = {row.local_day if pd.isna(row.order_id) else row.order_id for row in inside.itertuples()}
            days = inside["local_day"].nunique()
            assert found.loc[user, f"buys{suffix}"] == (days if suffix else int(len(inside) > 0))
            assert found.loc[user, f"paid{suffix}"] == 10 * inside["quantity"].sum()
            assert found.loc[user, f"orders{suffix}"] == len(keys)
        assert found.loc[user, "has_past"] == int((own["hours"] < at).any())


def test_collected_outcomes_leave_the_frames_as_they_were() -> None:
    events, exposures = _events(), _exposures()
    collected(outcomes(events, from_exposures(exposures, experiment="home"), DEFINITION))
    pd.testing.assert_frame_equal(events, _events())
    pd.testing.assert_frame_equal(exposures, _exposures())
