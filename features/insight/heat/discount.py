"""When to discount: hours in which many look and fewer buy than the looking would lead one to expect.

    expected = browsing of the hour × buyers per browsing of the same category over the whole week
    buyers of an hour ~ Poisson(expected × λ),  λ ~ Gamma of mean 1 and shape s
    λ given the hour  = (buyers + s) / (expected + s)

An hour with few looks says little and stays near 1: small hours do not win. The shape is the most likely one for all
hours of all categories together; where hours differ no more than by luck it is large, and every λ is near 1.

    expected 400, buyers 320, s 50   ->  λ .82, 95% within .74 to .91: an hour for a discount, 71 buyers are missing
    expected 2, buyers 0, s 50       ->  λ .96, 95% within .71 to 1.24

Source: DuMouchel 1999, "Bayesian data mining in large frequency tables", with one gamma; Marshall 1991.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.stats import gamma, nbinom

from features.insight.by import By
from features.insight.collecting import collected
from features.insight.heat.hour_of_week import hour_of_week
from features.insight.intervals import LEVEL, ratio

Floats = npt.NDArray[np.floating]
# Bounds of the shape: below the first, hours differ by more than their mean; beyond the second, by luck alone.
_LEAST_SHAPE: Final = 1e-1
_MOST_SHAPE: Final = 1e6
_COUNTS: Final = ("num_browsed", "num_bought", "num_buyers")


def shape_of(buyers: Floats, expected: Floats) -> float:
    """Return the most likely shape of the gamma that hours' λ are drawn from.

    Args:
        buyers: counts, ``[N]``.
        expected: what they are expected to be, above 0, ``[N]``.
    """

    def loss(log_shape: float) -> float:
        shape = np.exp(log_shape)
        return -float(nbinom.logpmf(buyers, shape, shape / (shape + expected)).sum())

    if not len(buyers):
        return _MOST_SHAPE
    found = minimize_scalar(loss, bounds=(np.log(_LEAST_SHAPE), np.log(_MOST_SHAPE)), method="bounded")
    return float(np.exp(found.x))


def when_to_discount(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the hours of the week, those with the most missing buyers first.

    Args:
        cells: ``hour_of_week`` of one kind (categories, or items), as pandas.

    Returns:
        value, weekday, local_hour, num_browsed, num_buyers, expected, ratio (buyers / expected, missing without any
        browsing), shrunk (λ), low, high (95% credible), missing (expected × (1 - λ)) and discount (high is below 1).
        Hours without browsing are left out, and values that nobody bought: they have no rate to compare with.
    """
    of_value = cells.groupby("value")[["num_browsed", "num_buyers"]].transform("sum")
    table = cells.assign(expected=cells["num_browsed"] * ratio(of_value["num_buyers"], of_value["num_browsed"]))
    table = table[(table["num_browsed"] > 0) & (of_value["num_buyers"] > 0)].drop(columns="num_bought")
    buyers, expected = table["num_buyers"].to_numpy(np.float64), table["expected"].to_numpy(np.float64)
    shape = shape_of(buyers, expected)
    rate = expected + shape
    table["ratio"], table["shrunk"] = ratio(buyers, expected), (buyers + shape) / rate
    tail = (1 - LEVEL) / 2
    table["low"], table["high"] = gamma.ppf(tail, buyers + shape) / rate, gamma.ppf(1 - tail, buyers + shape) / rate
    table["missing"] = expected * (1 - table["shrunk"])
    table["discount"] = table["high"] < 1
    order = ["discount", "missing", "value", "weekday", "local_hour"]
    return table.sort_values(order, ascending=[False, False, True, True, True], ignore_index=True)


def with_empty_hours(cells: pd.DataFrame, *, first_day: dt.date, last_day: dt.date) -> pd.DataFrame:
    """Return all 168 hours of each value, with how often each came: rates need the hours in which nothing happened.

    Args:
        cells: ``hour_of_week`` as pandas.
        first_day: the first local day of the log.
        last_day: the last.

    Returns:
        The columns of ``cells``, zeros where nothing happened, and num_hours.
    """
    days = np.arange(np.datetime64(first_day), np.datetime64(last_day) + 1)
    number = np.bincount((days.astype(np.int64) + 3) % 7, minlength=7)  # of each weekday from Monday
    week = pd.DataFrame([(day, hour) for day in range(1, 8) for hour in range(24)], columns=["weekday", "local_hour"])
    grid = cells[["value"]].drop_duplicates().merge(week, how="cross")
    table = grid.merge(cells, on=["value", "weekday", "local_hour"], how="left")
    table = table.fillna(dict.fromkeys(_COUNTS, 0)).astype(dict.fromkeys(_COUNTS, np.int64))
    table["num_hours"] = number[table["weekday"] - 1]
    return table.sort_values(["value", "weekday", "local_hour"], ignore_index=True)


def discount_hours(events: Any, *, by: By = "shop", items: Any = None) -> pd.DataFrame:
    """Return ``when_to_discount`` of an event log.

    Args:
        events: as of ``hour_of_week``, of any engine.
        by: shop, category or item.
        items: item_id and category, of the same engine, for categories.
    """
    return when_to_discount(collected(hour_of_week(events, by=by, items=items)))
