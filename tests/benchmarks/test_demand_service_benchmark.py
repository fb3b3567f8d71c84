import dataclasses

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks.demand_ablations import VARIANTS, score, train
from benchmarks.demand_service import LEAD, TARGETS, HistoryCounts, Served, by_window, compared, metrics_of
from tests.training.demand_worlds import poisson_panel, small_config
from training.demand.backtesting.backtest import backtest
from training.demand.inputs.panel_inputs import PanelInputs

LEVELS = np.round(np.arange(0.5, 0.995, 0.005), 4)


def served(points: np.ndarray, total: np.ndarray) -> Served:
    """``points`` [I, W, Q] and ``total`` [I, W]."""
    return Served(
        served=(total[..., None] <= points).sum(axis=1).astype(float),
        stock=points.sum(axis=1).astype(float),
        count=np.full(len(points), float(total.shape[1])),
    )


@pytest.fixture(scope="module")
def world() -> tuple[np.ndarray, np.ndarray]:
    """Rates known to all [I, W], and the totals that came of them."""
    rng = np.random.default_rng(0)
    rates = rng.gamma(2, 10, (400, 4))
    return rates, rng.poisson(rates).astype(float)


def test_compared_when_both_are_the_same_forecaster_then_no_difference_at_any_level(world):
    rates, total = world
    curve = served(stats.poisson.ppf(LEVELS, rates[..., None]), total)
    # What was asked for .93 and .97 stands for another forecaster's .90 and .95: it holds more and serves more.
    ours = served(stats.poisson.ppf([0.93, 0.97], rates[..., None]), total)
    found = compared(ours, curve)
    for target in ("90", "95"):
        value, low, high = found[f"less{target}"]
        assert value == pytest.approx(0, abs=0.02)
        assert low - 0.02 <= 0 <= high + 0.02
    assert metrics_of(ours)["service90"] > 0.93


def test_compared_when_the_reference_knows_less_then_it_holds_more_beyond_the_interval(world):
    rates, total = world
    rng = np.random.default_rng(1)
    guessed = rates * rng.lognormal(0, 0.3, rates.shape)
    curve = served(stats.nbinom.ppf(LEVELS, 8, 8 / (8 + guessed[..., None])), total)
    found = compared(served(stats.poisson.ppf(TARGETS, rates[..., None]), total), curve)
    for target in ("90", "95"):
        value, low, high = found[f"less{target}"]
        assert low < value < high < 0
        assert found[f"less_share{target}"][0] == pytest.approx(value / found[f"needs{target}"][0])


def test_history_counts_when_demand_is_what_it_was_then_serve_about_what_they_promise():
    rng = np.random.default_rng(3)
    units = rng.negative_binomial(2, 2 / (2 + 4.0), (500, 80)).astype(np.float32)
    units[0] = np.nan
    found = HistoryCounts(horizon=14)(units)
    points = found.totals.total_quantiles(np.full(500, LEAD), (0.9,))[1][:, 0]
    future = rng.negative_binomial(2, 2 / (2 + 4.0), (500, LEAD)).sum(axis=1)
    assert points[0] == 0
    assert (future[1:] <= points[1:]).mean() == pytest.approx(0.9, abs=0.05)


def test_by_window_when_windows_differ_then_their_mean_is_the_service_of_all():
    inputs = PanelInputs.from_panel(poisson_panel(), small_config())
    history = HistoryCounts(horizon=7)
    units = inputs.units.numpy()
    asked = {"lead_periods": LEAD, "service_levels": TARGETS}
    found = backtest(lambda origin: history(units[:, :origin]), inputs, (140, 147, 154), **asked)
    windows = by_window(found)
    assert list(windows) == ["service90_window1", "service90_window2", "service90_window3"]
    all_of_them = metrics_of(Served.of(found, TARGETS))["service90"]
    assert np.mean(list(windows.values())) == pytest.approx(all_of_them)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name.replace(" ", "-"))
def test_variant_when_trained_a_little_then_scored(variant):
    torch.set_num_threads(1)
    config = small_config(hidden_size=8, batch_size=8, max_steps=2, num_members=2)
    config = dataclasses.replace(config, **variant.changes)
    inputs = PanelInputs.from_panel(poisson_panel(), config)
    found = score(train(inputs, config, variant, fit_until=150), (150, 157), 7)
    assert 0 < found["wql"] < 2
    assert 0 <= found["pit80"] <= 1
    assert ("service90" in found) == (variant.name != "quantile head")
