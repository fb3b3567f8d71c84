"""Reasons in words."""

from __future__ import annotations

import datetime as dt
from typing import Final

import numpy as np
import numpy.typing as npt

from features.columns import (
    CART,
    EVENT_TYPE_CODES,
    FAVORITE,
    IMPRESSION,
    PURCHASE,
    REFUND,
    REMOVE_FROM_CART,
    VIEW,
)
from features.surfaces import DAY_US

Ints = npt.NDArray[np.integer]

# (days in one, word): the largest unit of which there are at least two.
_UNITS: Final = ((365.25, "year"), (30.44, "month"), (7.0, "week"), (1.0, "day"))
_EPOCH: Final = dt.date(1970, 1, 1)

_MET: Final = {
    IMPRESSION: "Shown",
    VIEW: "Viewed",
    FAVORITE: "Marked as a favourite",
    CART: "Put in the cart",
    REMOVE_FROM_CART: "Taken out of the cart",
    PURCHASE: "Bought",
    REFUND: "Returned",
}
_VERBS: Final = {EVENT_TYPE_CODES[event_type]: verb for event_type, verb in _MET.items()}


def bought_before(instants_us: Ints, now_us: int) -> str:
    """Say how often and when an item was bought; purchases of one day are one.

    >>> bought_before(np.array([1, 22, 43]) * DAY_US, 63 * DAY_US)
    'Bought 3 times, about every 3 weeks, last 20 days ago'
    >>> bought_before(np.array([63 * DAY_US]), 63 * DAY_US + 5)
    'Bought once, today'
    """
    if not instants_us.all():  # instants are not known
        return f"Bought {_times(len(instants_us))}"
    days = np.unique(instants_us // DAY_US)
    last = _ago((now_us - int(instants_us[-1])) / DAY_US)
    if len(days) == 1:
        return f"Bought once, {last}"
    return f"Bought {_times(len(days))}, about every {_span((days[-1] - days[0]) / (len(days) - 1))}, last {last}"


def met_before(event_type: int, instant_us: int, now_us: int) -> str:
    """Say what was done with an item, and when; 0 is an instant that is not known.

    >>> met_before(EVENT_TYPE_CODES[VIEW], 60 * DAY_US, 63 * DAY_US)
    'Viewed 3 days ago'
    """
    verb = _VERBS.get(event_type, "Met")
    return f"{verb} {_ago((now_us - instant_us) / DAY_US)}" if instant_us else f"{verb} before"


def day_of(instant_us: int, *, beside_us: int) -> str:
    """Return an instant's UTC day, with its year where that is not the one of ``beside_us``.

    >>> day_of(0, beside_us=5 * DAY_US), day_of(0, beside_us=500 * DAY_US)
    ('1 Jan', '1 Jan 1970')
    """
    day, beside = (_EPOCH + dt.timedelta(days=int(us) // DAY_US) for us in (instant_us, beside_us))
    year = "" if day.year == beside.year else f" {day.year}"
    return f"{day.day} {day:%b}{year}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _ago(days: float) -> str:
    if days < 1:
        return "today"
    return "a day ago" if days < 2 else f"{_count(days)} ago"


def _count(days: float) -> str:
    """Days as people count them back: days up to two months, then months, then years."""
    units = _UNITS[:2] if days >= 2 * _UNITS[1][0] else ()
    for size, word in units:
        if days >= 2 * size:
            return f"{round(days / size)} {word}s"
    return f"{int(days)} days"


def _span(days: float) -> str:
    for size, word in _UNITS:
        if days >= 2 * size:
            return f"{round(days / size)} {word}s"
    return "day"
