"""What the calendar says of a day, known for as long ahead as anyone asks."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.errors import ConfigError, did_you_mean

DAYS_IN_YEAR: Final = 365.25


def calendar_features(
    days: pd.DatetimeIndex, country: str, *, period_days: int = 1
) -> dict[str, npt.NDArray[np.float32]]:
    """Return one float32 ``[D / period_days]`` a feature: day of week and time of year on a circle, and holidays.

    A longer period has the time of year of its first day, the number of its holidays, and no day of the week.

    Args:
        days: local days ``[D]``, of whole periods.
        country: ISO 3166 code, for its public holidays.
        period_days: days in a period.

    Raises:
        ConfigError: the country's holidays are not known.
    """
    first = days[::period_days]
    angles = {"week_of_year": np.floor((np.asarray(first.day_of_year) - 1) / 7) * 7 / DAYS_IN_YEAR}
    if period_days == 1:
        angles["day_of_week"] = np.asarray(first.day_of_week) / 7
    circle = {
        f"{name}_{function.__name__}": function(2 * np.pi * np.asarray(angle, float))
        for name, angle in angles.items()
        for function in (np.sin, np.cos)
    }
    circle["holiday"] = _is_holiday(days, country).reshape(-1, period_days).sum(axis=1)
    return {name: np.asarray(values, np.float32) for name, values in circle.items()}


def _is_holiday(days: pd.DatetimeIndex, country: str) -> npt.NDArray[np.bool_]:
    import holidays  # noqa: PLC0415 - every country's calendar, which a server does not need

    known = holidays.list_supported_countries()
    if country not in known:
        hint = did_you_mean(country, known)
        raise ConfigError(f"country: expected an ISO 3166 code whose holidays are known, found {country!r}.{hint}")
    calendar = holidays.country_holidays(country, years=sorted({*days.year}))
    return np.array([day.date() in calendar for day in days], dtype=bool)
