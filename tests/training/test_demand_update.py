import dataclasses

import numpy as np
import pytest
import torch

from features.errors import ConfigError
from features.panel.demand_panel import DemandPanel
from tests.training.demand_worlds import NUM_PERIODS, poisson_panel, small_config, true_rates
from training.demand.config import DemandConfig
from training.demand.evaluated import EvaluatedModel
from training.demand.forecast import forecast
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.model import DemandModel
from training.demand.network.trainer import fit_model
from training.demand.network.update import UpToDate, updated
from training.demand.rolling import RollingForecaster

FIT_UNTIL = NUM_PERIODS - 28
ORIGIN = FIT_UNTIL + 21
CONFIG = small_config(max_steps=50, hidden_size=16, level_span=56, spans=(56,), update_learning_rate=1e-2)


def doubled() -> DemandPanel:
    """The shop of ``poisson_panel``, which sells twice as much once training has ended."""
    panel = poisson_panel()
    units = panel.units.copy()
    units[:, FIT_UNTIL:] = np.random.default_rng(3).poisson(2 * true_rates()[0][:, FIT_UNTIL:NUM_PERIODS])
    return dataclasses.replace(panel, units=units)


def inputs_of(panel: DemandPanel, config: DemandConfig = CONFIG) -> PanelInputs:
    return PanelInputs.from_panel(panel, config)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> DemandModel:
    directory = tmp_path_factory.mktemp("fitted")
    return fit_model(inputs_of(doubled()), CONFIG, fit_until=FIT_UNTIL, directory=directory, steps=50).model


def same(one: DemandModel, other: DemandModel) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_updated_when_sales_double_after_the_fit_then_it_follows_further_than_the_fitted_model(fitted):
    inputs, before = inputs_of(doubled()), {name: value.clone() for name, value in fitted.state_dict().items()}
    found = updated(fitted, inputs, origin=ORIGIN, config=CONFIG)
    expected = 2 * true_rates()[0][:, ORIGIN : ORIGIN + 7].sum()
    once, now = (forecast(model, inputs, ORIGIN).mean.sum() / expected for model in (fitted, found))
    # An item's level is its mean over eight weeks, five of which are from before: 1.375 of 2.
    assert once == pytest.approx(1.375 / 2, abs=0.1)
    assert abs(np.log(now)) < 0.5 * abs(np.log(once))
    assert not found.training
    assert all(torch.equal(value, before[name]) for name, value in fitted.state_dict().items())


def test_updated_when_the_future_is_replaced_then_equal_weights_bit_by_bit(fitted):
    panel = doubled()
    units = panel.units.copy()
    units[:, ORIGIN:] = 3 * units[:, ORIGIN:] + 1
    observed = {
        name: np.where(np.arange(NUM_PERIODS) < ORIGIN, values, -7.0) for name, values in panel.observed.items()
    }
    other = dataclasses.replace(panel, units=units, observed=observed)
    config = dataclasses.replace(CONFIG, update_steps=3)
    torch.manual_seed(0)
    found = updated(fitted, inputs_of(panel), origin=ORIGIN, config=config)
    torch.manual_seed(1)  # nor does it matter what was drawn before
    assert same(found, updated(fitted, inputs_of(other), origin=ORIGIN, config=config))
    assert not same(found, updated(fitted, inputs_of(other), origin=ORIGIN + 1, config=config))
    assert not same(found, updated(fitted, inputs_of(panel), origin=ORIGIN, config=dataclasses.replace(config, seed=1)))


def test_updated_when_no_steps_are_asked_then_the_model_as_it_is(fitted):
    config = dataclasses.replace(CONFIG, update_steps=0)
    assert same(updated(fitted, inputs_of(doubled()), origin=ORIGIN, config=config), fitted)


@pytest.mark.parametrize("name", ["update_learning_rate", "update_horizons", "update_steps"])
def test_config_when_an_update_makes_no_sense_then_says_which_setting(name):
    with pytest.raises(ConfigError, match=name):
        small_config(**{name: -1})


def test_up_to_date_when_asked_then_updated_a_horizon_apart_and_only_then(fitted):
    inputs, config = inputs_of(doubled()), dataclasses.replace(CONFIG, update_steps=2)
    models = UpToDate(fitted=fitted, inputs=inputs, config=config, first=FIT_UNTIL)
    assert models(FIT_UNTIL - 3) is models(FIT_UNTIL) is models(FIT_UNTIL + 6) is fitted
    second = models(FIT_UNTIL + 7)
    assert models(FIT_UNTIL + 13) is second
    assert same(second, updated(fitted, inputs, origin=FIT_UNTIL + 7, config=config))
    assert not same(second, models(FIT_UNTIL + 14))


def test_rolling_forecaster_when_a_window_is_past_then_it_was_forecast_by_the_model_of_its_own_time(fitted):
    inputs, config = inputs_of(doubled()), dataclasses.replace(CONFIG, update_steps=5)
    rolling = RollingForecaster.of(fitted, inputs, config, first=FIT_UNTIL, until=ORIGIN)
    assert [window.origin for window in rolling.calibration.windows] == [FIT_UNTIL, FIT_UNTIL + 7, FIT_UNTIL + 14]
    for window in rolling.calibration.windows:
        own = updated(fitted, inputs, origin=window.origin, config=config) if window.origin > FIT_UNTIL else fitted
        said = (
            forecast(own, inputs, window.origin).totals.total_quantiles(np.full(inputs.num_items, 7), (0.5,))[0].sum()
        )
        sold = np.nansum(inputs.targets_at(window.origin).numpy())
        assert window.ratio is not None
        assert window.ratio.log_ratio == pytest.approx(np.log(sold / said), abs=0.01)
    model, level = rolling.models(ORIGIN), rolling.calibration(ORIGIN)
    np.testing.assert_array_equal(
        rolling(ORIGIN).quantiles, forecast(model, inputs, ORIGIN, calibration=level).quantiles
    )
    raw = forecast(model, inputs, ORIGIN).quantiles
    np.testing.assert_array_equal(rolling.uncalibrated(ORIGIN).quantiles, raw)
    # What is kept for promotions is asked as the report was.
    kept = EvaluatedModel(model=fitted, inputs=inputs_of(doubled(), config), calibration=None)
    np.testing.assert_array_equal(kept.forecast(ORIGIN).quantiles, raw)
