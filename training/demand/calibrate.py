"""Where outcomes lay in a demand model's forecasts, and what calibration changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from features.demand.calibration import DemandCalibration, PitBounds
from training.demand.backtesting import metrics
from training.demand.backtesting.backtest import Backtest
from training.demand.boosted.pooled import AnyModel
from training.demand.forecast import distributions
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.distributions import CountMixture


def before_and_after(raw: Backtest, calibrated: Backtest, calibration: DemandCalibration) -> dict[str, Any]:
    """Return what calibration changed on windows whose outcomes it did not know, as JSON.

    Returns:
        ``before`` and ``after``: PIT shares and the service of reorder points; ``period``, ``total`` and ``level``: the
        calibration that the next forecast is read through.
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


def pit_bounds(model: AnyModel, inputs: PanelInputs, origins: Sequence[int]) -> tuple[PitBounds, PitBounds]:
    """Return where outcomes lay in the model's raw forecasts of periods and of totals, ``[I, W, H]`` both."""
    period, total = [], []
    for origin in origins:
        single, sums = distributions(model, inputs, origin)
        units = inputs.targets_at(origin).double()
        period.append(bounds_at(single, units))
        total.append(bounds_at(sums, units.cumsum(1)))  # unknown from the first unknown period on
    return stacked(period), stacked(total)


def bounds_at(forecast: CountMixture, units: Tensor) -> PitBounds:
    """Return where the units ``[I, H]`` of one window lay in its forecast, ``[I, 1, H]``."""
    low, high = (forecast.cdf(units - less).numpy()[:, None] for less in (1, 0))
    return PitBounds(low=low, high=high)


def stacked(windows: Sequence[PitBounds]) -> PitBounds:
    """Return the windows of several bounds side by side, ``[I, W, N]``."""
    return PitBounds(
        low=np.concatenate([one.low for one in windows], axis=1),
        high=np.concatenate([one.high for one in windows], axis=1),
    )
