import dataclasses
import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from features.errors import ConfigError
from features.panel.demand_panel import DemandPanel
from features.release.layout import QUANTILES
from tests.training.demand_worlds import HORIZON, NUM_ITEMS, NUM_PERIODS, poisson_panel, small_config, true_rates
from training.demand.backtesting import metrics
from training.demand.backtesting.backtest import baseline_forecasters
from training.demand.baselines.carts import CartRegression
from training.demand.baselines.croston import CrostonSba, croston_sba
from training.demand.baselines.negative_binomial import counts, dispersion, negative_binomial
from training.demand.baselines.recursive_trees import recursive_trees
from training.demand.baselines.simple import NormalTotals
from training.demand.baselines.tree_features import TreeFeatures, training_origins
from training.demand.baselines.trees import (
    CountsAround,
    Ensemble,
    QuantileTrees,
    TreeConfig,
    direct_trees,
    library,
    trees_are_installed,
)
from training.demand.forecast import Forecast
from training.demand.inputs.panel_inputs import PanelInputs

NAN = np.nan
UNTIL = NUM_PERIODS - 2 * HORIZON
SMALL = TreeConfig(num_trees=30, num_leaves=15, min_rows=20, stride=4, dispersion_windows=2)
needs_trees = pytest.mark.skipif(not trees_are_installed(), reason="lightgbm and mlforecast are not installed")


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), smoothing=st.floats(0.05, 1.0))
def test_croston_when_followed_sale_by_sale_then_the_same_forecast(seed, smoothing):
    rng = np.random.default_rng(seed)
    units = rng.poisson(0.4, (4, 30)).astype(np.float32)
    units[rng.random(units.shape) < 0.1] = NAN
    got = croston_sba(units, smoothing)
    for row in range(4):
        size = interval = None
        waited = 0
        for period in range(30):
            expected = 0.0 if size is None else (1 - smoothing / 2) * size / interval
            assert got[row, period] == pytest.approx(expected)
            if np.isnan(units[row, period]):
                continue
            waited += 1
            if units[row, period] > 0:
                sold = float(units[row, period])
                size = sold if size is None else smoothing * sold + (1 - smoothing) * size
                interval = waited if interval is None else smoothing * waited + (1 - smoothing) * interval
                waited = 0
        assert got[row, 30] == pytest.approx(0.0 if size is None else (1 - smoothing / 2) * size / interval)


def test_croston_when_every_third_day_sells_six_then_about_two_a_day_and_counts_around_it():
    units = np.tile(np.array([0, 0, 6.0], np.float32), (1, 20))
    found = CrostonSba(horizon=4)(units)
    np.testing.assert_allclose(found.mean, 0.95 * 2, rtol=1e-6)
    mean, points = found.totals.total_quantiles(np.array([3]), (0.5, 0.95))
    assert mean[0] == pytest.approx(5.7)
    # Three independent days: their variances add up.
    steps = croston_sba(units, 0.1)[:, :-1]
    alpha = float(dispersion(units, steps))
    variance = 3 * (1.9 + alpha * 1.9**2)
    size = 5.7**2 / (variance - 5.7)
    assert points[0].tolist() == stats.nbinom.ppf((0.5, 0.95), size, size / (size + 5.7)).tolist()


def test_cart_regression_when_carts_lead_sales_then_the_line_through_them():
    rng = np.random.default_rng(0)
    weeks = np.repeat(rng.integers(1, 9, (6, 12)), 7, axis=1).astype(np.float32)
    units = np.roll(2 * weeks, 7, axis=1) + 1  # a week's carts, twice over, a week later
    found = CartRegression(horizon=7, span=7)(units[:, 7:], weeks[:, 7:])
    # By least squares over every past origin, worked out one by one.
    past, carts = units[:, 7:], weeks[:, 7:]
    pairs = [
        (np.mean(carts[row, max(0, origin - 7) : origin]), np.mean(past[row, origin : origin + 7]))
        for row in range(6)
        for origin in range(1, past.shape[1] - 6)
    ]
    slope, intercept = np.polyfit(*np.array(pairs).T, 1)
    expected = np.maximum(intercept + slope * carts[:, -7:].mean(1), 0)
    np.testing.assert_allclose(found.mean, np.repeat(expected[:, None], 7, axis=1), rtol=1e-5)
    assert (np.diff(found.quantiles, axis=2) >= 0).all()


def test_cart_regression_when_nobody_uses_the_cart_then_the_mean_of_all():
    units = np.array([[1.0, 3, 1, 3], [NAN] * 4], np.float32)
    found = CartRegression(horizon=2, span=2)(units, np.zeros((2, 4), np.float32))
    np.testing.assert_allclose(found.mean, 2.0)


def test_dispersion_when_drawn_from_a_negative_binomial_then_found_and_never_below_poisson():
    rng = np.random.default_rng(0)
    mean = rng.uniform(0.5, 20, 40_000)
    drawn = rng.negative_binomial(2.0, 2.0 / (2.0 + mean)).astype(float)
    drawn[:100] = NAN
    assert dispersion(drawn, mean) == pytest.approx(0.5, rel=0.05)
    assert dispersion(np.round(mean), mean) == 0


def test_counts_when_asked_then_the_smallest_that_is_enough():
    mean, alpha = np.array([0.3, 2.0, 40.0]), 0.4
    for m, found in zip(mean, counts(mean, alpha, QUANTILES), strict=True):
        size = 1 / alpha
        for level, units in zip(QUANTILES, found, strict=True):
            enough = next(k for k in range(500) if stats.nbinom.cdf(k, size, size / (size + m)) >= level)
            assert units == enough
    one = negative_binomial(mean[:, None], alpha, total_alpha=np.array([alpha]))
    assert one.cdf is not None
    unknown = one.cdf(np.array([[NAN], [-1.0], [3.0]]))
    assert np.isnan(unknown[0, 0])
    assert unknown[1, 0] == 0
    assert unknown[2, 0] == pytest.approx(stats.nbinom.cdf(3, 2.5, 2.5 / 42.5))


@needs_trees
def test_tree_features_when_read_then_means_of_the_past_and_the_plan_of_the_horizon():
    panel = poisson_panel()
    features = TreeFeatures.of(panel, HORIZON)
    rows = features.rows(100)
    assert rows.shape[:2] == (NUM_ITEMS, HORIZON)
    units = panel.units
    np.testing.assert_array_equal(rows[:, 0, 0], units[:, 99])
    np.testing.assert_allclose(rows[:, 3, 5], units[:, 93:100].mean(1), rtol=1e-6)
    np.testing.assert_allclose(rows[1:, 3, 9], units[1:, :100].mean(1), rtol=1e-6)  # 112 days back are not there yet
    np.testing.assert_allclose(rows[:, 6, -6], np.nanmean(units[:, [99]], axis=1))  # the Sunday before
    np.testing.assert_allclose(rows[:, 2, -4], np.nan_to_num(units[:, [95, 88, 81, 74]]).mean(1))
    assert features.num_codes == 2
    assert rows[:, :, -2].tolist() == [[(100 + step) % 7 for step in range(HORIZON)]] * NUM_ITEMS
    assert list(training_origins(90, 100, horizon=3, stride=2)) == [97, 95, 93, 91]


@needs_trees
@pytest.mark.parametrize("learn", [direct_trees, recursive_trees, QuantileTrees.fit])
def test_trees_when_what_came_later_changes_then_the_same_forecast(learn):
    panel = poisson_panel()
    rng = np.random.default_rng(5)
    later = panel.units.copy()
    later[:, UNTIL:] = rng.poisson(50, later[:, UNTIL:].shape)
    views = np.asarray(panel.observed["num_views"]).copy()
    views[:, UNTIL:] = 1e4
    changed = dataclasses.replace(panel, units=later, observed={"num_views": views})
    found, other = (learn(TreeFeatures.of(one, HORIZON), UNTIL, SMALL)(UNTIL) for one in (panel, changed))
    np.testing.assert_array_equal(found.mean, other.mean)
    np.testing.assert_array_equal(found.quantiles, other.quantiles)


@needs_trees
def test_trees_when_a_plan_was_announced_after_the_origin_then_not_read():
    panel = poisson_panel()
    shape = panel.known_ahead["promotion"].shape
    late = np.zeros(shape, np.int16)  # announced on the day itself, or later
    planned = dataclasses.replace(panel, planned=("promotion",), announced_ahead=late)
    silent = dataclasses.replace(planned, known_ahead={**panel.known_ahead, "promotion": _cut(panel, UNTIL)})
    rows = [TreeFeatures.of(one, HORIZON).rows(UNTIL) for one in (planned, silent)]
    np.testing.assert_array_equal(*rows)


@needs_trees
def test_trees_when_the_plan_is_known_then_better_than_what_does_not_know_it():
    panel = poisson_panel()
    features = TreeFeatures.of(panel, HORIZON)
    actual = panel.units[:, UNTIL : UNTIL + HORIZON]
    inputs = PanelInputs.from_panel(panel, small_config())
    gate = metrics.wql(actual, baseline_forecasters(inputs)["empirical_quantiles"](UNTIL).quantiles)
    members = (
        recursive_trees(features, UNTIL, SMALL),
        direct_trees(features, UNTIL, SMALL),
        QuantileTrees.fit(features, UNTIL, SMALL),
    )
    for member in members:
        found = member(UNTIL)
        assert metrics.wql(actual, found.quantiles) < 0.8 * gate
        assert (np.diff(found.quantiles, axis=2) >= 0).all()
    rates = true_rates()[0][:, UNTIL : UNTIL + HORIZON]
    direct = members[1](UNTIL)
    assert np.corrcoef(direct.mean.ravel(), rates.ravel())[0, 1] > 0.85
    ensemble = Ensemble(members=members)(UNTIL)
    np.testing.assert_allclose(ensemble.quantiles, np.mean([m(UNTIL).quantiles for m in members], axis=0), rtol=1e-6)
    lead = np.full(NUM_ITEMS, HORIZON)
    mean, points = ensemble.totals.total_quantiles(lead, (0.5, 0.9))
    np.testing.assert_allclose(
        mean, np.mean([m(UNTIL).totals.total_quantiles(lead, (0.5,))[0] for m in members], axis=0)
    )
    assert (points == np.round(points)).all()


@needs_trees
def test_recursive_trees_when_an_item_has_holes_or_no_past_then_answered_all_the_same():
    panel = poisson_panel()
    units = panel.units.copy()
    units[1, 50:60] = NAN
    units[2, UNTIL - 3 :] = NAN
    units[3] = NAN
    found = recursive_trees(TreeFeatures.of(dataclasses.replace(panel, units=units), HORIZON), UNTIL, SMALL)(UNTIL)
    assert np.isfinite(found.quantiles).all()
    assert found.mean[3].tolist() == [0.0] * HORIZON


def test_counts_around_when_the_mean_is_right_then_nearly_poisson():
    panel = poisson_panel()
    rates = true_rates()[0]
    known = CountsAround.fit(
        "truth",
        lambda features, until, config: lambda origin: rates[:, origin : origin + HORIZON],
        TreeFeatures.of(panel, HORIZON),
        UNTIL,
        TreeConfig(),
    )
    assert known.spread.single < 0.03
    assert (known.spread.total < 0.03).all()


def test_normal_totals_and_ensemble_when_levels_rise_then_points_rise():
    mean = np.full((2, 3), 4.0)
    totals = NormalTotals(mean=mean, scale=np.ones((2, 3)))
    one = Forecast(mean=mean, quantiles=np.repeat(mean[..., None], 9, axis=2), totals=totals)
    _, points = Ensemble(members=(lambda _: one, lambda _: one))(0).totals.total_quantiles(np.array([3, 2]), (0.5, 0.9))
    assert points.tolist() == [[12, 15], [8, 10]]


def test_library_when_it_is_not_there_then_says_what_to_install():
    assert importlib.util.find_spec("no_such_boosting") is None
    with pytest.raises(ConfigError, match=r"expected the package 'no_such_boosting', found none; run `pip install"):
        library("no_such_boosting")


def _cut(panel: DemandPanel, origin: int):
    plan = np.asarray(panel.known_ahead["promotion"]).copy()
    plan[:, origin:] = 0
    return plan
