"""Rows of a forecast as they are answered."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from features.release.layout import QUANTILES
from serving.api.demand_schemas import DemandPeriod

LEVELS: Final = tuple(f"{level:.1f}" for level in QUANTILES)
DIGITS: Final = 4  # of units
_ROWS_KEPT: Final = 1 << 16  # built rows are kept while they are asked for: some 40 MB, and no work but JSON is left


def forecast_periods(
    days: Sequence[dt.date], means: npt.NDArray[np.floating], quantiles: npt.NDArray[np.number]
) -> list[DemandPeriod]:
    """Return one row a period.

    Args:
        days: first day of each, ``[H]``.
        means: expected units, ``[H]``.
        quantiles: units at ``QUANTILES``, ``[H, 9]``.
    """
    rows = zip(days, rounded(means).tolist(), rounded(quantiles).tolist(), strict=True)
    return [
        DemandPeriod(day=day, mean=mean, quantiles=dict(zip(LEVELS, units, strict=True))) for day, mean, units in rows
    ]


def rounded(values: npt.NDArray[np.number]) -> npt.NDArray[np.float64]:
    """Return values with as many digits as are answered."""
    return np.asarray(np.round(values.astype(np.float64), DIGITS), np.float64)


class ForecastRows:
    """Rows of jagged forecasts, built when they are asked for: item ``i`` stands at ``offsets[i]:offsets[i + 1]``.

    Args:
        offsets: int64 ``[I + 1]``.
        days: of each row ``[N]``, rising within an item.
        means: expected units, ``[N]``.
        quantiles: units at ``QUANTILES``, ``[N, 9]``.
    """

    def __init__(
        self,
        offsets: npt.NDArray[np.int64],
        days: Sequence[dt.date],
        means: npt.NDArray[np.floating],
        quantiles: npt.NDArray[np.number],
    ) -> None:
        self._offsets, self._days = offsets.tolist(), days
        self._means, self._quantiles = means, quantiles
        longest = int(np.diff(offsets).max(initial=1))
        self._built: Callable[[int], list[DemandPeriod]] = lru_cache(max(1, _ROWS_KEPT // longest))(self._build)

    def of(self, row: int, *, days: int | None) -> list[DemandPeriod]:
        """Return the rows of an item that begin within ``days`` of its first; all where that is ``None``."""
        found = self._built(row)
        if days is None or not found:
            return found
        end = found[0].day + dt.timedelta(days=days)
        return found if found[-1].day < end else [one for one in found if one.day < end]

    def _build(self, row: int) -> list[DemandPeriod]:
        span = slice(self._offsets[row], self._offsets[row + 1])
        return forecast_periods(self._days[span], self._means[span], self._quantiles[span])
