"""Forecast, churn risk and lifetime value: on simulated shops, and in shops too small to say."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator

import duckdb
import numpy as np
import pandas as pd
import pytest

from features.customers.settings import ValueSettings
from features.customers.value.correction import Correction, helpful_correction, poisson_deviance
from features.customers.value.estimates import ESTIMATES, Estimates, estimate
from features.customers.value.forecast import PurchaseForecast, Window
from features.engine import connect
from features.settings import EngineSettings
from tests.features.customers.buying_world import World, beta_geometric_world

FIRST = dt.date(2023, 1, 1)
AS_OF = FIRST + dt.timedelta(weeks=60)


def day_rows(world: World, *, amounts: np.ndarray) -> pd.DataFrame:
    """The world as days with a purchase: user_id, day_number, amount and nothing of costs."""
    rows = []
    for user, (joined, times) in enumerate(zip(world.joined, world.times, strict=True)):
        days = np.unique(np.floor((joined + np.append(0.0, times)) * 7).astype(int)) + FIRST.toordinal()
        rows.append(pd.DataFrame({"user_id": f"u{user:05}", "day_number": days, "amount": amounts[user]}))
    return pd.concat(rows, ignore_index=True).assign(costed_amount=0, cost=0)


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(EngineSettings(memory_limit="500MB", threads=1), spill=tmp_path_factory.mktemp("spill")) as opened:
        yield opened


@pytest.fixture(scope="module")
def world() -> World:
    return beta_geometric_world(2_500, r=0.8, alpha=5.0, a=0.7, b=2.5, weeks=80, seed=11, at_once=True)


@pytest.fixture(scope="module")
def rows(world: World) -> pd.DataFrame:
    return day_rows(world, amounts=2 * np.random.default_rng(1).integers(250, 2_500, len(world.times)))


@pytest.fixture(scope="module")
def found(connection: duckdb.DuckDBPyConnection, rows: pd.DataFrame) -> Estimates:
    return estimate(connection.from_df(rows), as_of=AS_OF, settings=ValueSettings())


def test_estimates_when_the_world_is_simulated_then_risk_is_calibrated(found: Estimates, rows: pd.DataFrame) -> None:
    later = rows[(rows["day_number"] > AS_OF.toordinal()) & (rows["day_number"] <= AS_OF.toordinal() + 90)]
    came = later.groupby("user_id").size().reindex(found.user_id, fill_value=0).to_numpy()
    risk, expected = found.values["churn_risk"], found.values["expected_purchases"]
    assert risk.mean() == pytest.approx((came == 0).mean(), abs=0.02)
    for part in np.array_split(np.argsort(risk), 5):
        assert risk[part].mean() == pytest.approx((came[part] == 0).mean(), abs=0.08)
    assert expected.sum() == pytest.approx(came.sum(), rel=0.1)
    assert ((risk >= 0) & (risk <= 1)).all()


def test_estimates_when_the_future_changes_then_they_do_not(
    connection: duckdb.DuckDBPyConnection, found: Estimates, rows: pd.DataFrame
) -> None:
    past = rows[rows["day_number"] <= AS_OF.toordinal()]
    again = estimate(connection.from_df(past), as_of=AS_OF, settings=ValueSettings())
    for name in ESTIMATES:
        np.testing.assert_array_equal(again.values[name], found.values[name])


def test_lifetime_value_when_costs_are_known_then_it_is_the_margin(
    connection: duckdb.DuckDBPyConnection, found: Estimates, rows: pd.DataFrame
) -> None:
    half = rows.assign(costed_amount=rows["amount"], cost=rows["amount"] // 2)
    margin = estimate(connection.from_df(half), as_of=AS_OF, settings=ValueSettings())
    assert margin.values["customer_lifetime_value"] == pytest.approx(found.values["customer_lifetime_value"] / 2)


def test_lifetime_value_when_money_later_counts_less_then_it_is_less(
    connection: duckdb.DuckDBPyConnection, found: Estimates, rows: pd.DataFrame
) -> None:
    whole = estimate(connection.from_df(rows), as_of=AS_OF, settings=ValueSettings(discount_percent=0))
    ratio = found.values["customer_lifetime_value"] / whole.values["customer_lifetime_value"]
    assert ((ratio > 1 / 1.1) & (ratio < 1)).all()  # between all of it a year away, and all of it now


def test_estimates_when_prices_are_unknown_then_only_the_value_is_missing(
    connection: duckdb.DuckDBPyConnection, found: Estimates, rows: pd.DataFrame
) -> None:
    free = estimate(connection.from_df(rows.assign(amount=0)), as_of=AS_OF, settings=ValueSettings())
    assert np.isnan(free.values["customer_lifetime_value"]).all()
    assert free.to_arrow()["customer_lifetime_value"].null_count == len(free.user_id)
    np.testing.assert_array_equal(free.values["churn_risk"], found.values["churn_risk"])


def test_estimates_when_a_shop_is_small_then_missing_with_a_reason(
    connection: duckdb.DuckDBPyConnection, rows: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    few = rows[rows["user_id"] < "u00030"]
    with caplog.at_level(logging.WARNING):
        found = estimate(connection.from_df(few), as_of=AS_OF, settings=ValueSettings())
    assert found.model.forecast is None
    assert all(np.isnan(found.values[name]).all() for name in ESTIMATES)
    assert "expected at least 40 buyers who bought on a second day" in caplog.text


def test_estimates_when_the_log_is_short_then_a_model_stands_in(
    connection: duckdb.DuckDBPyConnection, rows: pd.DataFrame
) -> None:
    as_of = FIRST + dt.timedelta(weeks=12)  # 90 days before it nobody had bought
    found = estimate(connection.from_df(rows), as_of=as_of, settings=ValueSettings())
    assert found.model.forecast is not None
    assert (found.model.forecast.level, found.model.forecast.shape) == (1.0, None)
    assert found.model.churn is not None
    assert found.model.churn.logit is None
    assert np.isfinite(found.values["churn_risk"]).all()


def test_forecast_when_corrected_then_each_buyers_figure_does_not_depend_on_the_others(world: World) -> None:
    now, then = world.histories(60), world.histories(40)
    forecast = PurchaseForecast.fit(now, window=Window(histories=then, came=world.came(40, 20), days=140))
    alone = now.take(np.array([5, 9]))
    assert forecast.expected(alone, days=90) == pytest.approx(forecast.expected(now, days=90)[[5, 9]])
    assert forecast.expected(now, days=140).sum() == pytest.approx(
        forecast.level * forecast.model.expected(now, days=140).sum()
    )


def test_correction_when_a_fact_doubles_what_comes_then_found() -> None:
    draw = np.random.default_rng(0)
    fact = draw.integers(0, 2, 4_000).astype(float)
    expected = draw.gamma(2, 1, 4_000)
    came = draw.poisson(expected * np.where(fact == 1, 2.0, 1.0)).astype(float)
    found = helpful_correction(expected, fact[:, None], came)
    assert found is not None
    assert found.factor(np.array([[1.0], [0.0]])) == pytest.approx([2.0, 1.0], rel=0.05)


def test_correction_when_nothing_is_wrong_then_it_hardly_moves_anyone() -> None:
    draw = np.random.default_rng(0)
    facts, expected = draw.normal(size=(3_000, 3)), draw.gamma(2, 1, 3_000)
    found = Correction.fit(expected, facts, draw.poisson(expected).astype(float))
    assert np.abs(np.log(found.factor(facts))).mean() < 0.05


def test_poisson_deviance_when_the_forecast_is_perfect_then_zero() -> None:
    came = np.array([0.0, 1.0, 7.0])
    assert poisson_deviance(came, came) == pytest.approx(0, abs=1e-6)
    assert poisson_deviance(came, came + 0.5) > 0
