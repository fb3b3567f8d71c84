"""Counts around a mean: what turns a forecast of the mean into quantiles.

Shapes: I items, H periods, Q levels.

``Var[Y] = m + a m²``; ``a = 0`` is the Poisson distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from features.release.layout import QUANTILES
from training.demand.forecast import Forecast

Floats = npt.NDArray[np.floating]

_LEAST: Final = 1e-6  # a mean or a dispersion below this says nothing that a count could show


def dispersion(actual: Floats, mean: Floats, *, axis: int | tuple[int, ...] | None = None) -> npt.NDArray[np.float64]:
    """Return ``a`` by moments, ``sum((y - m)² - m) / sum(m²)`` over what is known, never below 0.

    Args:
        actual: units, NaN where unknown.
        mean: forecasts of them, of the same shape.
        axis: summed over; all of them by default.
    """
    known = np.isfinite(actual)
    excess = np.where(known, np.square(actual - mean) - mean, 0.0).sum(axis=axis, dtype=np.float64)
    square = np.where(known, np.square(mean), 0.0).sum(axis=axis, dtype=np.float64)
    return np.maximum(excess / np.maximum(square, _LEAST), 0.0)


def counts(mean: Floats, alpha: Floats | float, levels: tuple[float, ...]) -> npt.NDArray[np.float32]:
    """Return the smallest count that is enough with each probability, ``[..., Q]``."""
    size, chance = _parameters(mean, alpha)
    found = stats.nbinom.ppf(np.array(levels), size[..., None], chance[..., None])
    return np.asarray(found, np.float32)


def negative_binomial(mean: Floats, alpha: Floats | float, *, total_alpha: Floats) -> Forecast:
    """Return a forecast of counts around a mean.

    Args:
        mean: ``[I, H]``.
        alpha: dispersion of single periods, broadcast to ``[I, H]``.
        total_alpha: dispersion of the totals of the first 1 .. H periods, broadcast to ``[I, H]``.
    """
    mean = np.asarray(mean, np.float64)

    def cdf(units: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        size, chance = _parameters(mean, alpha)
        return np.where(np.isfinite(units), stats.nbinom.cdf(np.nan_to_num(units), size, chance), np.nan)

    return Forecast(
        mean=mean.astype(np.float32),
        quantiles=counts(mean, alpha, QUANTILES),
        totals=NegativeBinomialTotals(mean=mean, alpha=np.broadcast_to(total_alpha, mean.shape)),
        cdf=cdf,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class NegativeBinomialTotals:
    """Totals of the first 1 .. H periods: means add up, the dispersion is the total's own, ``[I, H]`` both."""

    mean: Floats
    alpha: Floats

    def total_quantiles(
        self, periods: npt.NDArray[np.integer], levels: tuple[float, ...]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return mean ``[I]`` and quantiles ``[I, Q]`` of the total of the next ``periods`` ``[I]``."""
        cell = (np.arange(len(periods)), periods - 1)
        mean = self.mean.cumsum(axis=1)[cell]
        return mean.astype(np.float32), counts(mean, self.alpha[cell], levels)


def _parameters(mean: Floats, alpha: Floats | float) -> tuple[Floats, Floats]:
    """Return scipy's size and chance of ``mean``'s shape."""
    mean = np.maximum(np.asarray(mean, np.float64), _LEAST)
    size = 1 / np.maximum(np.broadcast_to(alpha, mean.shape), _LEAST)
    return size, size / (size + mean)
