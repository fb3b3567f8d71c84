import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from features.demand.calibration import PitBounds
from features.errors import DataError
from features.release.layout import QUANTILES
from tests.training.demand_worlds import HORIZON, NUM_PERIODS, poisson_panel, small_config
from training.demand.backtesting import metrics
from training.demand.backtesting.backtest import Backtest, backtest, baseline_forecasters, rolling_origins
from training.demand.backtesting.classes import CLASSES, demand_classes
from training.demand.backtesting.scores import Scores, differences, intervals
from training.demand.backtesting.tables import (
    class_tables,
    per_step,
    per_window,
    pit_histogram,
    report_of,
    scores_of,
    service_curve,
    summary,
)
from training.demand.baselines.negative_binomial import negative_binomial
from training.demand.inputs.panel_inputs import PanelInputs

NAN = np.nan
LEVELS = (0.9, 0.95)


@pytest.fixture(scope="module")
def inputs():
    return PanelInputs.from_panel(poisson_panel(), small_config())


@pytest.fixture(scope="module")
def found(inputs):
    origins = rolling_origins(NUM_PERIODS, horizon=HORIZON, windows=3, stride=3)
    asked = {"lead_periods": 5, "service_levels": LEVELS}
    return {name: backtest(one, inputs, origins, **asked) for name, one in baseline_forecasters(inputs).items()}


@given(
    horizon=st.integers(1, 20), windows=st.integers(1, 6), stride=st.integers(1, 25), num_periods=st.integers(1, 200)
)
def test_rolling_origins_when_they_fit_then_evenly_spaced_and_the_last_window_ends_with_the_panel(
    horizon, windows, stride, num_periods
):
    needed = 1 + horizon + (windows - 1) * stride
    if num_periods < needed:
        with pytest.raises(DataError, match=f"expected at least {needed} periods"):
            rolling_origins(num_periods, horizon=horizon, windows=windows, stride=stride)
        return
    origins = rolling_origins(num_periods, horizon=horizon, windows=windows, stride=stride)
    assert len(origins) == windows
    assert origins[-1] + horizon == num_periods
    assert set(np.diff(origins)) <= {stride}
    assert origins[0] >= 1


def test_rolling_origins_when_the_stride_is_nothing_then_says_so():
    with pytest.raises(DataError, match="a stride of 1 or more, found 7, 2 and 0"):
        rolling_origins(50, horizon=7, windows=2, stride=0)


def test_backtest_when_windows_overlap_then_each_holds_what_came_after_its_own_origin(found, inputs):
    one = found["seasonal_naive"]
    assert one.origins == (167, 170, 173)
    units = inputs.units.numpy()
    for window, origin in enumerate(one.origins):
        np.testing.assert_array_equal(one.actual[:, window], units[:, origin : origin + HORIZON])
        np.testing.assert_array_equal(one.lead_total[:, window], units[:, origin : origin + 5].sum(1))
        np.testing.assert_array_equal(one.mean[:, window], np.nan_to_num(units[:, origin - 7 : origin]))


def test_summary_when_worked_out_series_by_series_then_equal(found, inputs):
    one = found["croston_sba"]
    figures = summary(one, inputs)
    past = inputs.units[:, : one.origins[0]].numpy()
    flat = (len(past), -1)
    assert figures["wql"] == pytest.approx(metrics.wql(one.actual, one.quantiles))
    assert figures["wape"] == pytest.approx(metrics.wape(one.actual, one.quantiles))
    assert figures["bias"] == pytest.approx(metrics.bias(one.actual, one.mean), abs=1e-6)
    assert figures["rmsse"] == pytest.approx(metrics.rmsse(one.actual.reshape(flat), one.mean.reshape(flat), past))
    spl = []
    for row in range(len(past)):
        errors = [abs(past[row, t] - past[row, t - 7]) for t in range(7, past.shape[1])]
        loss = 0.0
        for y, bounds in zip(one.actual[row].ravel(), one.quantiles[row].reshape(-1, 9), strict=True):
            for level, q in zip(QUANTILES, bounds, strict=True):
                loss += (level * (y - q) if y >= q else (1 - level) * (q - y)) / (9 * one.actual[row].size)
        spl.append(loss / np.nanmean(errors))
    assert figures["spl"] == pytest.approx(np.mean(spl), rel=1e-5)
    for column, level in enumerate(one.levels):
        served, stock = metrics.service(one.lead_total, one.reorder_points[..., column])
        assert service_curve(one)[column] == pytest.approx({"level": level, "service": served, "stock": stock})
        if level in LEVELS:
            assert figures[f"service{100 * level:.0f}"] == pytest.approx(served)
            assert figures[f"stock{100 * level:.0f}"] == pytest.approx(stock)


def test_tables_when_cut_by_window_and_step_then_those_cells_alone_count(found, inputs):
    one = found["empirical_quantiles"]
    for window, row in enumerate(per_window(one, inputs)):
        assert row["origin"] == one.origins[window]
        assert row["wql"] == pytest.approx(metrics.wql(one.actual[:, window], one.quantiles[:, window]))
        assert row["pit80"] == pytest.approx(metrics.pit80(one.actual[:, window], one.quantiles[:, window]))
    by_step = per_step(one, inputs)
    for step in range(HORIZON):
        expected = metrics.wql(one.actual[..., step], one.quantiles[..., step, :])
        assert by_step["wql"][step] == pytest.approx(expected)


def test_pit_histogram_when_drawn_many_times_then_the_mean_of_the_draws(found):
    one = found["croston_sba"]
    shares = pit_histogram(one)
    assert sum(shares) == pytest.approx(1)
    rng = np.random.default_rng(0)
    known = one.pit.known
    low, high = one.pit.low[known], one.pit.high[known]
    drawn = np.concatenate([rng.uniform(low, high) for _ in range(200)])
    np.testing.assert_allclose(shares, np.histogram(drawn, bins=10, range=(0, 1))[0] / len(drawn), atol=2e-3)


def test_pit_when_the_forecast_is_the_truth_then_flat_within_what_chance_leaves():
    rng = np.random.default_rng(0)
    mean = np.repeat(rng.uniform(0.2, 9.0, 400)[:, None], 30, axis=1)
    actual = rng.poisson(mean).astype(float)
    one = negative_binomial(mean, 0.0, total_alpha=np.zeros(30))
    assert one.cdf is not None
    found = _backtest(actual[:, None], one.quantiles[:, None], low=one.cdf(actual - 1), high=one.cdf(actual))
    np.testing.assert_allclose(pit_histogram(found), 0.1, atol=0.012)  # 12,000 outcomes: 4 standard errors
    # From nine quantiles alone, the place is known more coarsely.
    coarse = dataclasses.replace(found, pit=PitBounds(low=_low(actual, one)[:, None], high=_high(actual, one)[:, None]))
    assert sum(pit_histogram(coarse)) == pytest.approx(1)


def test_demand_classes_when_worked_out_one_by_one_then_equal():
    rng = np.random.default_rng(1)
    past = rng.negative_binomial(0.5, 0.2, (300, 60)) * (rng.random((300, 60)) < rng.random((300, 1)))
    past[100:] += rng.integers(0, 2, (200, 1)) * 3  # some sell in every period
    past = np.where(rng.random(past.shape) < 0.1, NAN, past.astype(float))
    past[0] = 0
    for row, name in zip(past, demand_classes(past), strict=True):
        known = row[np.isfinite(row)]
        sold = known[known > 0]
        if not len(sold):
            assert name == "unsold"
            continue
        rare, uneven = len(known) / len(sold) >= 1.32, sold.var() / sold.mean() ** 2 >= 0.49
        expected = {(0, 0): "smooth", (1, 0): "intermittent", (0, 1): "erratic", (1, 1): "lumpy"}
        assert name == expected[int(rare), int(uneven)]
    assert set(demand_classes(past)) == set(CLASSES)


def test_class_tables_when_classes_are_put_together_again_then_the_whole(found, inputs):
    scores = scores_of(found["croston_sba"], inputs)
    classes = np.array(["smooth", "lumpy"] * (len(scores.top) // 2))
    tables = class_tables(scores, classes)
    assert [row["num_series"] for row in tables.values()] == [24, 24]
    sold = {name: scores.rows(classes == name).bottom[:, 0].sum() for name in tables}
    whole = sum(tables[name]["wql"] * sold[name] for name in tables) / sum(sold.values())
    assert whole == pytest.approx(scores.values()["wql"])


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 1000))
def test_differences_when_drawn_by_hand_then_the_same_interval(seed):
    rng = np.random.default_rng(seed)
    ours, theirs = (
        Scores(names=("wql", "rmsse"), top=rng.random((40, 2)), bottom=rng.integers(0, 4, (40, 2)).astype(float))
        for _ in range(2)
    )
    got = differences(ours, theirs, resamples=60, seed=seed)
    drawn = np.random.default_rng(seed).integers(0, 40, size=(60, 40), dtype=np.int32)
    for column, name in enumerate(("wql", "rmsse")):
        draws = []
        for rows in drawn:
            ratios = [one.top[rows, column].sum() / one.bottom[rows, column].sum() for one in (ours, theirs)]
            draws.append(ratios[0] - ratios[1])
        assert got[name].low == pytest.approx(np.quantile(draws, 0.025))
        assert got[name].high == pytest.approx(np.quantile(draws, 0.975))
        assert got[name].mean == pytest.approx(ours.values()[name] - theirs.values()[name])


def test_differences_when_a_forecaster_meets_itself_then_nothing_and_averaging_seeds_keeps_the_means(found, inputs):
    one, other = (scores_of(found[name], inputs) for name in ("croston_sba", "seasonal_naive"))
    assert all((i.mean, i.low, i.high) == (0, 0, 0) for i in differences(one, one).values())
    both = Scores.averaged([one, other])
    assert both.values()["wql"] == pytest.approx((one.values()["wql"] + other.values()["wql"]) / 2)
    assert intervals(both)["wql"].mean == pytest.approx(both.values()["wql"])


def test_report_when_made_then_every_table_of_every_forecaster_and_valid_json(found, inputs):
    report = report_of(found, inputs, ours="croston_sba", gate="empirical_quantiles")
    json.dumps(report, allow_nan=False)
    assert set(report["tables"]) == set(found)
    assert set(report["less"]) == set(found) - {"croston_sba"}
    assert report["pit"] == report["tables"]["croston_sba"]["pit"]
    assert sum(row["num_series"] for row in report["tables"]["croston_sba"]["per_class"].values()) == inputs.num_items


def test_report_when_nothing_sold_or_is_known_then_an_error_that_says_so_and_empty_tables(found, inputs):
    one = found["seasonal_naive"]
    silent = dataclasses.replace(one, actual=np.zeros_like(one.actual))
    with pytest.raises(DataError, match="expected sales in the windows from period 167 on, found none"):
        report_of({"seasonal_naive": silent}, inputs, ours="seasonal_naive", gate="seasonal_naive")
    nothing = np.full_like(one.pit.low, NAN)
    unknown = dataclasses.replace(
        one, pit=PitBounds(low=nothing, high=nothing), lead_total=np.full_like(one.lead_total, NAN)
    )
    assert pit_histogram(unknown) == service_curve(unknown) == []


def _backtest(actual, quantiles, *, low, high):
    return Backtest(
        origins=(1,),
        actual=actual,
        mean=actual,
        quantiles=quantiles,
        pit=PitBounds(low=low[:, None], high=high[:, None]),
        lead_total=actual.sum(2),
        levels=(0.9,),
        reorder_points=np.zeros((*actual.shape[:2], 1)),
        service_levels=(),
    )


def _low(actual, one):
    return metrics.pit_between(actual, one.quantiles)[0]


def _high(actual, one):
    return metrics.pit_between(actual, one.quantiles)[1]


def test_poisson_when_the_dispersion_is_nothing_then_scipys():
    one = negative_binomial(np.array([[3.0]]), 0.0, total_alpha=np.zeros(1))
    assert one.quantiles[0, 0].tolist() == stats.poisson.ppf(QUANTILES, 3.0).tolist()
