"""Rolling-origin backtests: forecast, wait, compare; beside baselines and with paired intervals.

Shapes: I items, W windows, H periods, Q service levels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.demand import metrics
from training.demand.baselines import EmpiricalQuantiles, SeasonalNaive
from training.demand.forecast import Forecast, forecast
from training.demand.inputs import PanelInputs
from training.demand.model import DemandModel
from training.evaluation.bootstrap import Interval, resampled_means

Floats = npt.NDArray[np.floating]
Forecaster = Callable[[int], Forecast]  # from an origin; reads nothing of units at or after it

# Periods that the empirical quantiles look back: eight weeks of days, twelve of weeks.
EMPIRICAL_SPANS = {"D": 56, "W": 12}
RESAMPLES = 1000  # draws of series behind an interval


@dataclass(frozen=True, kw_only=True, eq=False)
class Backtest:
    """What one forecaster said in each window, and what came.

    Args:
        origins: first period of each window.
        actual: units, ``[I, W, H]``, NaN where unknown.
        mean: ``[I, W, H]``.
        quantiles: ``[I, W, H, 9]``.
        lead_total: units sold over the lead time, ``[I, W]``, NaN where a period of it is unknown.
        reorder_points: ``[I, W, Q]``.
    """

    origins: tuple[int, ...]
    actual: Floats
    mean: Floats
    quantiles: Floats
    lead_total: Floats
    reorder_points: Floats


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
        origins: first period of each window.
        lead_periods: periods of the lead time, 1 .. H.
        service_levels: share of lead times to be covered by each reorder point.
    """
    found = [forecaster(origin) for origin in origins]
    actual = np.stack([inputs.targets_at(origin).numpy() for origin in origins], axis=1)
    lead = np.full(inputs.num_items, lead_periods)
    points = [one.totals.total_quantiles(lead, service_levels)[1] for one in found]
    return Backtest(
        origins=tuple(origins),
        actual=actual,
        mean=np.stack([one.mean for one in found], axis=1),
        quantiles=np.stack([one.quantiles for one in found], axis=1),
        lead_total=actual[..., :lead_periods].sum(axis=2),
        reorder_points=np.stack(points, axis=1),
    )


def model_forecaster(model: DemandModel, inputs: PanelInputs) -> Forecaster:
    """Return the model as a forecaster; its weights stay, its context moves with the origin."""
    return lambda origin: forecast(model, inputs, origin)


def baseline_forecasters(inputs: PanelInputs) -> dict[str, Forecaster]:
    """Return seasonal naive and empirical quantiles by name."""
    units, horizon = inputs.units.numpy(), inputs.config.horizon
    span = EMPIRICAL_SPANS[inputs.frequency]
    naive = SeasonalNaive(horizon=horizon, season=max(1, inputs.sums.season))
    empirical = EmpiricalQuantiles(horizon=horizon, span=span)
    return {
        naive.name: lambda origin: naive(units[:, :origin]),
        empirical.name: lambda origin: empirical(units[:, :origin]),
    }


def summary(found: Backtest, inputs: PanelInputs, service_levels: tuple[float, ...]) -> dict[str, float]:
    """Return the headline metrics of a backtest over all its windows."""
    past = inputs.units[:, : found.origins[0]].numpy()
    flat = (inputs.num_items, -1)
    values = {
        "wql": metrics.wql(found.actual, found.quantiles),
        "wape": metrics.wape(found.actual, found.quantiles),
        "rmsse": metrics.rmsse(found.actual.reshape(flat), found.mean.reshape(flat), past),
        "bias": metrics.bias(found.actual, found.mean),
        "pit80": metrics.pit80(found.actual, found.quantiles),
    }
    for column, level in enumerate(service_levels):
        name = f"{100 * level:.0f}"
        served, stock = metrics.service(found.lead_total, found.reorder_points[..., column])
        values |= {f"service{name}": served, f"stock{name}": stock}
    return values


def wql_intervals(
    found: Mapping[str, Backtest], *, against: str, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """Return each forecaster's WQL, and its WQL less that of ``against``, with intervals over series.

    One draw of series serves all forecasters, so differences are paired.
    """
    units = _per_series(found[against].actual)
    losses = [_per_series(metrics.pinball(one.actual, one.quantiles)) for one in found.values()]
    columns = np.stack([units, *losses], axis=1)
    draws = resampled_means(columns, resamples=resamples, seed=seed)
    point, ratios = columns[:, 1:].sum(0) / units.sum(), draws[:, 1:] / draws[:, :1]
    base = list(found).index(against)
    alone = {name: _interval(point[i], ratios[:, i]) for i, name in enumerate(found)}
    less = {
        name: _interval(point[i] - point[base], ratios[:, i] - ratios[:, base])
        for i, name in enumerate(found)
        if i != base
    }
    return alone, less


def _per_series(values: Floats) -> npt.NDArray[np.float64]:
    return np.nansum(values, axis=(1, 2), dtype=np.float64)


def _interval(mean: float, draws: Floats) -> Interval:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(mean=float(mean), low=float(low), high=float(high))
