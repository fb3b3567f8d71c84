"""A whole test: its tables, groups, dilution, and its section."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from features.errors import ConfigError, DataError
from features.insight import experiments
from features.insight.experiments.analysis import _alarms, analyse_experiment
from features.insight.experiments.balance import balance
from features.insight.experiments.corrections import benjamini_hochberg
from features.insight.experiments.definition import ExperimentDefinition
from features.insight.experiments.looks import Looks
from features.insight.experiments.samples import cap
from features.insight.experiments.section import _those_shown
from features.insight.experiments.sources import as_customers, assigned, first_sent, tagged_tests
from features.insight.inputs import Inputs, Period
from features.report.sections import NothingToShow
from features.report.words import Words
from features.settings import ShopSettings
from tests.features.insight.experiment_frames import DAY_US, NUM_USERS, START_US, a_frame, made, participants
from tests.features.model_features import build_model_features


def test_lifts_when_a_metric_has_no_outcome_then_the_others_stand() -> None:
    from features.insight.experiments.results import arm_means, lifts  # noqa: PLC0415

    found = participants()
    table = lifts(found)
    assert table["metric"].tolist() == ["orders", "orders", "revenue", "refunds"]
    assert table["method"].tolist() == ["plain", "cuped", "plain", "plain"]
    assert table["primary"].tolist() == [False, True, True, True]
    assert table.loc[table["metric"] == "refunds", ["low", "high", "lift", "p", "q"]].isna().all(axis=None)
    plain, adjusted = table["se"][:2]
    assert adjusted / plain == pytest.approx(np.sqrt(1 - table["correlation"][1] ** 2), rel=0.03)
    assert table.loc[table["primary"], "q"].tolist()[:2] == benjamini_hochberg(table["p"][1:3]).tolist()
    means = arm_means(found)
    assert means["capped_at"].notna().tolist() == [False, False, True, True, False, False]
    capped = np.minimum(found.frame["revenue"], np.quantile(found.frame["revenue"], 0.99))
    assert means.loc[2, "mean"] == pytest.approx(capped[found.frame["arm"] == "control"].mean())


def test_looks_when_users_come_then_each_reads_the_first_of_them_and_stops_stay() -> None:
    from features.insight.experiments.results import looks_so_far  # noqa: PLC0415

    found = participants(looks={"number": 4, "users": 1600, "spending": "pocock"})
    table = looks_so_far(found)
    assert sorted(table["look"].unique()) == [1, 2, 3]  # 1,200 of 1,600 users have come
    assert table.groupby("look")["num_users"].first().tolist() == [400, 800, 1200]
    first = found.frame[:400]
    revenue = table[(table["metric"] == "revenue") & (table["look"] == 1)].iloc[0]
    capped = np.minimum(first["revenue"], np.quantile(first["revenue"], 0.99))
    by_arm = capped.groupby(first["arm"]).mean()
    assert revenue["difference"] == pytest.approx(by_arm["strict"] - by_arm["control"])
    stops = table[table["metric"] == "orders"]["stops"].tolist()
    assert stops == sorted(stops)


def test_windows_when_they_have_not_ended_then_users_wait_and_are_counted() -> None:
    from features.insight.experiments.results import arm_means  # noqa: PLC0415

    frame = a_frame().assign(until_us=START_US + 9 * DAY_US)  # users of the first two days have had their seven
    table = arm_means(participants(frame)).set_index(["metric", "arm"])
    ended = int((frame["assigned_us"] + 7 * DAY_US <= START_US + 9 * DAY_US).sum())
    assert table.loc["orders", "num_users"].sum() == ended == 289
    assert table.loc["orders", "num_open"].sum() == NUM_USERS - ended
    assert table.loc["revenue", "num_users"].sum() == NUM_USERS


def test_segments_when_effects_are_alike_then_each_is_the_whole_of_its_users() -> None:
    from features.insight.experiments.results import lifts  # noqa: PLC0415
    from features.insight.experiments.segments import heterogeneity, lifts_by_segment  # noqa: PLC0415

    found = participants()
    table = lifts_by_segment(found, "kind")
    orders = table[table["metric"] == "orders"].set_index("segment")
    plus = participants(found.frame[found.frame["kind"] == "plus"])
    alone = lifts(plus)
    assert orders.loc["plus", "difference"] == pytest.approx(alone.loc[alone["primary"], "difference"].iloc[0])
    assert table.loc[table["p"].notna(), "q"].tolist() == benjamini_hochberg(table["p"].dropna()).tolist()
    q = heterogeneity(table).set_index("metric").loc["orders"]
    weights = 1 / orders["se"] ** 2
    centre = (weights * orders["difference"]).sum() / weights.sum()
    statistic = (weights * (orders["difference"] - centre) ** 2).sum()
    assert (q["q_statistic"], q["p"]) == pytest.approx((statistic, stats.chi2.sf(statistic, 1)))
    with pytest.raises(DataError, match="Did you mean 'kind'"):
        lifts_by_segment(found, "kinds")


def test_dilution_when_half_meet_it_then_the_effect_on_them_is_twice_as_large() -> None:
    from features.insight.experiments.dilution import dilution  # noqa: PLC0415

    frame = a_frame(lift=1.0, exposed=0.5)
    table = dilution(participants(frame, exposure={"count": "events", "of": "message_delivered"}))
    orders = table[table["metric"] == "orders"].iloc[0]
    assert orders["share_exposed_control"] == 0
    assert orders["on_exposed"] == pytest.approx(orders["difference"] / orders["share_exposed"])
    assert orders["on_exposed_low"] < 1.0 < orders["on_exposed_high"]  # planted: 100% of a mean of one order


def _events(kinds: list[tuple[str, str, str]]) -> pd.DataFrame:
    frame = pd.DataFrame(kinds, columns=["user_id", "source_user_id", "event_type"])
    frame["ts"] = pd.to_datetime(["2026-03-01T08:00Z"] * len(frame)).astype("datetime64[us, UTC]")
    frame["campaign_id"], frame["local_day"] = "c001", pd.Timestamp("2026-03-01")
    return frame


def test_tags_when_ids_are_one_customers_then_the_customer_is_dealt_and_the_message_says_when() -> None:
    users = pd.DataFrame(
        {
            "user_id": ["a1", "b1", "shared", "new"],
            "tag_c001": ["treatment", "holdout", "treatment", "holdout"],
            "tag_kind": ["x", "y", "x", "y"],
        }
    )
    events = _events(
        [("a", "a1", "message_sent"), ("b", "b1", "view"), ("a", "shared", "view"), ("b", "shared", "view")]
    )
    definition = ExperimentDefinition(name="c001", tag="tag_c001")
    found = assigned(definition, events, users=as_customers(users, events)).set_index("user_id")["arm"].to_dict()
    assert found == {"a": "treatment", "b": "holdout", "shared": "treatment", "new": "holdout"}
    assert first_sent(events, "tag_c001") == dt.datetime(2026, 3, 1, 8, tzinfo=dt.UTC)
    assert tagged_tests(users) == ["tag_c001"]
    with pytest.raises(DataError, match="messages of campaign 'c002' in the log, found none"):
        first_sent(events, "tag_c002")
    unresolved = events.drop(columns="source_user_id")
    assert as_customers(users, unresolved) is users


def test_sources_when_the_test_is_unknown_then_it_says_which_there_are() -> None:
    events = _events([("a", "a", "view")])
    exposures = events.assign(campaign_id="home_rules", variant="strict")
    with pytest.raises(DataError, match=r"found no 'home_rule' among home_rules\. Did you mean 'home_rules'"):
        assigned(ExperimentDefinition(name="home_rule"), events, exposures=exposures)
    with pytest.raises(DataError, match="expected exposures, found none"):
        assigned(ExperimentDefinition(name="home_rules"), events)
    with pytest.raises(DataError, match="expected a users table with 'tag_x', found none"):
        assigned(ExperimentDefinition(name="x", tag="tag_x"), events)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small synthetic shop and its features."""
    from features.settings import EngineSettings  # noqa: PLC0415
    from features.sources.synthetic import generate  # noqa: PLC0415

    root = tmp_path_factory.mktemp("experiments")
    generate(root / "data", num_users=150, num_items=40, num_days=28, seed=1)
    build_model_features(root / "data", root / "features", engine=EngineSettings(threads=1, memory_limit="500MB"))
    return root / "data", root / "features"


def test_looks_when_the_level_is_said_then_they_err_no_more_often_together() -> None:
    asked = {"number": 2, "users": 60}
    assert made(looks=asked).looks == Looks(number=2, users=60, alpha=0.05)
    assert made(looks=asked, level=0.99).looks == Looks(number=2, users=60, alpha=0.01)


def test_cap_when_fewer_buy_than_it_takes_down_then_none_is_set_and_said() -> None:
    from features.insight.experiments.results import arm_means  # noqa: PLC0415

    spent = np.where(np.arange(NUM_USERS) < 5, 1000 * (1 + np.arange(NUM_USERS)), 0)
    some = participants(a_frame().assign(revenue=spent))
    means = arm_means(some).set_index("metric").loc["revenue"]
    assert means["capped_at"].isna().all()  # 5 of 1,200 are fewer than 1 in 100
    assert (means["mean"] * means["num_users"]).sum() == pytest.approx(15_000)
    assert [alarm.name for alarm in _alarms(some, balance(some))] == ["uncapped", "no_outcome"]


def test_cap_when_it_lies_between_nobody_and_the_least_then_none_is_set() -> None:
    values = np.array([0.0] * 999 + [100.0])  # their quantile .999 is drawn between 0 and 100
    assert cap(values, 0.999) is None
    assert cap(np.array([0.0] * 997 + [50.0, 100.0, 5000.0]), 0.998) == pytest.approx(50.1)  # place 997.002 of 0 to 999


@pytest.mark.parametrize(
    "values",
    [
        {"window_days": float("inf")},
        {"covariate_days": float("inf")},
        {"weights": {"control": float("inf"), "strict": 1}},
        {"weights": [1, 2]},
        {"looks": 5},
        {"level": "95%"},
        {"control": 5},
        {"tag": 5},
        {"assigned_at": dt.date(2026, 3, 1)},
        {"metrics": {"orders": {"count": ["orders"]}}},
        {"metrics": {"orders": {"count": "orders", "of": [5]}}},
        {"metrics": {"orders": {"count": "orders", "where": {"slot": 5}}}},
    ],
)
def test_definition_when_a_value_is_of_another_kind_then_says_what_was_expected(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        ExperimentDefinition.parse("home", values, where="experiments.home")


def test_sections_when_one_defined_test_is_small_then_the_others_stand() -> None:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    log = connection.sql(
        "SELECT 'e' || i AS event_id, 'u' || (i % 60) AS user_id, 'u' || (i % 60) AS source_user_id, 'purchase' AS event_type,"
        " TIMESTAMPTZ '2026-03-01 08:00Z' + to_hours(CAST(i % 97 AS INT)) AS ts, DATE '2026-03-01' AS local_day, 1 AS quantity,"
        " CAST(i % 7 AS BIGINT) AS price, CAST(NULL AS VARCHAR) AS order_id FROM range(600) r(i)"
    )
    day = dt.date(2026, 3, 5)
    inputs = Inputs(
        connection=connection, log=log, period=Period(first_day=day, last_day=day), items=log, shop=ShopSettings(),
        last_at_us=int(dt.datetime(2026, 3, 5, 12, tzinfo=dt.UTC).timestamp() * 1e6),
    )  # fmt: skip
    found = []
    for name, users in (("wide", 60), ("narrow", 8)):
        dealt = pd.DataFrame({"user_id": [f"u{number}" for number in range(users)]})
        dealt["arm"], dealt["assigned_us"] = np.where(np.arange(users) % 2, "strict", "control"), 1_772_352_000_000_000
        definition = ExperimentDefinition.parse(name, {"metrics": {"revenue": {"count": "revenue"}}}, where=name)
        found.append(analyse_experiment(log, connection.from_df(dealt), definition))
    words = Words.load("en", Path(experiments.__file__).parent)
    shown = _those_shown(found, inputs, words)
    assert [section.name for section in shown] == ["experiments_wide"]
    assert shown[0].notes[-1] == "Not shown: narrow, as one of its arms has fewer than 10 customers."
    with pytest.raises(NothingToShow, match="narrow, as one of its arms"):
        _those_shown(found[1:], inputs, words)


def test_report_when_a_campaign_was_randomised_then_page_tables_and_figures_agree(
    shop: tuple[Path, Path], tmp_path: Path
) -> None:
    from features.insight.experiments.report import ExperimentReport, report_experiment  # noqa: PLC0415

    data, features = shop
    (tmp_path / "tests.yaml").write_text(
        "experiments:\n  c001:\n    tag: tag_c001\n    window_days: 7\n    covariate_days: 5\n    metrics:\n"
        "      days: {count: days, of: [view, search, cart, purchase]}\n      revenue: {count: revenue, winsorise: 0.99}\n"
        "    exposure: {count: events, of: message_delivered}\n    looks: {number: 3, users: 90}\n",
        encoding="utf-8",
    )
    asked = ExperimentReport(definitions=tmp_path / "tests.yaml", data=data, tables=tmp_path / "tables")
    found = report_experiment(features, "c001", tmp_path / "page.html", asked)
    users = pd.read_parquet(data / "users.parquet")
    tagged = users["tag_c001"].isin(["treatment", "holdout"]).sum()
    in_test = sum(found["arms"].values()) + found["several_arms"]
    assert 0.9 * tagged <= in_test <= tagged  # accounts that share a device are one customer
    lifts = pd.read_parquet(tmp_path / "tables" / "experiments_c001_lifts.parquet")
    assert lifts.loc[lifts["primary"], "difference"].tolist() == [row["difference"] for row in found["lifts"]]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "those held out" in page
    assert 'role="img"' in page
    chinese = report_experiment(features, "c001", tmp_path / "zh.html", replace(asked, language="zh", tables=None))
    assert chinese["lifts"] == found["lifts"]
    by_name = report_experiment(features, "c001", None, ExperimentReport(data=data))  # the tag of that name
    assert by_name["arms"] == found["arms"]
    with pytest.raises(ConfigError, match=r"expected 'c01' under experiments, found c001\. Did you mean 'c001'"):
        report_experiment(features, "c01", None, asked)


def test_analysis_when_frames_are_pandas_then_all_tables_are_there() -> None:
    rng = np.random.default_rng(0)
    users = [f"u{number}" for number in range(60)]
    assigned_ = pd.DataFrame({"user_id": users, "arm": ["control", "strict"] * 30, "assigned_us": START_US})
    events = pd.DataFrame({"user_id": rng.choice(users, 300), "event_type": "purchase"})
    at_us = START_US + rng.integers(-10, 10, 300) * DAY_US
    events["ts"] = pd.to_datetime(at_us, unit="us", utc=True).astype("datetime64[us, UTC]")
    events["local_day"] = events["ts"].dt.tz_localize(None).dt.floor("D")
    events[["order_id", "quantity", "price"]] = [None, 1, 100]
    definition = made(looks={"number": 2, "users": 60})
    segments = pd.DataFrame({"user_id": users, "kind": ["a", "b", "b"] * 20})
    found = analyse_experiment(events, assigned_, definition, segments=segments)
    assert set(found.tables) == {"lifts", "means", "balance", "plan", "looks", "segments_kind", "differences_kind"}
    assert [alarm.name for alarm in found.alarms] == ["no_outcome"]
