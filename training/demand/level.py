"""How much more, or less, a shop sells than its forecasts say: the level to go on with.

Forecasts of all items err together: for weeks on end a shop may sell more than a model expects that has learnt from the
months before. The sum of a week's sales by the sum of its forecasts tells, and is known as soon as the week is over.
Each such ratio is part level, which stays, and part chance, which is gone the next week. Simple exponential smoothing
follows the level with a gain between 0 (all is chance) and 1 (the last week is the level). Which gain is right
depends on the shop, and a few weeks cannot tell: so every gain forecasts the weeks that came, and the level is the mean
over gains, each weighed by how well it did (the posterior mean of a local level model with an even prior on its gain;
Hyndman, Koehler, Ord, Snyder 2008, "Forecasting with Exponential Smoothing", simple smoothing with Gaussian errors).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_GAINS: Final = np.linspace(0, 1, 21)
_NO_ERROR: Final = 1e-12


@dataclass(frozen=True, kw_only=True)
class WeekRatio:
    """What a week sold by what was expected.

    Args:
        log_ratio: logarithm of units sold by units expected, over all items.
        variance: of ``log_ratio``, as far as items err on their own.
    """

    log_ratio: float
    variance: float

    @classmethod
    def of(cls, sold: npt.NDArray[np.floating], expected: npt.NDArray[np.floating]) -> WeekRatio | None:
        """Compare a week's units with their forecasts, ``[I]`` both; NaN where unknown.

        Returns:
            ``None`` where nothing is known, sold or expected: such a week tells no level.
        """
        known = np.isfinite(sold)
        units, means = sold[known].astype(float), expected[known].astype(float)
        if not (units.sum() > 0 and means.sum() > 0):
            return None
        ratio = units.sum() / means.sum()
        variance = np.square(units - ratio * means).sum() / units.sum() ** 2
        return cls(log_ratio=float(np.log(ratio)), variance=float(variance))


def level_after(weeks: Sequence[WeekRatio]) -> float:
    """Return the logarithm of the factor to expect of the weeks to come; 0 after less than two weeks.

    The weeks' departures are drawn to 0 by the share of them that items erring on their own would make: a shop of a
    few items has ratios far from 1 that mean nothing (the positive-part factor of James and Stein 1961).

    >>> steady = [WeekRatio(log_ratio=0.1, variance=0.0)] * 6
    >>> round(level_after(steady), 2)
    0.1

    Args:
        weeks: one after the other, oldest first, forecast by a model that had not learnt from them.
    """
    if len(weeks) < 2:
        return 0.0
    ratios = np.array([week.log_ratio for week in weeks])
    squares = float(np.square(ratios).sum())
    if squares < _NO_ERROR:
        return 0.0
    believed = max(0.0, 1.0 - sum(week.variance for week in weeks) / squares)
    return believed * _smoothed(ratios)


def _smoothed(ratios: Floats) -> float:
    """Return the mean of the levels that the gains arrive at, each weighed by the likelihood of the ratios under it."""
    level, squares = np.zeros_like(_GAINS), np.zeros_like(_GAINS)
    for ratio in ratios:
        squares += np.square(ratio - level)
        level += _GAINS * (ratio - level)
    # Errors of unknown size: integrated over it, the likelihood is this power of the squared errors.
    log_weight = -len(ratios) / 2 * np.log(squares + _NO_ERROR)
    weight = np.exp(log_weight - log_weight.max())
    return float((weight * level).sum() / weight.sum())
