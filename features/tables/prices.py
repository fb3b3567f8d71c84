"""What an item usually costs, and how dear it is among its like."""

from __future__ import annotations

import datetime as dt
from typing import Final

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.tables.expressions import days_before, frame_of, grouped, is_type, top_category

PRICED_EVENTS: Final = (c.VIEW, c.FAVORITE, c.CART, c.PURCHASE)
PERIOD: Final = "period"


def price_period(as_of: dt.date, days: int) -> nw.Expr:
    """Return the number of the period that a row's local day lies in, counted back from ``as_of``: 0 is the last."""
    return (days_before(c.LOCAL_DAY, as_of) // days).cast(nw.Int64).alias(PERIOD)


def list_prices(events: IntoFrameT, *, as_of: dt.date, days: int, percent: int) -> IntoFrameT:
    """Return the list price of each item in each period: the price that ``percent`` of its rows do not exceed.

        rows of one item and period at 80, 80, 100, 100, 100, ..., 110 (1 of 20), percent 90   ->   100

    A discount on fewer than nine rows in ten leaves it where it was, a period of some weeks follows rises, and a
    single mistyped price does not move it.

    Args:
        events: rows of the event log; views, favourites, carts and purchases with a price count.
        as_of: the local day from which periods are counted back.
        days: length of a period.
        percent: 1 to 100.

    Returns:
        item_id, period, list_price (minor units).
    """
    priced = frame_of(events).filter(is_type(*PRICED_EVENTS) & ~nw.col(c.PRICE).is_null())
    priced = priced.with_columns(price_period(as_of, days), nw.col(c.PRICE).cast(nw.Int64))
    counts = grouped(priced, [c.ITEM_ID, PERIOD, c.PRICE], nw.len().alias("rows"), whole=["rows"])
    place = [c.ITEM_ID, PERIOD]
    below = nw.col("rows").cum_sum().over(*place, order_by=c.PRICE)
    counts = counts.with_columns(below.alias("below"), nw.col("rows").sum().over(*place).alias("total"))
    reached = counts.filter(nw.col("below") * 100 >= nw.col("total") * percent)
    return reached.group_by(*place).agg(nw.col(c.PRICE).min().alias("list_price")).to_native()


def price_bands(items: IntoFrameT, *, num_bands: int) -> IntoFrameT:
    """Return the price band of each priced item among the items of its top-level category, 1 the cheapest.

    Items of no category are compared with each other; equal prices share a band.

    Args:
        items: item_id, category, price.
        num_bands: bands of equal size.

    Returns:
        item_id, price_band.
    """
    priced = frame_of(items).filter(~nw.col(c.PRICE).is_null())
    priced = priced.with_columns(top_category().fill_null("").alias("top"), nw.col(c.PRICE).cast(nw.Int64))
    below = nw.col(c.PRICE).rank("min").over("top").cast(nw.Int64) - 1
    priced = priced.with_columns(below.alias("below"), nw.col(c.ITEM_ID).count().over("top").alias("peers"))
    band = (nw.col("below") * num_bands // nw.col("peers") + 1).cast(nw.Int64)
    return priced.select(c.ITEM_ID, band.alias("price_band")).to_native()
