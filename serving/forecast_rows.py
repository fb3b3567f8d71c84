"""Rows of a forecast as they are answered."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from features.release.layout import QUANTILES
from serving.demand_schemas import DemandPeriod

LEVELS: Final = tuple(f"{level:.1f}" for level in QUANTILES)
DIGITS: Final = 4  # of units


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
