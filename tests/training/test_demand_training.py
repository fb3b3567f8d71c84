import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from features.release.layout import QUANTILES
from tests.training import kill_demand
from tests.training.demand_worlds import NUM_ITEMS, NUM_PERIODS, poisson_panel, small_config, true_rates
from training.demand.backtesting import metrics
from training.demand.backtesting.backtest import backtest, baseline_forecasters, model_forecaster
from training.demand.backtesting.tables import summary, wql_intervals
from training.demand.forecast import Forecast, forecast
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.trainer import CHECKPOINT_FILE, Fitted, fit_model

ORIGIN = NUM_PERIODS - 21
KILLED_AT = (5, 11, 20)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[PanelInputs, Fitted]:
    config = small_config(max_steps=300, validate_every_steps=100, batch_size=128)
    inputs = PanelInputs.from_panel(poisson_panel(), config)
    fitted = fit_model(inputs, config, fit_until=ORIGIN, directory=tmp_path_factory.mktemp("demand"), steps=300)
    return inputs, fitted


@pytest.fixture(scope="module")
def forecasts(world) -> tuple[list[Forecast], np.ndarray]:
    """Three windows, and the rates that were true in them ``[3, I, H]``."""
    inputs, fitted = world
    origins = (ORIGIN, ORIGIN + 7, ORIGIN + 14)
    rates = np.stack([true_rates()[0][:, origin : origin + 7] for origin in origins])
    return [forecast(fitted.model, inputs, origin) for origin in origins], rates


def test_model_when_the_world_is_poisson_then_near_the_oracle_and_calibrated(world, forecasts):
    inputs, _ = world
    found, rates = forecasts
    actual = np.stack([inputs.targets_at(ORIGIN + 7 * window).numpy() for window in range(3)])
    quantiles = np.stack([one.quantiles for one in found])
    oracle = stats.poisson.ppf(np.array(QUANTILES), rates[..., None])
    ours, best = metrics.wql(actual, quantiles), metrics.wql(actual, oracle)
    assert ours < 1.12 * best
    assert metrics.pit80(actual, quantiles) == pytest.approx(0.8, abs=0.06)
    assert np.abs(quantiles - oracle).mean() < 1.2


def test_model_when_promotion_and_sundays_raise_sales_then_so_do_forecasts(forecasts):
    found, rates = forecasts
    mean = np.stack([one.mean for one in found])
    _, plan = true_rates()
    promoted = np.stack([plan[:, ORIGIN + 7 * w : ORIGIN + 7 * w + 7] for w in range(3)]) > 0
    base = rates / np.where(promoted, 3, 1)
    lift = (mean / base)[promoted].mean() / (mean / base)[~promoted].mean()
    assert lift == pytest.approx(3, rel=0.15)
    # ORIGIN is 159 = 22 weeks and 5 days after a Monday, so Sunday is the second day of each window.
    sunday = np.arange(7) == 1
    flat = rates[..., 2] / np.where(promoted[..., 2], 3, 1)
    ratio = mean / np.where(promoted, 3, 1) / flat[..., None]
    assert ratio[..., sunday].mean() / ratio[..., ~sunday].mean() == pytest.approx(2, rel=0.15)


def test_totals_when_days_are_independent_then_cover_what_they_promise(forecasts):
    found, rates = forecasts
    lead = np.full(NUM_ITEMS, 7)
    served = {0.9: [], 0.95: []}
    for one, true in zip(found, rates, strict=True):
        mean, points = one.totals.total_quantiles(lead, (0.9, 0.95))
        np.testing.assert_allclose(mean.mean(), true.sum(1).mean(), rtol=0.1)
        for column, level in enumerate((0.9, 0.95)):
            # The chance, under the true rates, that the week's demand stays within the reorder point.
            served[level].append(stats.poisson.cdf(points[:, column], true.sum(1)).mean())
        assert (one.quantiles[..., 8].sum(1) > points[:, 0]).mean() > 0.9  # what summing daily quantiles would hold
    assert np.mean(served[0.9]) == pytest.approx(0.9, abs=0.07)
    assert np.mean(served[0.95]) == pytest.approx(0.95, abs=0.05)


def test_backtest_when_the_model_knows_the_plan_then_better_than_baselines_beyond_the_interval(world):
    inputs, fitted = world
    asked = {"lead_periods": 7, "service_levels": (0.9, 0.95)}
    forecasters = {"footfall": model_forecaster(fitted.model, inputs)} | baseline_forecasters(inputs)
    found = {name: backtest(one, inputs, (ORIGIN, ORIGIN + 7), **asked) for name, one in forecasters.items()}
    alone, less = wql_intervals(found, inputs, against="empirical_quantiles")
    for name, one in found.items():
        figures = summary(one, inputs)
        assert alone[name].mean == pytest.approx(figures["wql"])
        assert alone[name].low < alone[name].mean < alone[name].high
    assert less["footfall"].high < 0
    assert less["footfall"].mean == pytest.approx(alone["footfall"].mean - alone["empirical_quantiles"].mean)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Fitted:
    """What a training ends with that nobody disturbed."""
    torch.set_num_threads(1)
    return kill_demand.fit(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """What trainings left behind that were killed, in a directory named by the step."""
    root = tmp_path_factory.mktemp("killed")
    script = [sys.executable, kill_demand.__file__, str(root), *map(str, KILLED_AT)]
    ended = subprocess.run(script, check=False, capture_output=True, text=True)
    assert ended.stdout.split() == [str(signal.SIGKILL.value)] * len(KILLED_AT), ended.stderr
    return root


@pytest.mark.parametrize("kill_at", KILLED_AT)
def test_training_when_killed_and_resumed_then_bit_equal_weights(kill_at, whole, killed):
    torch.set_num_threads(1)
    cut = killed / str(kill_at)
    assert (cut / CHECKPOINT_FILE).exists()
    resumed = kill_demand.fit(cut)
    assert (resumed.steps, resumed.score) == (whole.steps, whole.score)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert not (cut / CHECKPOINT_FILE).exists()
