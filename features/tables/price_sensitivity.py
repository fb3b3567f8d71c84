"""How much more a customer takes an item when it costs less than usual.

An occasion is a customer, an item and a day on which the customer looked at it. With ``x = log(price / list price)``
the item is taken (put in the cart, or bought) on an occasion with the rate::

    rate = habit of the customer * appeal of the item * exp(-sensitivity * x)

so a sensitivity of 2 means: 1% cheaper, 2% more often taken. Only prices within an item speak for it: that cheap
items sell more, and that some customers take more, is in appeal and habit. Three levels, each shrunk to the one above::

    shop        where the likelihood within items is largest, by Newton's method
    category    one Newton step from the shop's, shrunk by how much categories differ beyond chance
    customer    one Newton step from the mean of its categories', with a normal prior

Source: conditional Poisson regression (Hausman, Hall, Griliches 1984); the shrinkage of categories is DerSimonian and
Laird (1986); that demand answers to price at a rate near 2.6, widely spread, Bijmolt, van Heerde, Pieters (2005).
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.tables.expressions import frame_of, grouped, is_type, marks, top_category
from features.tables.prices import PERIOD, price_period

_STEPS: Final = 4  # of Newton's method; from 0 it converges in three
_APPEAL_PRIOR: Final = 5.0  # occasions of the shop's mean rate that each item is given
_HABIT_PRIOR: Final = 10.0  # expected takings at the shop's rate that each customer is given
_SPREAD: Final = 1.0  # standard deviation of sensitivity between customers of one category
_MOST: Final = 10.0  # a sensitivity beyond this is noise
_TINY: Final = 1e-12


def occasions(events: IntoFrameT, list_prices: IntoFrameT, *, as_of: dt.date, days: int) -> IntoFrameT:
    """Return one row a customer, item and day on which it was viewed at a known price.

    Args:
        events: rows of the event log.
        list_prices: from ``list_prices``, with the same ``as_of`` and ``days``.
        as_of: the local day from which periods are counted back.
        days: length of a period.

    Returns:
        user_id, item_id, price (the least of the day), list_price, taken (0 or 1).
    """
    rows = frame_of(events).filter(is_type(c.VIEW, c.CART, c.PURCHASE) & ~nw.col(c.PRICE).is_null())
    rows = rows.select(
        c.USER_ID,
        c.ITEM_ID,
        c.LOCAL_DAY,
        nw.col(c.PRICE).cast(nw.Int64),
        marks(is_type(c.VIEW)).alias("viewed"),
        marks(~is_type(c.VIEW)).alias("taken"),
    )
    highest = (nw.col(name).max() for name in ("viewed", "taken"))
    each = rows.group_by(c.USER_ID, c.ITEM_ID, c.LOCAL_DAY).agg(nw.col(c.PRICE).min(), *highest)
    each = each.filter((nw.col("viewed") > 0) & (nw.col(c.PRICE) > 0)).with_columns(price_period(as_of, days))
    priced = each.join(frame_of(list_prices), on=[c.ITEM_ID, PERIOD], how="inner")
    return priced.select(c.USER_ID, c.ITEM_ID, c.PRICE, "list_price", "taken").to_native()


def price_cells(occasions: IntoFrameT) -> IntoFrameT:
    """Return how often each item was looked at and taken at each of its prices.

    Args:
        occasions: from ``occasions``.

    Returns:
        item_id, price, list_price, num_seen, num_taken.
    """
    cell = [c.ITEM_ID, c.PRICE, "list_price"]
    counts = (nw.len().alias("num_seen"), nw.col("taken").sum().alias("num_taken"))
    return grouped(frame_of(occasions), cell, *counts, whole=("num_seen", "num_taken")).to_native()


def shop_slope(cells: IntoFrameT) -> IntoFrameT:
    """Return one row: slope, the shop's sensitivity; 0 where no item was taken at two prices.

    Args:
        cells: from ``price_cells``. It is read several times: keep it as a table where the engine is lazy.
    """
    rows = _with_x(frame_of(cells))
    slope = rows.select((nw.col("x").sum() * 0.0).alias("slope"))  # one row, whatever the engine
    for _ in range(_STEPS):
        sums = _stratum_sums(rows.join(slope, how="cross"), [c.ITEM_ID])
        total = sums.select(
            nw.col("slope").max(),
            nw.col("score").sum().alias("score"),
            nw.col("information").sum().alias("information"),
        )
        step = nw.col("score") / nw.max_horizontal("information", nw.lit(_TINY))
        slope = total.select(_bounded(nw.col("slope") + step).alias("slope"))
    return slope.to_native()


def category_slopes(cells: IntoFrameT, items: IntoFrameT, slope: IntoFrameT) -> IntoFrameT:
    """Return each item's sensitivity: that of its top-level category, shrunk to the shop's.

    Args:
        cells: from ``price_cells``.
        items: item_id, category; items without one form a category of their own.
        slope: from ``shop_slope``.

    Returns:
        item_id, slope, appeal (expected takings an occasion at the list price).
    """
    rows = _with_x(frame_of(cells)).join(_tops(items), on=c.ITEM_ID, how="left")
    rows = rows.with_columns(nw.col("top").fill_null(""))
    sums = _stratum_sums(rows.join(frame_of(slope), how="cross"), [c.ITEM_ID, "top"])
    totals = sums.group_by("top").agg(
        nw.col("slope").max().alias("shop"), *(nw.col(name).sum() for name in ("score", "information"))
    )
    known = nw.max_horizontal("information", nw.lit(_TINY)).alias("known")
    totals = totals.with_columns(known)
    totals = totals.with_columns((nw.col("score") * nw.col("score") / nw.col("known")).alias("q"))
    spread = totals.select(
        nw.col("q").sum().alias("all_q"),
        nw.col("known").sum().alias("all_known"),
        (nw.col("known") * nw.col("known")).sum().alias("all_known2"),
        nw.col("known").count().alias("tops"),
    )
    room = nw.col("all_known") - nw.col("all_known2") / nw.col("all_known")
    between = (nw.col("all_q") - (nw.col("tops") - 1)) / nw.max_horizontal(room, nw.lit(_TINY))
    between = nw.when((between > 0) & (room > _TINY)).then(between).otherwise(nw.lit(0.0))
    totals = totals.join(spread.select(between.alias("between")), how="cross")
    # score / (information + 1 / between), which is 0 where categories do not differ
    step = nw.col("score") * nw.col("between") / (nw.col("known") * nw.col("between") + 1)
    slopes = totals.select("top", _bounded(nw.col("shop") + step).alias("slope"))
    return _appeals(rows.join(slopes, on="top", how="left")).to_native()


def price_sensitivity(occasions: IntoFrameT, item_slopes: IntoFrameT) -> IntoFrameT:
    """Return one row a customer who looked at an item with a known price.

    Args:
        occasions: from ``occasions``.
        item_slopes: from ``category_slopes``.

    Returns:
        user_id, price_sensitivity, price_information (how much the customer's own occasions say: 1 weighs as much as
        the prior, 0 means that the figure is its categories').
    """
    rows = _with_x(frame_of(occasions)).join(frame_of(item_slopes), on=c.ITEM_ID, how="inner")
    x, expected = nw.col("x"), nw.col("appeal") * (nw.col("slope") * nw.col("x") * -1).exp()
    rows = rows.with_columns(expected.alias("expected"), nw.col("taken").cast(nw.Float64))
    rows = rows.with_columns(
        (nw.col("expected") * x).alias("expected_x"),
        (nw.col("expected") * x * x).alias("expected_xx"),
        (nw.col("taken") * x).alias("taken_x"),
        (nw.col("expected") * nw.col("slope")).alias("expected_slope"),
    )
    names = ("expected", "expected_x", "expected_xx", "taken", "taken_x", "expected_slope")
    sums = rows.group_by(c.USER_ID).agg(*(nw.col(name).sum() for name in names))
    habit = (nw.col("taken") + _HABIT_PRIOR) / (nw.col("expected") + _HABIT_PRIOR)
    score = habit * nw.col("expected_x") - nw.col("taken_x")
    information = habit * nw.col("expected_xx") * _SPREAD**2
    prior = nw.col("expected_slope") / nw.col("expected")
    found = prior + score * _SPREAD**2 / (information + 1)
    return sums.select(c.USER_ID, found.alias("price_sensitivity"), information.alias("price_information")).to_native()


def _with_x(rows: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    ratio = nw.col(c.PRICE).cast(nw.Float64) / nw.col("list_price").cast(nw.Float64)
    return rows.with_columns(ratio.log().alias("x"))


def _tops(items: object) -> nw.LazyFrame[Any]:
    return frame_of(items).select(c.ITEM_ID, top_category().fill_null("").alias("top"))


def _stratum_sums(rows: nw.LazyFrame[Any], by: list[str]) -> nw.LazyFrame[Any]:
    """Return score and information of each item at its ``slope``, given how often it was taken in all.

    Of ``k`` takings, the share expected at ``x`` is ``seen exp(-slope x) / sum of that``: with mean ``m`` and variance
    ``v`` of x under these shares, the score is ``k m - sum of x taken`` and the information ``k v``.
    """
    weight = nw.col("num_seen") * (nw.col("slope") * nw.col("x") * -1).exp()
    rows = rows.with_columns(weight.alias("w"))
    rows = rows.with_columns(
        (nw.col("w") * nw.col("x")).alias("wx"),
        (nw.col("w") * nw.col("x") * nw.col("x")).alias("wxx"),
        (nw.col("num_taken") * nw.col("x")).alias("taken_x"),
    )
    names = ("w", "wx", "wxx", "taken_x", "num_taken")
    sums = rows.group_by(*by).agg(nw.col("slope").max(), *(nw.col(name).sum() for name in names))
    mean = nw.col("wx") / nw.col("w")
    sums = sums.with_columns(mean.alias("mean"), (nw.col("wxx") / nw.col("w") - mean * mean).alias("variance"))
    taken = nw.col("num_taken").cast(nw.Float64)
    return sums.with_columns(
        (taken * nw.col("mean") - nw.col("taken_x")).alias("score"),
        (taken * nw.max_horizontal("variance", nw.lit(0.0))).alias("information"),
    )


def _appeals(rows: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """Return item_id, slope and appeal: takings an occasion at the list price, shrunk to the shop's mean rate."""
    expected = nw.col("num_seen") * (nw.col("slope") * nw.col("x") * -1).exp()
    rows = rows.with_columns(expected.alias("expected"), nw.col("num_taken").cast(nw.Float64).alias("taken"))
    sums = rows.group_by(c.ITEM_ID).agg(nw.col("slope").max(), nw.col("taken").sum(), nw.col("expected").sum())
    shop = sums.select((nw.col("taken").sum() / nw.col("expected").sum()).alias("shop_rate"))
    prior = nw.col("shop_rate") * _APPEAL_PRIOR
    appeal = (nw.col("taken") + prior) / (nw.col("expected") + _APPEAL_PRIOR)
    return sums.join(shop, how="cross").select(c.ITEM_ID, "slope", appeal.alias("appeal"))


def _bounded(slope: nw.Expr) -> nw.Expr:
    return nw.max_horizontal(nw.lit(-_MOST), nw.min_horizontal(nw.lit(_MOST), slope))
