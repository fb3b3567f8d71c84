"""Days of the simulation: their dates, seasons, and instants in the shop's zone."""

from __future__ import annotations

import datetime

import numpy as np

from features.sources.synthetic.settings import FIRST_DAY, SHOP, Floats, Ints

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
# Monday to Sunday; mean 1.
WEEKDAY = np.array([0.90, 0.85, 0.88, 0.95, 1.05, 1.25, 1.12])
# Share of sessions that start in each local hour. Nothing starts after 22:59 and no session takes an hour,
# so that a session stays within its local day; hours 1 to 5 are empty, where clocks may change.
HOUR_SHARE = np.array([1, 0, 0, 0, 0, 0, 2, 4, 5, 5, 5, 5, 7, 6, 4, 4, 4, 5, 7, 8, 10, 10, 8, 0], dtype=float)
HOUR_SHARE /= HOUR_SHARE.sum()


def date_of(day: int) -> datetime.date:
    """Date of a day number; day 0 is ``FIRST_DAY``."""
    return FIRST_DAY + datetime.timedelta(days=int(day))


def dates(days: Ints) -> np.ndarray:
    """Dates of day numbers, ``datetime64[D]``."""
    return np.datetime64(FIRST_DAY) + np.asarray(days).astype("timedelta64[D]")


def instants_us(day: int, second: Floats | Ints) -> Ints:
    """UTC microseconds of local wall-clock seconds within one local day.

    Clocks change at 2 or 3 in the night, when nothing happens here, so a day has one offset before and one after.

    Args:
        day: day number.
        second: seconds since local midnight on the clock's face, ``[N]``.
    """
    night, noon = (_offset_us(day, hour) for hour in (0, 12))
    wall = np.asarray(np.asarray(second) * SECOND_US, dtype=np.int64)
    midnight = (date_of(day) - datetime.date(1970, 1, 1)).days * DAY_US
    return midnight + wall - np.where(wall < 2 * 3600 * SECOND_US, night, noon)


def instant_us(day: int, hour: float) -> int:
    """UTC microseconds of one local hour of one day."""
    return int(instants_us(day, np.array([hour * 3600.0]))[0])


def day_of(at_us: int) -> int:
    """Number of the local day that holds an instant."""
    at = datetime.datetime.fromtimestamp(at_us / SECOND_US, tz=SHOP.zone)
    return (at.date() - FIRST_DAY).days


def traffic(day: int) -> float:
    """How much busier a day is than the mean day: week times year."""
    year = 1.0 + 0.15 * np.cos(2 * np.pi * (date_of(day).timetuple().tm_yday - 340) / 365.25)
    return float(WEEKDAY[date_of(day).weekday()] * year)


def _offset_us(day: int, hour: int) -> int:
    offset = datetime.datetime.combine(date_of(day), datetime.time(hour), tzinfo=SHOP.zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds()) * SECOND_US
