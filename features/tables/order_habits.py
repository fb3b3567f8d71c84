"""How each customer buys: how often again, how long between, how much sent back, how much at a discount."""

from __future__ import annotations

import datetime as dt
from typing import Any

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.tables.expressions import amount, day_number, frame_of, grouped, is_type
from features.tables.prices import PERIOD, price_period

_ROWS = 1 << 32  # more than an item's rows of a user and day; times a day's number still below 2^53, a whole float


def repeats(events: IntoFrameT, purchases: IntoFrameT) -> IntoFrameT:
    """Return one row a buyer: how much of what it buys is a return to the shop, or to an item.

        ann: orders o1 (x, y), o2 (x)            repeat_rate 1/2: one of two orders came after the first
                                                 rebuy_share 1/3: one of three rows is an item of an earlier day

    Args:
        events: rows of the event log.
        purchases: from ``purchases``, of the same rows.

    Returns:
        user_id, repeat_rate (share of its orders after the first), rebuy_share (share of its purchase rows with an
        item that it had bought on an earlier day), units_per_order.
    """
    again, rows = (nw.col(name).cast(nw.Float64) for name in ("again", "num_purchases"))
    orders = nw.col("num_orders").cast(nw.Float64)
    buyers = frame_of(purchases).join(_rebuys(frame_of(events)), on=c.USER_ID, how="inner")
    return buyers.select(
        c.USER_ID,
        ((orders - 1) / orders).alias("repeat_rate"),
        (again / rows).alias("rebuy_share"),
        (nw.col("num_units").cast(nw.Float64) / orders).alias("units_per_order"),
    ).to_native()


def _rebuys(events: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """Return user_id and again: purchase rows of an item that the user had bought on an earlier day.

    The least of day and rows as one number tells the rows of the first day, without sorting all rows by day.
    """
    rows = events.filter(is_type(c.PURCHASE)).select(c.USER_ID, c.ITEM_ID, day_number(c.LOCAL_DAY).alias("day"))
    days = grouped(rows, [c.USER_ID, c.ITEM_ID, "day"], nw.len().alias("rows"), whole=["rows"])
    days = days.with_columns((nw.col("day") * _ROWS + nw.col("rows")).alias("first"))
    items = grouped(days, [c.USER_ID, c.ITEM_ID], nw.col("rows").sum(), nw.col("first").min(), whole=["rows", "first"])
    items = items.with_columns((nw.col("rows") - nw.col("first") % _ROWS).alias("again"))
    return grouped(items, [c.USER_ID], nw.col("again").sum(), whole=["again"])


def days_between_orders(events: IntoFrameT) -> IntoFrameT:
    """Return one row a user who bought on two days or more: the median number of days from one to the next.

    Args:
        events: rows of the event log.

    Returns:
        user_id, days_between_orders.
    """
    rows = frame_of(events).filter(is_type(c.PURCHASE)).select(c.USER_ID, day_number(c.LOCAL_DAY).alias("day"))
    days = rows.group_by(c.USER_ID, "day").agg(nw.len().alias("rows"))
    before = nw.col("day").shift(1).over(c.USER_ID, order_by="day").alias("before")
    gaps = days.with_columns(before).filter(~nw.col("before").is_null())
    gaps = gaps.with_columns((nw.col("day") - nw.col("before")).cast(nw.Float64).alias("gap"))
    return gaps.group_by(c.USER_ID).agg(nw.col("gap").median().alias("days_between_orders")).to_native()


def refunds(events: IntoFrameT) -> IntoFrameT:
    """Return one row a buyer whose purchases have a price: how much of their value was sent back.

    Args:
        events: rows of the event log.

    Returns:
        user_id, refunded (minor units), refund_rate (refunded by bought value, at most 1).
    """
    rows = frame_of(events).filter(is_type(c.PURCHASE, c.REFUND)).with_columns(amount().alias("amount"))
    nothing = nw.lit(0)
    rows = rows.with_columns(
        nw.when(is_type(c.PURCHASE)).then(nw.col("amount")).otherwise(nothing).alias("bought"),
        nw.when(is_type(c.REFUND)).then(nw.col("amount")).otherwise(nothing).alias("refunded"),
    )
    names = ("bought", "refunded")
    sums = grouped(rows, [c.USER_ID], *(nw.col(name).sum() for name in names), whole=names)
    sums = sums.filter(nw.col("bought") > 0)
    rate = nw.col("refunded").cast(nw.Float64) / nw.col("bought").cast(nw.Float64)
    capped = nw.when(nw.col("refunded") > nw.col("bought")).then(nw.lit(1.0)).otherwise(rate)
    return sums.select(c.USER_ID, "refunded", capped.alias("refund_rate")).to_native()


def discounts(
    events: IntoFrameT, list_prices: IntoFrameT, *, as_of: dt.date, days: int, min_percent: int
) -> IntoFrameT:
    """Return one row a buyer: the share of its spend at a discount.

    A purchase is at a discount where its price is at least ``min_percent`` below the item's list price.

    Args:
        events: rows of the event log.
        list_prices: from ``list_prices``, with the same ``as_of`` and ``days``.
        as_of: the local day from which periods are counted back.
        days: length of a period.
        min_percent: smaller differences are rounding, not a discount.

    Returns:
        user_id, discount_share (of the money of purchases whose price is known).
    """
    bought = frame_of(events).filter(is_type(c.PURCHASE) & ~nw.col(c.PRICE).is_null())
    bought = bought.with_columns(price_period(as_of, days), amount().alias("amount"))
    priced = bought.join(frame_of(list_prices), on=[c.ITEM_ID, PERIOD], how="inner")
    cheap = nw.col(c.PRICE).cast(nw.Int64) * 100 <= nw.col("list_price") * (100 - min_percent)
    priced = priced.with_columns(nw.when(cheap).then(nw.col("amount")).otherwise(nw.lit(0)).alias("saved_on"))
    names = ("amount", "saved_on")
    sums = grouped(priced, [c.USER_ID], *(nw.col(name).sum() for name in names), whole=names)
    sums = sums.filter(nw.col("amount") > 0)
    share = nw.col("saved_on").cast(nw.Float64) / nw.col("amount").cast(nw.Float64)
    return sums.select(c.USER_ID, share.alias("discount_share")).to_native()
