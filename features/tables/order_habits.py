"""How each customer buys: how often again, how long between, how much sent back, how much at a discount."""

from __future__ import annotations

import datetime as dt

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.tables.expressions import amount, day_number, frame_of, grouped, is_type, marks, order_key, units
from features.tables.prices import PERIOD, price_period


def repeats(events: IntoFrameT) -> IntoFrameT:
    """Return one row a buyer: how much of what it buys is a return to the shop, or to an item.

        ann: orders o1 (x, y), o2 (x)            repeat_rate 1/2: one of two orders came after the first
                                                 rebuy_share 1/3: one of three rows is an item of an earlier day

    Args:
        events: rows of the event log.

    Returns:
        user_id, repeat_rate (share of its orders after the first), rebuy_share (share of its purchase rows with an
        item that it had bought on an earlier day), units_per_order.
    """
    rows = frame_of(events).filter(is_type(c.PURCHASE))
    rows = rows.with_columns(order_key().alias("order_key"), units().alias("units"))
    first = nw.col(c.LOCAL_DAY).min().over(c.USER_ID, c.ITEM_ID)
    rows = rows.with_columns(first.alias("first"))
    rows = rows.with_columns(marks(nw.col(c.LOCAL_DAY) > nw.col("first")).alias("again"))
    totals = grouped(
        rows,
        [c.USER_ID],
        nw.col("order_key").n_unique().alias("orders"),
        nw.col("units").sum(),
        nw.col("again").mean().alias("rebuy_share"),
        whole=("orders", "units"),
    )
    orders = nw.col("orders").cast(nw.Float64)
    return totals.select(
        c.USER_ID,
        ((orders - 1) / orders).alias("repeat_rate"),
        "rebuy_share",
        (nw.col("units").cast(nw.Float64) / orders).alias("units_per_order"),
    ).to_native()


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
