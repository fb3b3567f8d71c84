"""Shares of visits with their intervals, where one customer makes many visits.

Visits of one customer are alike: the interval is Wilson's for as many independent visits as the share is worth
(``features.insight.intervals.effective_number``). The difference of two shares: Newcombe 1998, "Interval estimation for the
difference between independent proportions", method 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from features.errors import DataError
from features.insight.intervals import LEVEL, Floats, clustered, difference_of_shares, effective_number, ratio
from features.insight.paths.steps import AUDIENCE

# Sums over customers u with x_u of n_u visits: x, n, x^2, x n, n^2, and how many customers.
SUMS: Final = ("visits", "base", "visits_sq", "visits_base", "base_sq", "base_users")


def effective_visits(counts: pd.DataFrame) -> Floats:
    """Return how many independent visits each share is worth, ``[N]``.

    Args:
        counts: columns of ``SUMS``.
    """
    x, n, xx, xn, nn, users = (counts[name].to_numpy(np.float64) for name in SUMS)
    return effective_number(x, n, came_sq=xx, came_of=xn, of_sq=nn, customers=users)


def shares(counts: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """Return counts with ``share`` = visits / base, its ``low`` and ``high``, and ``worth``; the sums stay.

    Args:
        counts: columns of ``SUMS``.
        level: how often such intervals hold what is true.
    """
    found = counts.copy()
    worth = effective_visits(counts)
    found["worth"] = worth  # independent visits
    found["share"] = ratio(counts["visits"], counts["base"])
    found["low"], found["high"] = clustered(counts["visits"], counts["base"], worth, level=level)
    return found


def difference(
    shared: pd.DataFrame, keys: Sequence[str], first: str, second: str, *, base_by: str = "", level: float = LEVEL
) -> pd.DataFrame:
    """Return how a share differs between two audiences: the second less the first, with its interval.

    Args:
        shared: from ``shares``, one row an audience and ``keys``; a row that one lacks is a share of 0 there, unless
            nobody of it could have had it.
        keys: such as step and node.
        first: an audience.
        second: another.
        base_by: the key that the base depends on, such as ``node`` of transitions; where left out, an audience has one
            base.
        level: of the intervals.

    Returns:
        ``keys``, share_first, share_second, difference, low, high and apart (whether the interval leaves out 0),
        largest difference first.

    Raises:
        DataError: there is no such audience.
    """
    found = set(shared[AUDIENCE])
    for name in (first, second):
        if name not in found:
            raise DataError(f"audiences: expected {name!r}, found {', '.join(sorted(map(str, found)))}.")
    one, two = (_of(shared, keys, name) for name in (first, second))
    both = one.merge(two, how="outer", left_index=True, right_index=True, suffixes=("_first", "_second"))
    for side, whole in (("first", one), ("second", two)):
        _fill(both, side, _users(both, whole, base_by))
    one_share, one_worth, two_share, two_worth = (
        both[f"{name}_{side}"].to_numpy(np.float64) for side in ("first", "second") for name in ("share", "worth")
    )
    both["difference"] = two_share - one_share
    both["low"], both["high"] = difference_of_shares(
        two_share * two_worth, two_worth, one_share * one_worth, one_worth, level=level
    )
    both["apart"] = (both["low"] > 0) | (both["high"] < 0)
    both = both[["share_first", "share_second", "difference", "low", "high", "apart"]].reset_index()
    order = both["difference"].abs().sort_values(ascending=False, kind="stable").index
    return both.loc[order].reset_index(drop=True)


def _of(shared: pd.DataFrame, keys: Sequence[str], audience: str) -> pd.DataFrame:
    rows = shared[shared[AUDIENCE] == audience].set_index(list(keys))
    return rows[["share", "worth", "base_users"]]


def _users(both: pd.DataFrame, whole: pd.DataFrame, base_by: str) -> Floats:
    """How many customers of an audience could have had each row, ``[N]``; 0 where none."""
    if not base_by:
        return np.full(len(both), float(whole["base_users"].max()))
    users = whole.groupby(level=base_by)["base_users"].max()
    return both.index.get_level_values(base_by).map(users.to_dict()).to_numpy(np.float64, na_value=0.0)


def _fill(both: pd.DataFrame, side: str, users: Floats) -> None:
    """What an audience lacks is a share of 0 of those who could have had it."""
    lacks = both[f"share_{side}"].isna()
    both[f"share_{side}"] = both[f"share_{side}"].mask(lacks, np.where(users > 0, 0.0, np.nan))
    both[f"worth_{side}"] = both[f"worth_{side}"].mask(lacks, users)
