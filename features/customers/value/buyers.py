"""Buyers as of one day, in arrays; and those whom a model learns from, the same ones on every engine."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import narwhals as nw
import numpy as np
import pyarrow as pa

from features import columns as c
from features.customers.value.bg_nbd import BgNbd
from features.customers.value.churn import MeanBuyer, churn_facts, silent_chance
from features.customers.value.histories import Floats, Histories
from features.customers.value.purchase_days import buyers, came
from features.customers.workbench import Frame
from features.tables import sql
from features.tables.expressions import frame_of

# With so many, four parameters and shares of buyers are known to 1 in 300; all of them would be held in one place.
MOST_LEARNED_FROM: Final = 200_000
_DIGITS: Final = 8  # of a hash, hexadecimal

Fetch = Callable[[Frame], pa.Table]


@dataclass(frozen=True, kw_only=True, eq=False)
class Buyers:
    """Some buyers as of one day.

    Args:
        table: columns as in ``purchase_days.buyers``, and ``num_came`` where it is known; N rows.
        histories: of the same rows.
    """

    table: pa.Table
    histories: Histories

    @classmethod
    def of(cls, table: pa.Table) -> Buyers:
        """Return the buyers of a fetched frame."""
        names = ("num_days", "first_days_ago", "last_days_ago")
        return cls(table=table, histories=Histories.from_days(**{name: table[name].to_numpy() for name in names}))

    @property
    def user_id(self) -> pa.Array:
        """Their ids, ``[N]``."""
        return self.table[c.USER_ID].combine_chunks()

    def floats(self, name: str) -> Floats:
        """Return a column, ``[N]``."""
        return np.asarray(self.table[name].to_numpy(), np.float64)

    def churn_facts(self, leaving: BgNbd, *, days: float, mean: MeanBuyer) -> Floats:
        """Return what churn goes by, ``[N, 7]``."""
        return churn_facts(
            self.histories,
            month_days=self.floats("month_days"),
            trend_days=self.floats("trend_now"),
            silent=silent_chance(leaving, self.histories, days=days),
            mean=mean,
        )


def learned_from(
    days: Frame, *, as_of: dt.date, trend_days: int, to_arrow: Fetch, most: int = MOST_LEARNED_FROM
) -> Buyers:
    """Return the buyers by ``as_of`` that a model learns from, by user_id: all, or some ``most`` of them, evenly taken.

    Who is taken follows from the user_id alone, so that every engine takes the same buyers, today and tomorrow.

    Args:
        days: from ``purchase_days``.
        as_of: later days are not looked at.
        trend_days: length of the two windows of the trend.
        to_arrow: fetches a frame.
        most: buyers, more or less: a hash decides.
    """
    return _drawn(buyers(days, as_of=as_of, trend_days=trend_days), to_arrow=to_arrow, most=most)


def learned_from_earlier(
    days: Frame, *, as_of: dt.date, horizon: int, trend_days: int, to_arrow: Fetch, most: int = MOST_LEARNED_FROM
) -> Buyers:
    """Return ``learned_from`` of ``horizon`` days before ``as_of``, with ``num_came``: days with a purchase since."""
    then = as_of - dt.timedelta(days=horizon)
    known = frame_of(buyers(days, as_of=then, trend_days=trend_days))
    since = known.join(frame_of(came(days, after=then, until=as_of)), on=c.USER_ID, how="left")
    return _drawn(since.with_columns(nw.col("num_came").fill_null(0)).to_native(), to_arrow=to_arrow, most=most)


def _drawn(frame: Frame, *, to_arrow: Fetch, most: int) -> Buyers:
    total = to_arrow(frame_of(frame).select(nw.len().alias("total")).to_native())["total"][0].as_py()
    if total > most:
        first = f"{most * 16**_DIGITS // total:0{_DIGITS}x}"
        hashed = f"substr(md5({c.USER_ID}), 1, {_DIGITS})"
        frame = sql.run(f"SELECT * FROM {{frame}} WHERE {hashed} < '{first}'", frame=frame)
    return Buyers.of(to_arrow(frame).sort_by(c.USER_ID))
