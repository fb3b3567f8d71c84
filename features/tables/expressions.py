"""Expressions that several tables share, and that every engine can say."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, cast

import narwhals as nw

from features import columns as c


def frame_of(native: object) -> nw.LazyFrame[Any]:
    """Return a native frame as Narwhals sees it.

    What an eager and a lazy frame have in common is all that the tables use, so one type stands for both.
    """
    return cast("nw.LazyFrame[Any]", nw.from_native(cast("Any", native)))


def day_number(day: str) -> nw.Expr:
    """Return a day as a whole number, so that engines agree on differences: Python's ``date.toordinal``.

    Engines disagree on what ``date - date`` is; they agree on years and on days of the year.

        date(2020, 3, 1) -> 737485
    """
    years = nw.col(day).dt.year().cast(nw.Int64) - 1
    leap_days = years // 4 - years // 100 + years // 400
    return years * 365 + leap_days + nw.col(day).dt.ordinal_day().cast(nw.Int64)


def days_before(day: str, as_of: dt.date) -> nw.Expr:
    """Return how many days a column's day lies before ``as_of``; 0 on that day."""
    return nw.lit(as_of.toordinal()) - day_number(day)


def units() -> nw.Expr:
    """Return the units of a purchase row; one where the quantity is unknown."""
    return nw.col(c.QUANTITY).fill_null(1).cast(nw.Int64)


def amount() -> nw.Expr:
    """Return what a purchase row cost, minor units; nothing where the price is unknown."""
    return units() * nw.col(c.PRICE).fill_null(0).cast(nw.Int64)


def order_key() -> nw.Expr:
    """Return the order that a purchase row belongs to; a user's purchases of one day where that is unknown."""
    day = nw.concat_str(nw.lit("day "), day_number(c.LOCAL_DAY).cast(nw.String))
    return nw.coalesce(nw.col(c.ORDER_ID), day)


def order_sql(of: str = "", *, across_customers: bool = False) -> str:
    """Return the SQL of an order's key, by the rule of ``order_key``, for ``features.tables.sql.run``.

        >>> order_sql()
        "coalesce(order_id, concat('day ', CAST(CAST(local_day AS DATE) AS STRING)))"

    Args:
        of: the rows' name in the query, with its dot: ``e.``.
        across_customers: whether orders of several customers are told apart by it, even if they have one id by mistake;
            otherwise the query itself keeps customers apart.
    """
    key = f"coalesce({of}{c.ORDER_ID}, concat('day ', CAST(CAST({of}{c.LOCAL_DAY} AS DATE) AS STRING)))"
    return f"concat({of}{c.USER_ID}, ' ', {key})" if across_customers else key


def top_category(category: str = c.CATEGORY) -> nw.Expr:
    """Return the first part of a category path: ``a`` of ``a/b/c``."""
    return nw.col(category).str.replace_all("/.*", "")


def is_type(*event_types: str) -> nw.Expr:
    """Return whether a row is of one of the event types."""
    return nw.col(c.EVENT_TYPE).is_in(list(event_types))


def grouped(
    rows: nw.LazyFrame[Any], by: Sequence[str], *aggregates: nw.Expr, whole: Sequence[str]
) -> nw.LazyFrame[Any]:
    """Return one row a group; the columns ``whole`` are int64 on every engine.

    The cast comes last: inside an aggregation pandas would fall back to a slow path.
    """
    return rows.group_by(*by).agg(*aggregates).with_columns(*(nw.col(name).cast(nw.Int64) for name in whole))


def marks(condition: nw.Expr) -> nw.Expr:
    """Return 1 where ``condition`` holds, else 0; their sum counts rows on every engine."""
    return nw.when(condition).then(nw.lit(1)).otherwise(nw.lit(0)).cast(nw.Int64)
