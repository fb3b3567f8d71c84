"""Visits: what a customer did in one go, and how each customer visits."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.tables.expressions import days_before, frame_of, grouped, is_type, marks
from features.tables.instants import EPOCH_US, with_epoch_us

VISIT_ID: Final = "visit_id"
# What a customer does in the shop; a message or a refund is no visit.
VISIT_EVENTS: Final = (
    c.VIEW,
    "view_section",
    "search",
    c.FAVORITE,
    c.CART,
    c.REMOVE_FROM_CART,
    c.CHECKOUT,
    c.PURCHASE,
    "login",
)
RECENT_DAYS: Final = 28
_MINUTE_US: Final = 60_000_000
_KEPT: Final = (c.USER_ID, VISIT_ID, EPOCH_US, c.LOCAL_DAY, c.LOCAL_HOUR, c.EVENT_TYPE, "dwell_ms")


def visits(events: IntoFrameT, *, gap_minutes: int) -> IntoFrameT:
    """Return one row a visit: the events of one ``session_id``, or, without one, events without a longer pause.

        session_id  at                 visit_id
        s1          09:00              s1
        s1          09:50              s1          one id is one visit, however long
        -           11:00              gap 1
        -           11:29              gap 1       29 minutes later
        -           12:00              gap 2       31 minutes later

    Args:
        events: rows of the event log, with ``local_day`` and ``local_hour``.
        gap_minutes: a longer pause than this ends a visit that has no id.

    Returns:
        user_id, visit_id, local_day and local_hour (of the first event), num_events, num_views, dwell_ms, bought
        (0 or 1). dwell_ms is the sum of what the events say, or from the first to the last event where none does.

    Source: the thirty-minute rule of web analytics (Catledge and Pitkow 1995 measured 25.5 minutes).
    """
    rows = frame_of(with_epoch_us(events)).filter(is_type(*VISIT_EVENTS))
    has_id = ~nw.col(c.SESSION_ID).is_null()
    named = rows.filter(has_id).with_columns(nw.col(c.SESSION_ID).alias(VISIT_ID)).select(*_KEPT)
    unnamed = _by_gap(rows.filter(~has_id), gap_us=gap_minutes * _MINUTE_US).select(*_KEPT)
    rows = nw.concat([named, unnamed]).with_columns(
        (nw.col(EPOCH_US) * 24 + nw.col(c.LOCAL_HOUR)).alias("start"),  # its least value tells the first event's hour
        marks(is_type(c.VIEW)).alias("views"),
        marks(is_type(c.PURCHASE)).alias("buys"),
        marks(~nw.col("dwell_ms").is_null()).alias("timed"),
        nw.col("dwell_ms").fill_null(0).cast(nw.Int64),
    )
    each = grouped(
        rows,
        [c.USER_ID, VISIT_ID],
        nw.col(c.LOCAL_DAY).min(),
        nw.col("start").min(),
        nw.col(EPOCH_US).min().alias("first"),
        nw.col(EPOCH_US).max().alias("last"),
        nw.len().alias("num_events"),
        nw.col("views").sum().alias("num_views"),
        nw.col("dwell_ms").sum().alias("told"),
        nw.col("timed").max(),
        nw.col("buys").max().alias("bought"),
        whole=("num_events", "num_views", "told"),
    )
    lasted = (nw.col("last") - nw.col("first")) // 1000
    dwell = nw.when(nw.col("timed") > 0).then(nw.col("told")).otherwise(lasted).alias("dwell_ms")
    hour = (nw.col("start") % 24).alias(c.LOCAL_HOUR)
    done = each.select(c.USER_ID, VISIT_ID, c.LOCAL_DAY, hour, "num_events", "num_views", dwell, "bought")
    return done.to_native()


def _by_gap(rows: nw.LazyFrame[Any], *, gap_us: int) -> nw.LazyFrame[Any]:
    order = [EPOCH_US, c.EVENT_ID]
    before = nw.col(EPOCH_US).shift(1).over(c.USER_ID, order_by=order).alias("before")
    rows = rows.with_columns(before)
    first = nw.col("before").is_null() | (nw.col(EPOCH_US) - nw.col("before") > gap_us)
    rows = rows.with_columns(marks(first).alias("opens"))
    number = nw.col("opens").cum_sum().over(c.USER_ID, order_by=order).cast(nw.Int64).cast(nw.String)
    return rows.with_columns(nw.concat_str(nw.lit("gap "), number).alias(VISIT_ID))


def visit_habits(visits: IntoFrameT, *, as_of: dt.date) -> IntoFrameT:
    """Return one row a visitor.

    Args:
        visits: from ``visits``.
        as_of: the local day from which the last 28 days are counted back, itself included.

    Returns:
        user_id, num_visits, num_visits_28d, active_days (distinct local days), depth (events a visit),
        views_per_visit, dwell_seconds (median of its visits), visit_conversion (share of visits with a purchase).
    """
    recent = marks(days_before(c.LOCAL_DAY, as_of) < RECENT_DAYS).alias("recent")
    rows = frame_of(visits).with_columns(recent)
    habits = grouped(
        rows.with_columns((nw.col("dwell_ms") / 1000).alias("seconds")),
        [c.USER_ID],
        nw.len().alias("num_visits"),
        nw.col("recent").sum().alias("num_visits_28d"),
        nw.col(c.LOCAL_DAY).n_unique().alias("active_days"),
        nw.col("num_events").mean().alias("depth"),
        nw.col("num_views").mean().alias("views_per_visit"),
        nw.col("seconds").median().alias("dwell_seconds"),
        nw.col("bought").mean().alias("visit_conversion"),
        whole=("num_visits", "num_visits_28d", "active_days"),
    )
    return habits.to_native()
