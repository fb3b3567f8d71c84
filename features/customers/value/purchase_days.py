"""Days with a purchase, and what they say of each buyer as of one day: on pandas, DuckDB and PySpark alike."""

from __future__ import annotations

import datetime as dt

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.tables.expressions import amount, day_number, frame_of, is_type, marks, units

_DAY = "day_number"
MONTH_DAYS = 30


def purchase_days(events: IntoFrameT, items: IntoFrameT) -> IntoFrameT:
    """Return one row a user and local day with a purchase.

        two orders on 1 May, one on 3 May      ->      two rows

    Args:
        events: rows of the event log.
        items: item_id, cost.

    Returns:
        user_id, day_number (``date.toordinal``), amount (minor units), costed_amount (of it, of items whose cost is
        known), cost (of these).
    """
    costs = frame_of(items).filter(~nw.col(c.COST).is_null()).select(c.ITEM_ID, c.COST)
    rows = frame_of(events).filter(is_type(c.PURCHASE)).select(c.USER_ID, c.LOCAL_DAY, c.ITEM_ID, c.QUANTITY, c.PRICE)
    rows = rows.join(costs, on=c.ITEM_ID, how="left")
    known = ~nw.col(c.COST).is_null() & ~nw.col(c.PRICE).is_null()
    rows = rows.with_columns(
        day_number(c.LOCAL_DAY).alias(_DAY),
        amount().alias("amount"),
        nw.when(known).then(amount()).otherwise(nw.lit(0)).alias("costed_amount"),
        nw.when(known).then(units() * nw.col(c.COST).fill_null(0).cast(nw.Int64)).otherwise(nw.lit(0)).alias("spent"),
    )
    sums = {"amount": "amount", "costed_amount": "costed_amount", "cost": "spent"}
    totals = rows.group_by(c.USER_ID, _DAY).agg(*(nw.col(old).sum().alias(new) for new, old in sums.items()))
    return totals.with_columns(*(nw.col(name).cast(nw.Int64) for name in sums)).to_native()


def buyers(days: IntoFrameT, *, as_of: dt.date, trend_days: int) -> IntoFrameT:
    """Return one row a user who bought up to ``as_of``.

    Args:
        days: from ``purchase_days``; later ones are not looked at.
        as_of: the local day that all are counted back from.
        trend_days: length of the two windows of the trend.

    Returns:
        user_id, num_days (days with a purchase), first_days_ago, last_days_ago, month_days (of num_days, those of the
        last 30), trend_now, trend_before (those of the last ``trend_days``, and of as many before), amount (minor
        units), first_amount (of the first day), costed_amount, cost.
    """
    today = as_of.toordinal()
    ago = nw.lit(today) - nw.col(_DAY)
    rows = frame_of(days).filter(nw.col(_DAY) <= today)
    rows = rows.with_columns(
        marks(ago < MONTH_DAYS).alias("in_month"),
        marks(ago < trend_days).alias("in_trend"),
        marks((ago >= trend_days) & (ago < 2 * trend_days)).alias("in_trend_before"),
    )
    sums = {
        "month_days": "in_month",
        "trend_now": "in_trend",
        "trend_before": "in_trend_before",
        "amount": "amount",
        "costed_amount": "costed_amount",
        "cost": "cost",
    }
    totals = rows.group_by(c.USER_ID).agg(
        nw.len().alias("num_days"),
        nw.col(_DAY).min().alias("first"),
        nw.col(_DAY).max().alias("last"),
        *(nw.col(old).sum().alias(f"total_{new}") for new, old in sums.items()),
    )
    firsts = rows.select(c.USER_ID, nw.col(_DAY).alias("first"), nw.col("amount").alias("first_amount"))
    known = totals.join(firsts, on=[c.USER_ID, "first"], how="left")
    return known.select(
        c.USER_ID,
        nw.col("num_days").cast(nw.Int64),
        (nw.lit(today) - nw.col("first")).alias("first_days_ago"),
        (nw.lit(today) - nw.col("last")).alias("last_days_ago"),
        *(nw.col(f"total_{name}").cast(nw.Int64).alias(name) for name in sums),
        nw.col("first_amount").cast(nw.Int64),
    ).to_native()


def came(days: IntoFrameT, *, after: dt.date, until: dt.date) -> IntoFrameT:
    """Return one row a user with a purchase after one day and up to another.

    Returns:
        user_id, num_came (days with a purchase).
    """
    rows = frame_of(days).filter((nw.col(_DAY) > after.toordinal()) & (nw.col(_DAY) <= until.toordinal()))
    counts = rows.group_by(c.USER_ID).agg(nw.len().alias("num_came"))
    return counts.with_columns(nw.col("num_came").cast(nw.Int64)).to_native()
