"""Fit the calibration of a demand model on windows that it has not learnt from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from features.demand.calibration import DemandCalibration, LevelMap, PitBounds
from training.demand.backtesting import metrics
from training.demand.backtesting.backtest import Backtest
from training.demand.forecast import distributions
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.distributions import CountMixture
from training.demand.network.model import DemandModel

log = logging.getLogger(__name__)


def fit_calibration(model: DemandModel, inputs: PanelInputs, origins: Sequence[int]) -> DemandCalibration:
    """Return what makes the model's periods and totals cover what they promise, as far as these windows tell.

    Args:
        model: what it learnt from ends before the first origin.
        inputs: the panel.
        origins: of the held-out windows.
    """
    period, total = pit_bounds(model, inputs, origins)
    found = DemandCalibration(period=LevelMap.fit(period), total=LevelMap.fit(total))
    log.info(
        "demand: calibrated on %d windows; levels .1 and .9 are asked as %.3f and %.3f of periods, .9 as %.3f of totals",
        *(len(origins), *found.levels((0.1, 0.9), of="period"), *found.levels((0.9,), of="total")),
    )
    return found


def before_and_after(raw: Backtest, calibrated: Backtest, calibration: DemandCalibration) -> dict[str, Any]:
    """Return what the calibration changed on windows that it was not fitted to, as JSON.

    Returns:
        ``before`` and ``after``: PIT shares and the service of reorder points; ``period`` and ``total``: the maps.
    """
    return {
        "before": raw.pit.shares() | _service(raw),
        "after": calibrated.pit.shares() | _service(calibrated),
        **calibration.to_dict(),
    }


def _service(found: Backtest) -> dict[str, float]:
    known = np.isfinite(found.lead_total)
    values: dict[str, float] = {}
    for level in found.service_levels:
        points = found.reorder_points[..., found.levels.index(level)]
        served, stock = metrics.service(found.lead_total[known], points[known]) if known.any() else (0.0, 0.0)
        values |= {f"service{100 * level:g}": served, f"stock{100 * level:g}": stock}
    return values


def pit_bounds(model: DemandModel, inputs: PanelInputs, origins: Sequence[int]) -> tuple[PitBounds, PitBounds]:
    """Return where outcomes lay in the model's raw forecasts of periods and of totals, ``[I, W, H]`` both."""
    period, total = [], []
    for origin in origins:
        single, sums = distributions(model, inputs, origin)
        units = inputs.targets_at(origin).double()
        period.append(_bounds(single, units))
        total.append(_bounds(sums, units.cumsum(1)))  # unknown from the first unknown period on
    return _stacked(period), _stacked(total)


def _bounds(forecast: CountMixture, units: Tensor) -> PitBounds:
    low, high = (forecast.cdf(units - less).numpy()[:, None] for less in (1, 0))
    return PitBounds(low=low, high=high)


def _stacked(windows: Sequence[PitBounds]) -> PitBounds:
    return PitBounds(
        low=np.concatenate([one.low for one in windows], axis=1),
        high=np.concatenate([one.high for one in windows], axis=1),
    )
