import numpy as np
import pytest
import torch

from features.demand.calibration import DemandCalibration, PitBounds
from features.release.layout import QUANTILES
from tests.training.demand_worlds import NUM_ITEMS, NUM_PERIODS, poisson_panel, small_config
from training.demand.calibrate import pit_bounds
from training.demand.forecast import distributions, forecast
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.model import DemandModel
from training.demand.rolling import RollingCalibration

EARLIER = tuple(NUM_PERIODS - 7 * back for back in (8, 7, 6, 5))
LATER = tuple(NUM_PERIODS - 7 * back for back in (4, 3, 2, 1))


@pytest.fixture(scope="module")
def untrained() -> tuple[DemandModel, PanelInputs]:
    """A network that has learnt nothing: right on the level, wrong on the spread."""
    config = small_config(hidden_size=8)
    inputs = PanelInputs.from_panel(poisson_panel(), config)
    torch.manual_seed(0)
    return DemandModel(inputs.sizes, config).eval(), inputs


def fitted_before(origin: int, model: DemandModel, inputs: PanelInputs) -> DemandCalibration:
    return RollingCalibration.of(lambda _: model, inputs, first=EARLIER[0], until=origin)(origin)


def bounds_of(model, inputs, origins, calibration) -> tuple[PitBounds, PitBounds]:
    """PIT bounds as a reader of the forecasts' own CDFs finds them."""
    period, total = [], []
    for origin in origins:
        found, units = forecast(model, inputs, origin, calibration=calibration), inputs.targets_at(origin).numpy()
        period.append([found.cdf(units - 1), found.cdf(units)])
        sums = units.cumsum(axis=1)
        at = [np.full(len(units), length) for length in range(1, units.shape[1] + 1)]
        total.append(
            [
                np.stack([found.totals.total_cdf(lead, sums[:, i] - less) for i, lead in enumerate(at)], 1)
                for less in (1, 0)
            ]
        )
    return tuple(PitBounds(low=low, high=high) for low, high in (np.stack(one, axis=2) for one in (period, total)))


def test_calibration_when_fitted_on_earlier_windows_then_later_ones_are_calibrated(untrained):
    model, inputs = untrained
    calibration = fitted_before(LATER[0], model, inputs)
    for raw, mended in zip(pit_bounds(model, inputs, LATER), bounds_of(model, inputs, LATER, calibration), strict=True):
        assert abs(raw.shares()["pit80"] - 0.8) > 0.06
        assert _departure(mended) < 0.5 * _departure(raw)


def _departure(found: PitBounds) -> float:
    levels = np.array(QUANTILES)
    return float(np.abs([np.nanmean(found.share_below(level)) - level for level in levels]).max())


def test_forecast_when_not_calibrated_then_its_cdf_is_that_of_the_mixture(untrained):
    model, inputs = untrained
    for expected, found in zip(
        pit_bounds(model, inputs, LATER[:2]), bounds_of(model, inputs, LATER[:2], None), strict=True
    ):
        np.testing.assert_allclose(found.low, expected.low)
        np.testing.assert_allclose(found.high, expected.high)


def test_forecast_when_calibrated_then_quantiles_are_the_smallest_counts_whose_calibrated_cdf_reaches_the_level(
    untrained,
):
    model, inputs = untrained
    calibration = fitted_before(LATER[0], model, inputs)
    raw, found = (forecast(model, inputs, LATER[0], calibration=one) for one in (None, calibration))
    for column, level in enumerate(QUANTILES):
        units = found.quantiles[..., column]
        assert (found.cdf(units) >= level - 1e-6).all()
        assert (found.cdf(units - 1) < level + 1e-6).all()
    lead = np.arange(NUM_ITEMS) % 7 + 1
    mean, points = found.totals.total_quantiles(lead, (0.9, 0.99))
    for column, level in enumerate((0.9, 0.99)):
        assert (found.totals.total_cdf(lead, points[:, column]) >= level - 1e-6).all()
        assert (found.totals.total_cdf(lead, points[:, column] - 1) < level + 1e-6).all()
    factor = np.exp(calibration.level)
    np.testing.assert_allclose(mean, factor * raw.totals.total_quantiles(lead, (0.5,))[0], rtol=1e-5)
    np.testing.assert_allclose(found.mean, factor * raw.mean, rtol=1e-5)
    assert (found.quantiles != raw.quantiles).any()


def test_forecast_when_the_calibration_is_the_identity_then_as_without(untrained):
    model, inputs = untrained
    with_it, without = (forecast(model, inputs, LATER[0], calibration=one) for one in (DemandCalibration(), None))
    np.testing.assert_array_equal(with_it.quantiles, without.quantiles)


def test_distributions_when_the_model_is_training_then_left_so_and_asked_without_dropout(untrained):
    model, inputs = untrained
    model.train()
    first, again = (distributions(model, inputs, LATER[0])[0] for _ in range(2))
    assert torch.equal(first.log_mean, again.log_mean)
    assert model.training
    model.eval()


def test_pit_bounds_when_a_period_is_unknown_then_totals_are_from_there_on(untrained):
    model, inputs = untrained
    period, total = pit_bounds(model, inputs, (18,))  # units of item 0 are missing up to period 20
    assert np.isnan(period.low[0, 0, :2]).all()
    assert np.isfinite(period.low[0, 0, 2:]).all()
    assert np.isnan(total.high[0, 0]).all()
    assert np.isfinite(total.high[1:]).all()
