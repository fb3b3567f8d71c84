import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.release.layout import QUANTILES
from training.demand.backtesting import metrics
from training.demand.baselines.simple import EmpiricalQuantiles, SeasonalNaive

NAN = np.nan


def test_wql_when_worked_out_by_hand_then_equal():
    actual = np.array([[4.0, NAN], [6.0, 0.0]])
    quantiles = np.broadcast_to(np.array(QUANTILES) * 10, (2, 2, 9))  # 1, 2 ... 9
    total = 0.0
    for units in (4.0, 6.0, 0.0):
        for level in QUANTILES:
            error = units - 10 * level
            total += 2 * max(level * error, (level - 1) * error) / 9
    assert metrics.wql(actual, quantiles) == pytest.approx(total / 10)


def test_wape_bias_and_rmsse_when_worked_out_by_hand_then_equal():
    actual = np.array([[2.0, 4.0], [NAN, 10.0]])
    mean = np.array([[3.0, 4.0], [5.0, 8.0]])
    medians = np.repeat(mean[..., None], 9, axis=2)
    assert metrics.wape(actual, medians) == pytest.approx((1 + 0 + 2) / 16)
    assert metrics.bias(actual, mean) == pytest.approx((3 + 4 + 8) / 16 - 1)
    past = np.array([[0.0, 2.0, 0.0], [1.0, NAN, 5.0]])  # the second has no two neighbouring periods: left out
    assert metrics.rmsse(actual, mean, past) == pytest.approx(np.sqrt(0.5 / 4))


@settings(deadline=None, max_examples=20)
@given(rate=st.floats(0.3, 30), seed=st.integers(0, 100))
def test_pit80_when_the_forecast_is_the_truth_then_near_eighty_percent(rate, seed):
    draws = np.random.default_rng(seed).poisson(rate, 4000).astype(float)
    reference = np.sort(np.random.default_rng(seed + 1).poisson(rate, 40000))
    quantiles = np.tile(np.quantile(reference, QUANTILES, method="inverted_cdf"), (4000, 1))
    # Nine levels say only between which of them a PIT lies: worked out over all these rates, .717 to .853 instead of .8.
    assert metrics.pit80(draws, quantiles) == pytest.approx(0.8, abs=0.1)


def test_service_when_a_total_is_unknown_then_not_counted():
    total, points = np.array([3.0, 5.0, NAN]), np.array([3.0, 4.0, 99.0])
    assert metrics.service(total, points) == (0.5, 3.5)


def test_empirical_quantiles_when_asked_then_those_of_the_recent_past():
    units = np.array([[9.0, 9, 1, 2, 3, NAN], [NAN] * 6], np.float32)
    found = EmpiricalQuantiles(horizon=2, span=4)(units)
    np.testing.assert_allclose(found.quantiles[0, 1], np.quantile([1, 2, 3], QUANTILES), rtol=1e-6)
    assert found.mean[0].tolist() == [2.0, 2.0]
    assert (found.quantiles[1] == 0).all()
    mean, points = found.totals.total_quantiles(np.array([2, 2]), (0.5, 0.9))
    assert mean.tolist() == [4.0, 0.0]  # runs of two: 1 + 2 and 2 + 3
    assert points.tolist() == [[3.0, 5.0], [0.0, 0.0]]


def test_seasonal_naive_when_asked_then_the_same_phase_of_the_last_season():
    units = np.array([[1.0, 5, 1, 7]], np.float32)
    found = SeasonalNaive(horizon=3, season=2)(units)
    assert found.mean.tolist() == [[1.0, 7.0, 1.0]]
    # Errors of the past: 0 and 2, so a standard deviation of sqrt(2), and of 2 a season later.
    z = 1.2815515
    np.testing.assert_allclose(found.quantiles[0, :, 8], [1 + z * 2**0.5, 7 + z * 2**0.5, 1 + z * 2], rtol=1e-5)
    assert (found.quantiles >= 0).all()
    mean, points = found.totals.total_quantiles(np.array([2]), (0.9,))
    assert mean.tolist() == [8.0]
    assert points.tolist() == [[np.ceil(8 + z * 2)]]
