"""Rolling-origin backtests: forecast, wait, compare.

Shapes: I items, W windows, H periods, L levels of reorder points.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.demand.calibration import DemandCalibration, PitBounds
from features.errors import DataError
from training.demand.backtesting import metrics
from training.demand.baselines.carts import CartRegression
from training.demand.baselines.croston import CrostonSba
from training.demand.baselines.simple import EmpiricalQuantiles, SeasonalNaive
from training.demand.boosted.pooled import AnyModel
from training.demand.forecast import Forecast, forecast
from training.demand.inputs.panel_inputs import PanelInputs

Floats = npt.NDArray[np.floating]
Forecaster = Callable[[int], Forecast]  # from an origin; reads nothing of units at or after it
Calibrations = Callable[[int], DemandCalibration]  # by origin, in the same way

# Periods that the empirical quantiles look back: eight weeks of days, twelve of weeks.
EMPIRICAL_SPANS: Final = {"D": 56, "W": 12}
CART_SPANS: Final = {"D": 7, "W": 4}  # periods whose carts are counted
CURVE_LEVELS: Final = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.875, 0.9, 0.925, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)


@dataclass(frozen=True, kw_only=True, eq=False)
class Backtest:
    """What one forecaster said in each window, and what came.

    Args:
        origins: first period of each window.
        actual: units, ``[I, W, H]``, NaN where unknown.
        mean: ``[I, W, H]``.
        quantiles: ``[I, W, H, 9]``.
        pit: where outcomes lay in their forecasts, ``[I, W, H]``: exactly where the forecaster gives probabilities,
            between two of its nine levels where it does not.
        lead_total: units sold over the lead time, ``[I, W]``, NaN where a period of it is unknown.
        levels: shares of lead times to be covered, rising, L.
        reorder_points: ``[I, W, L]``.
        service_levels: those of ``levels`` that are reported by name.
    """

    origins: tuple[int, ...]
    actual: Floats
    mean: Floats
    quantiles: Floats
    pit: PitBounds
    lead_total: Floats
    levels: tuple[float, ...]
    reorder_points: Floats
    service_levels: tuple[float, ...]

    def window(self, number: int) -> Backtest:
        """Return one window alone."""
        at = slice(number, number + 1)
        return dataclasses.replace(
            self,
            origins=self.origins[at],
            actual=self.actual[:, at],
            mean=self.mean[:, at],
            quantiles=self.quantiles[:, at],
            pit=PitBounds(low=self.pit.low[:, at], high=self.pit.high[:, at]),
            lead_total=self.lead_total[:, at],
            reorder_points=self.reorder_points[:, at],
        )

    def step(self, number: int) -> Backtest:
        """Return one period of each window, 0 being the first; lead times take more than one, so no service is left."""
        at = slice(number, number + 1)
        return dataclasses.replace(
            self,
            actual=self.actual[..., at],
            mean=self.mean[..., at],
            quantiles=self.quantiles[..., at, :],
            pit=PitBounds(low=self.pit.low[..., at], high=self.pit.high[..., at]),
            service_levels=(),
        )


def rolling_origins(num_periods: int, *, horizon: int, windows: int, stride: int | None = None) -> tuple[int, ...]:
    """Return the first period of each window; the last window ends with the panel.

    >>> rolling_origins(100, horizon=14, windows=3, stride=7)
    (72, 79, 86)

    Args:
        num_periods: T.
        horizon: periods of a window, H.
        windows: how many, W.
        stride: periods from one origin to the next; less than H makes windows overlap. H by default.

    Raises:
        DataError: the first window would begin before anything is known.
    """
    step = horizon if stride is None else stride
    if min(horizon, windows, step) < 1:
        raise DataError(
            f"Backtest: expected a horizon, windows and a stride of 1 or more, found {horizon}, {windows} and {step}."
        )
    first = num_periods - horizon - (windows - 1) * step
    if first < 1:
        raise DataError(
            f"Backtest: expected at least {num_periods - first + 1} periods for {windows} windows of {horizon} every "
            f"{step}, found {num_periods}; ask for fewer windows, or a shorter horizon or stride."
        )
    return tuple(first + number * step for number in range(windows))


def backtest(
    forecaster: Forecaster,
    inputs: PanelInputs,
    origins: Sequence[int],
    *,
    lead_periods: int,
    service_levels: tuple[float, ...],
) -> Backtest:
    """Ask a forecaster at each origin.

    Args:
        forecaster: what is tried.
        inputs: the whole panel, for what came afterwards.
        origins: first period of each window; windows may overlap.
        lead_periods: periods of the lead time, 1 .. H.
        service_levels: share of lead times to be covered by each reorder point; those of ``CURVE_LEVELS`` are
            asked for too.
    """
    levels = tuple(sorted({*service_levels, *CURVE_LEVELS}))
    lead = np.full(inputs.num_items, lead_periods)
    found, points, bounds, actual = [], [], [], []
    for origin in origins:
        one, units = forecaster(origin), inputs.targets_at(origin).numpy()
        found.append(one)
        actual.append(units)
        points.append(one.totals.total_quantiles(lead, levels)[1])
        bounds.append(_pit(one, units))
    units = np.stack(actual, axis=1)
    low, high = (np.stack(side, axis=1) for side in zip(*bounds, strict=True))
    return Backtest(
        origins=tuple(origins),
        actual=units,
        mean=np.stack([one.mean for one in found], axis=1),
        quantiles=np.stack([one.quantiles for one in found], axis=1),
        pit=PitBounds(low=low, high=high),
        lead_total=units[..., :lead_periods].sum(axis=2),
        levels=levels,
        reorder_points=np.stack(points, axis=1),
        service_levels=tuple(service_levels),
    )


def _pit(found: Forecast, units: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    if found.cdf is None:
        return metrics.pit_between(units, found.quantiles)
    return found.cdf(units - 1), found.cdf(units)


def model_forecaster(
    model: AnyModel, inputs: PanelInputs, *, calibration: DemandCalibration | Calibrations | None = None
) -> Forecaster:
    """Return the model as a forecaster; its weights stay, its context moves with the origin.

    Args:
        model: trained.
        inputs: the panel.
        calibration: one for all origins, or what gives each origin its own.
    """

    def at(origin: int) -> Forecast:
        found = calibration(origin) if callable(calibration) else calibration
        return forecast(model, inputs, origin, calibration=found)

    return at


def baseline_forecasters(inputs: PanelInputs, *, carts: Floats | None = None) -> dict[str, Forecaster]:
    """Return the baselines that cost next to nothing, by name.

    Args:
        inputs: the panel.
        carts: add-to-carts ``[I, T]``, where the panel has them; only those before an origin are read.
    """
    units, horizon = inputs.units.numpy(), inputs.config.horizon
    span = EMPIRICAL_SPANS[inputs.frequency]
    naive = SeasonalNaive(horizon=horizon, season=season_periods(inputs))
    empirical = EmpiricalQuantiles(horizon=horizon, span=span)
    croston = CrostonSba(horizon=horizon)
    found: dict[str, Forecaster] = {
        naive.name: lambda origin: naive(units[:, :origin]),
        empirical.name: lambda origin: empirical(units[:, :origin]),
        croston.name: lambda origin: croston(units[:, :origin]),
    }
    if carts is not None:
        regression = CartRegression(horizon=horizon, span=CART_SPANS[inputs.frequency])
        found[regression.name] = lambda origin: regression(units[:, :origin], carts[:, :origin])
    return found


def season_periods(inputs: PanelInputs) -> int:
    """Return the periods of the seasonal naive forecast: 1, the last value, where the panel is too short for a season."""
    return max(1, inputs.sums.season)
