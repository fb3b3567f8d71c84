"""Croston's method for items that sell rarely, with the Syntetos-Boylan correction.

Shapes: I items, T past periods, H horizon.

Source: Croston 1972; Syntetos and Boylan 2005, "The accuracy of intermittent demand estimates", IJF 21(2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.demand.baselines.negative_binomial import dispersion, negative_binomial
from training.demand.forecast import Forecast

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class CrostonSba:
    """Smoothed size of a sale by smoothed periods between sales, less the correction; flat over the horizon.

    Croston gives a mean alone. Its quantiles are those of a negative binomial around it, whose dispersion is each
    item's own by moments of the one-step errors of the past; totals are of independent periods.

    Args:
        horizon: H.
        smoothing: weight of the newest sale, in (0, 1]; 0.1 is the usual choice, and statsforecast's.
    """

    horizon: int
    smoothing: float = 0.1
    name: str = "croston_sba"

    def __call__(self, units: Floats) -> Forecast:
        """Return the forecast after ``units`` ``[I, T]``, NaN where nothing is known."""
        steps = croston_sba(units, self.smoothing)  # [I, T + 1]
        alpha = dispersion(units, steps[:, :-1], axis=1)[:, None]
        mean = np.repeat(steps[:, -1:], self.horizon, axis=1)
        # Var of k independent periods = k m + a k m² = M + (a / k) M², with M = k m.
        return negative_binomial(mean, alpha, total_alpha=alpha / np.arange(1, self.horizon + 1))


def croston_sba(units: Floats, smoothing: float) -> npt.NDArray[np.float64]:
    """Return the forecast of each period from those before it, ``[I, T + 1]``; the last is of what comes next.

    An unknown period leaves everything as it was: no time passes in it. 0 until something has sold.

    Args:
        units: ``[I, T]``, NaN where nothing is known.
        smoothing: weight of the newest sale.
    """
    items, periods = units.shape
    size, interval = np.zeros(items), np.zeros(items)
    waited = np.zeros(items)  # known periods since the last sale
    found = np.zeros((items, periods + 1))
    for period in range(periods):
        now = units[:, period]
        waited += np.isfinite(now)
        sold, first = now > 0, interval == 0
        size = np.where(sold, np.where(first, now, size + smoothing * (now - size)), size)
        interval = np.where(sold, np.where(first, waited, interval + smoothing * (waited - interval)), interval)
        waited[sold] = 0
        found[:, period + 1] = (1 - smoothing / 2) * size / np.maximum(interval, 1)
    return found
