"""When each customer is there: best hour to write, quiet hours, weekends; all of them local.

All sums are whole numbers, so that every engine finds the same hour.
"""

from __future__ import annotations

from typing import Any, Final

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.tables.expressions import day_number, frame_of, grouped, is_type, marks

HOURS: Final = 24
OPENS: Final = ("message_opened", "message_clicked")
_KERNEL: Final = {-2: 1, -1: 2, 0: 3, 1: 2, 2: 1}  # a triangle: what happens an hour off counts two thirds
_SATURDAY: Final = 6


def moments(visits: IntoFrameT, events: IntoFrameT) -> IntoFrameT:
    """Return when customers were reachable: one row a visit (its start) and a message opened or clicked.

    Args:
        visits: from ``visits``.
        events: rows of the event log.

    Returns:
        user_id, local_day, local_hour, weekday (1 Monday to 7 Sunday).
    """
    kept = (c.USER_ID, c.LOCAL_DAY, nw.col(c.LOCAL_HOUR).cast(nw.Int64))
    opened = frame_of(events).filter(is_type(*OPENS)).select(*kept)
    weekday = ((day_number(c.LOCAL_DAY) - 1) % 7 + 1).alias("weekday")  # the first of January of the year 1 is a Monday
    return nw.concat([frame_of(visits).select(*kept), opened]).with_columns(weekday).to_native()


def weekend_share(moments: IntoFrameT) -> IntoFrameT:
    """Return one row a user: weekend_share, the share of its moments on Saturday and Sunday.

    Args:
        moments: from ``moments``.
    """
    rows = frame_of(moments).with_columns(marks(nw.col("weekday") >= _SATURDAY).alias("off"))
    return rows.group_by(c.USER_ID).agg(nw.col("off").mean().alias("weekend_share")).to_native()


def hour_counts(moments: IntoFrameT) -> IntoFrameT:
    """Return one row a user: num_moments, and n0 to n23, those of each local hour.

    Args:
        moments: from ``moments``.
    """
    by_hour = [_n(hour) for hour in range(HOURS)]
    rows = frame_of(moments)
    counted = rows.with_columns(*(marks(nw.col(c.LOCAL_HOUR) == hour).alias(_n(hour)) for hour in range(HOURS)))
    sums = (nw.col(name).sum() for name in by_hour)
    own = grouped(counted, [c.USER_ID], nw.len().alias("num_moments"), *sums, whole=("num_moments", *by_hour))
    return own.to_native()


def hours_to_write(counts: IntoFrameT, *, quiet_hours: int, prior: int) -> IntoFrameT:
    """Return one row a user: when to write to it, and when not.

    A customer's share of an hour is mixed with the shop's and smoothed around the clock::

        share[h]    = (n[h] + prior * shop[h]) / (n + prior)      n: the customer's moments, shop: all moments' shares
        smoothed[h] = (share[h-2] + 2 share[h-1] + 3 share[h] + 2 share[h+1] + share[h+2]) / 9
        quiet       = the ``quiet_hours`` consecutive hours with the least sum of smoothed shares
        best        = the hour outside of them with the largest smoothed share; of equals the earliest

    Args:
        counts: from ``hour_counts``, of all users.
        quiet_hours: length of the quiet stretch, 1 to 23.
        prior: moments of the shop that each customer is given.

    Returns:
        user_id, num_moments, best_hour, best_hour_share (smoothed), quiet_from and quiet_until (local hours: quiet
        from the first up to, and without, the second).

    Source: Dirichlet-multinomial shrinkage (Good 1965) with a circular triangular kernel.
    """
    own = frame_of(counts)
    totals = own.select(
        nw.col("num_moments").sum().cast(nw.Int64).alias("shop"),
        *(nw.col(_n(hour)).sum().cast(nw.Int64).alias(f"shop_{hour}") for hour in range(HOURS)),
    )
    return _choose(own.join(totals, how="cross"), quiet_hours=quiet_hours, prior=prior).to_native()


def _choose(wide: nw.LazyFrame[Any], *, quiet_hours: int, prior: int) -> nw.LazyFrame[Any]:
    """Scale every share by (n + prior) * shop, which leaves whole numbers."""
    clock = range(HOURS)
    wide = wide.with_columns(
        *((nw.col(_n(hour)) * nw.col("shop") + prior * nw.col(f"shop_{hour}")).alias(f"x{hour}") for hour in clock)
    )
    wide = wide.with_columns(*(_around(hour).alias(f"y{hour}") for hour in clock))
    wide = wide.with_columns(*(_stretch(hour, quiet_hours).alias(f"z{hour}") for hour in clock))
    least = nw.min_horizontal(*(f"z{hour}" for hour in clock))
    wide = wide.with_columns(_first([nw.col(f"z{hour}") == least for hour in clock]).alias("quiet_from"))
    wide = wide.with_columns(*(_outside(hour, quiet_hours).alias(f"w{hour}") for hour in clock))
    wide = wide.with_columns(nw.max_horizontal(*(f"w{hour}" for hour in clock)).alias("most"))
    scale = sum(_KERNEL.values()) * (nw.col("num_moments") + prior) * nw.col("shop")
    return wide.select(
        c.USER_ID,
        "num_moments",
        _first([nw.col(f"w{hour}") == nw.col("most") for hour in clock]).alias("best_hour"),
        (nw.col("most").cast(nw.Float64) / scale.cast(nw.Float64)).alias("best_hour_share"),
        "quiet_from",
        ((nw.col("quiet_from") + quiet_hours) % HOURS).alias("quiet_until"),
    )


def _n(hour: int) -> str:
    return f"n{hour}"


def _around(hour: int) -> nw.Expr:
    return nw.sum_horizontal(*(nw.col(f"x{(hour + step) % HOURS}") * weight for step, weight in _KERNEL.items()))


def _stretch(start: int, length: int) -> nw.Expr:
    return nw.sum_horizontal(*(nw.col(f"y{(start + step) % HOURS}") for step in range(length)))


def _outside(hour: int, quiet_hours: int) -> nw.Expr:
    since = (hour + HOURS - nw.col("quiet_from")) % HOURS
    return nw.when(since < quiet_hours).then(nw.lit(-1)).otherwise(nw.col(f"y{hour}")).cast(nw.Int64)


def _first(conditions: list[nw.Expr]) -> nw.Expr:
    """The number of the first condition that holds."""
    number = nw.lit(0)
    for position in reversed(range(len(conditions))):
        number = nw.when(conditions[position]).then(nw.lit(position)).otherwise(number)
    return number.cast(nw.Int64)
