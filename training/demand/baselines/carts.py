"""Linear regression on the cart count: what an analyst would try first where a shop logs its carts.

Shapes: I items, T past periods, H horizon.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.demand.baselines.negative_binomial import dispersion, negative_binomial
from training.demand.forecast import Forecast

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class CartRegression:
    """Mean units of the next periods as a line in the mean carts of the last ones; one line for all items.

    Fitted by least squares at each origin, on every past origin whose horizon is over. One line, since few items
    have seen enough carts for one of their own. Quantiles are those of a negative binomial around the line, with the
    dispersion of its past errors by item; totals are of independent periods.

    Args:
        horizon: H.
        span: periods whose carts are counted.
    """

    horizon: int
    span: int
    name: str = "cart_regression"

    def __call__(self, units: Floats, carts: Floats) -> Forecast:
        """Return the forecast after ``units`` and ``carts``, ``[I, T]`` both, NaN where nothing is known."""
        recent = _trailing_mean(carts, self.span)  # [I, T + 1], by origin
        later = _leading_mean(units, self.horizon)  # [I, T - H + 1], by origin
        seen = np.where(np.isfinite(later), recent[:, : later.shape[1]], np.nan)
        intercept, slope = _line(seen, later)
        mean = np.maximum(intercept + slope * np.nan_to_num(recent), 0.0)
        alpha = dispersion(units, mean[:, :-1], axis=1)[:, None]
        ahead = np.repeat(mean[:, -1:], self.horizon, axis=1)
        return negative_binomial(ahead, alpha, total_alpha=alpha / np.arange(1, self.horizon + 1))


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Return intercept and slope over what is known of both; a flat line through the mean where ``x`` does not vary."""
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known].astype(float), y[known].astype(float)
    if not len(x):
        return 0.0, 0.0
    spread = np.square(x - x.mean()).sum()
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / spread) if spread > 0 else 0.0
    return float(y.mean() - slope * x.mean()), slope


def _trailing_mean(values: Floats, span: int) -> npt.NDArray[np.float64]:
    """Return the mean of what is known of the last ``span`` periods before each origin ``0 .. T``, NaN without any."""
    first = np.full((len(values), span), np.nan)
    return _mean_of_runs(np.concatenate([first, values], axis=1), span)


def _leading_mean(values: Floats, span: int) -> npt.NDArray[np.float64]:
    """Return the mean of what is known of the ``span`` periods from each origin ``0 .. T - span``."""
    return _mean_of_runs(values, span)


def _mean_of_runs(values: Floats, span: int) -> npt.NDArray[np.float64]:
    if values.shape[1] < span:
        return np.full((len(values), 0), np.nan)
    runs = np.lib.stride_tricks.sliding_window_view(values, span, axis=1)
    count = np.isfinite(runs).sum(axis=2)
    total = np.nansum(runs, axis=2, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
