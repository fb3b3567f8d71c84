"""Visits: what a customer did in one go, and how each customer visits."""

from __future__ import annotations

import datetime as dt
from typing import Final

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.tables.expressions import days_before, frame_of, grouped, is_type, marks
from features.tables.instants import EPOCH_US
from features.tables.sessions import VISIT_EVENTS, VISIT_ID, session_events

__all__ = ["RECENT_DAYS", "VISIT_EVENTS", "VISIT_ID", "visit_habits", "visits"]

RECENT_DAYS: Final = 28
_KEPT: Final = (c.LOCAL_DAY, c.LOCAL_HOUR, c.EVENT_TYPE, "dwell_ms")


def visits(events: IntoFrameT, *, gap_minutes: int) -> IntoFrameT:
    """Return one row a visit; ``session_events`` says which events make one.

    Args:
        events: rows of the event log, with ``local_day`` and ``local_hour``.
        gap_minutes: a longer pause than this ends a visit that has no id.

    Returns:
        user_id, visit_id, local_day and local_hour (of the first event), num_events, num_views, dwell_ms, bought
        (0 or 1). dwell_ms is the sum of what the events say, or from the first to the last event where none does.
    """
    rows = frame_of(session_events(events, gap_minutes=gap_minutes, keep=_KEPT)).with_columns(
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
