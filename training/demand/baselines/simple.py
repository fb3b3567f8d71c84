"""Honest baselines: what anyone can compute from past units alone."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from features.release.layout import QUANTILES
from training.demand.forecast import Forecast

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class EmpiricalQuantiles:
    """Every future period is like a random one of the last ``span``: the gate that a model has to pass.

    Args:
        horizon: H.
        span: periods looked back.
    """

    horizon: int
    span: int
    name: str = "empirical_quantiles"

    def __call__(self, units: Floats) -> Forecast:
        """Return the forecast after ``units`` ``[I, T]``, NaN where nothing is known."""
        recent = _with_a_value(units[:, -self.span :])
        quantiles = np.nanquantile(recent, QUANTILES, axis=1).T.astype(np.float32)  # [I, 9]
        mean = np.nanmean(recent, axis=1).astype(np.float32)
        return Forecast(
            mean=np.repeat(mean[:, None], self.horizon, axis=1),
            quantiles=np.repeat(quantiles[:, None], self.horizon, axis=1),
            totals=EmpiricalTotals(recent=recent),
        )


@dataclass(frozen=True, kw_only=True)
class SeasonalNaive:
    """Every future period is like the same phase of the last season, with the normal spread of such guesses.

    The variance grows with the number of seasons ahead (Hyndman and Athanasopoulos, "Forecasting", 5.5).

    Args:
        horizon: H.
        season: periods in a season; 1 repeats the last period.
    """

    horizon: int
    season: int
    name: str = "seasonal_naive"

    def __call__(self, units: Floats) -> Forecast:
        """Return the forecast after ``units`` ``[I, T]``, NaN where nothing is known."""
        filled = np.nan_to_num(units)
        steps = np.arange(self.horizon)
        mean = filled[:, units.shape[1] - self.season + steps % self.season]
        errors = units[:, self.season :] - units[:, : -self.season]
        spread = np.sqrt(np.nanmean(np.square(_with_a_value(errors)), axis=1))  # [I]
        scale = spread[:, None] * np.sqrt(steps // self.season + 1)  # [I, H]
        normal = np.array([NormalDist().inv_cdf(level) for level in QUANTILES])
        quantiles = np.maximum(mean[..., None] + scale[..., None] * normal, 0).astype(np.float32)
        return Forecast(mean=mean, quantiles=quantiles, totals=NormalTotals(mean=mean, scale=scale))


@dataclass(frozen=True, kw_only=True, eq=False)
class EmpiricalTotals:
    """Totals of every run of so many periods in the recent past, ``[I, span]``."""

    recent: npt.NDArray[np.floating]

    def total_quantiles(self, periods: npt.NDArray[np.integer], levels: tuple[float, ...]) -> tuple[Floats, Floats]:
        """Return mean ``[I]`` and quantiles ``[I, Q]`` of the total of the next ``periods`` ``[I]``."""
        mean = np.empty(len(periods), np.float32)
        quantiles = np.empty((len(periods), len(levels)), np.float32)
        for length in np.unique(periods):
            rows = periods == length
            runs = np.lib.stride_tricks.sliding_window_view(self.recent[rows], length, axis=1).sum(axis=2)
            runs = _with_a_value(runs)
            mean[rows] = np.nanmean(runs, axis=1)
            quantiles[rows] = np.ceil(np.nanquantile(runs, levels, axis=1, method="inverted_cdf")).T
        return mean, quantiles


@dataclass(frozen=True, kw_only=True, eq=False)
class NormalTotals:
    """Gaussian safety stock: sums of means and of variances, ``[I, H]`` both."""

    mean: npt.NDArray[np.floating]
    scale: npt.NDArray[np.floating]

    def total_quantiles(self, periods: npt.NDArray[np.integer], levels: tuple[float, ...]) -> tuple[Floats, Floats]:
        """Return mean ``[I]`` and quantiles ``[I, Q]`` of the total of the next ``periods`` ``[I]``."""
        cell = (np.arange(len(periods)), periods - 1)
        mean = self.mean.cumsum(axis=1)[cell].astype(np.float32)
        scale = np.sqrt(np.square(self.scale).cumsum(axis=1)[cell])
        normal = np.array([NormalDist().inv_cdf(level) for level in levels])
        return mean, np.ceil(np.maximum(mean[:, None] + scale[:, None] * normal, 0)).astype(np.float32)


def _with_a_value(values: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return the rows with zeros in those that hold nothing: an item that was never seen sells nothing."""
    return np.where(np.isfinite(values).any(axis=1)[:, None], values, 0.0)
