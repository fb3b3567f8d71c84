"""Days, weeks from Monday and months as whole numbers that count up by one, the same on every engine."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from features import columns as c
from features.engine import sql_text
from features.errors import ConfigError

Period = Literal["day", "week", "month"]
Cohorts = Literal["day", "week", "month", "all"]
PERIODS: Final[tuple[Period, ...]] = get_args(Period)
COHORTS: Final[tuple[Cohorts, ...]] = get_args(Cohorts)
Ints = npt.NDArray[np.integer]
Days = npt.NDArray[np.datetime64]
_MONDAY: Final = 3  # 1970-01-01 was a Thursday
_MONTHS_BEFORE_1970: Final = 12 * 1970


def place_sql(period: Period, day: str) -> str:
    """Return SQL of the number of the period that a day lies in: days and weeks since 1970, months since year 0."""
    if period == "month":
        return f"CAST(year({day}) * 12 + month({day}) - 1 AS INT)"
    number = f"unix_date({day})"
    return f"CAST({number} AS INT)" if period == "day" else f"CAST(floor(({number} + {_MONDAY}) / 7) AS INT)"


def places(period: Period, days: npt.ArrayLike | Days) -> Ints:
    """Return the numbers of the periods that days lie in.

    >>> places("week", ["1970-01-04", "1970-01-05"]).tolist()
    [0, 1]
    """
    day = np.asarray(days, "datetime64[D]")
    if period == "month":
        return day.astype("datetime64[M]").astype(np.int64) + _MONTHS_BEFORE_1970
    number = day.astype(np.int64)
    return number if period == "day" else (number + _MONDAY) // 7


def first_days(period: Period, numbers: npt.ArrayLike) -> Days:
    """Return the first day of each period.

    >>> first_days("month", [24288]).tolist()
    [datetime.date(2024, 1, 1)]
    """
    number = np.asarray(numbers, np.int64)
    if period == "month":
        return (number - _MONTHS_BEFORE_1970).astype("datetime64[M]").astype("datetime64[D]")
    return (number if period == "day" else number * 7 - _MONDAY).astype("datetime64[D]")


def cohort_days(cohorts: Cohorts, days: Days) -> Any:
    """Return the first day of each day's cohort, as pandas holds days; for ``all`` the first of all days."""
    if cohorts == "all":
        first = np.full(len(days), days.min() if len(days) else np.datetime64("NaT"))
    else:
        first = first_days(cohorts, places(cohorts, days))
    return first.astype("datetime64[s]")


def place_of(period: Period, day: dt.date) -> int:
    """Return the number of the period that one day lies in."""
    return int(places(period, np.datetime64(day)))


def of_types(event_types: tuple[str, ...]) -> str:
    """Return SQL of whether a row of the event log is of one of the types."""
    return f"{c.EVENT_TYPE} IN ({', '.join(map(sql_text, event_types))})"


def checked_day(name: str, day: object) -> dt.date:
    """Return a day, or raise where it is none: an instant would hide which zone it is of.

    Raises:
        ConfigError: it is no ``datetime.date``.
    """
    if isinstance(day, dt.datetime) or not isinstance(day, dt.date):
        raise ConfigError(f"{name}: expected a day such as 2024-05-01, found {day!r}.")
    return day
