"""Measures of forecasts: the field's definitions, over whole arrays.

Shapes: ``actual`` ``[..., H]`` with NaN where nothing is known, ``mean`` alike, ``quantiles`` ``[..., H, Q]``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from features.release.layout import QUANTILES

Floats = npt.NDArray[np.floating]

_LEVELS = np.array(QUANTILES)
_MEDIAN = QUANTILES.index(0.5)


def pinball(actual: Floats, quantiles: Floats) -> npt.NDArray[np.float64]:
    """Return twice the pinball loss, averaged over the levels, ``[..., H]``; NaN where nothing is known.

    >>> pinball(np.array([10.0]), np.full((1, 9), 8.0)).round(3).tolist()
    [2.0]
    """
    error = np.asarray(actual, np.float64)[..., None] - quantiles
    return (2 * np.maximum(_LEVELS * error, (_LEVELS - 1) * error)).mean(axis=-1)


def wql(actual: Floats, quantiles: Floats) -> float:
    """Return the weighted quantile loss: twice the summed pinball loss by units sold, mean over 0.1 .. 0.9."""
    return float(np.nansum(pinball(actual, quantiles)) / np.nansum(actual))


def wape(actual: Floats, quantiles: Floats) -> float:
    """Return the absolute error of the median by units sold."""
    return float(np.nansum(np.abs(actual - quantiles[..., _MEDIAN])) / np.nansum(actual))


def bias(actual: Floats, mean: Floats) -> float:
    """Return how far the mean forecast is above what was sold, as a share of it."""
    return float(np.nansum(np.where(np.isfinite(actual), mean, 0)) / np.nansum(actual) - 1)


def rmsse(actual: Floats, mean: Floats, past: Floats) -> float:
    """Return the root mean squared scaled error, mean over series (Hyndman and Koehler 2006; M5).

    Args:
        actual: ``[I, N]``.
        mean: ``[I, N]``.
        past: what was known before the first forecast, ``[I, T]``; its squared steps are the scale. Series
            without a step are left out.
    """
    values, counted = rmsse_of_series(actual, mean, past)
    return float(values[counted].mean())


def rmsse_of_series(
    actual: Floats, mean: Floats, past: Floats
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return each series' root mean squared scaled error, ``[I]``, and which of them have one."""
    scale, known = row_means(np.square(np.diff(past, axis=1)))
    error, asked = row_means(np.square(actual - mean))
    counted = known & asked & (scale > 0)
    return np.where(counted, np.sqrt(error / np.where(counted, scale, 1.0)), 0.0), counted


def pit80(actual: Floats, quantiles: Floats) -> float:
    """Return the expected share of randomised PIT values within [0.1, 0.9]; 0.8 for a calibrated forecast.

    A count that equals quantiles .1 to .5 has a PIT somewhere in (0, .6): what is known is the largest level
    below it and the smallest above it. The share of that span within [.1, .9] is counted, so nothing is drawn.
    (Czado, Gneiting, Held 2009, "Predictive model assessment for count data".)

    >>> pit80(np.array([0.0]), np.array([[0, 0, 0, 0, 0, 1, 1, 2, 3.0]])).__round__(4)
    0.8333
    """
    known = np.isfinite(actual)
    low, high = pit_between(actual[known], quantiles[known])
    inside = np.clip(high, 0.1, 0.9) - np.clip(low, 0.1, 0.9)
    return float((inside / (high - low)).mean())


def pit_between(actual: Floats, quantiles: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return what nine quantiles say of where an outcome's PIT lies: two levels, shaped like ``actual``; NaN where unknown.

    >>> [level.tolist() for level in pit_between(np.array([1.0]), np.array([[0, 0, 0, 0, 0, 1, 1, 2, 3.0]]))]
    [[0.5], [0.8]]
    """
    units = np.asarray(actual)[..., None]
    low = np.where(quantiles < units, _LEVELS, 0.0).max(axis=-1)
    high = np.where(quantiles > units, _LEVELS, 1.0).min(axis=-1)
    known = np.isfinite(actual)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def scaled_pinball(
    actual: Floats, quantiles: Floats, past: Floats, *, season: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return each series' scaled pinball loss, ``[I]``, and which of them have one.

    The pinball loss, mean over levels and periods, by the mean absolute error that the seasonal naive forecast
    made in the past (M5's uncertainty track has the same with a season of 1: Makridakis et al. 2022).

    Args:
        actual: ``[I, N]``.
        quantiles: ``[I, N, Q]``.
        past: what was known before the first forecast, ``[I, T]``.
        season: periods, 1 or more.
    """
    scale, known = row_means(np.abs(past[:, season:] - past[:, :-season]))
    loss, asked = row_means(pinball(actual, quantiles) / 2)
    counted = known & asked & (scale > 0)
    return np.where(counted, loss / np.where(counted, scale, 1.0), 0.0), counted


def service(total: Floats, reorder_point: Floats) -> tuple[float, float]:
    """Return the share of lead times that the reorder point covers, and the mean units it holds, over known totals."""
    known = np.isfinite(total)
    return float((total[known] <= reorder_point[known]).mean()), float(reorder_point[known].mean())


def row_means(values: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the mean of what is known in each row, ``[I]``, and which rows know anything."""
    count = np.isfinite(values).sum(axis=1)
    return np.nansum(values, axis=1, dtype=np.float64) / np.maximum(count, 1), count > 0
