"""Which visit each event belongs to: the one rule of visits, shared by profiles and paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.tables.expressions import frame_of, is_type, marks
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
_MINUTE_US: Final = 60_000_000


def session_events(
    events: IntoFrameT,
    *,
    gap_minutes: int,
    event_types: Sequence[str] = VISIT_EVENTS,
    keep: Sequence[str] = (c.EVENT_ID,),
) -> IntoFrameT:
    """Return each event with its visit: the events of one ``session_id``, or, without one, those without a longer pause.

        session_id  at                 visit_id
        s1          09:00              s1
        s1          09:50              s1          one id is one visit, however long
        -           11:00              gap 1
        -           11:30              gap 1       30 minutes later
        -           12:01              gap 2       31 minutes later

    Args:
        events: rows of the event log.
        gap_minutes: a longer pause than this ends a visit that has no id.
        event_types: events that count; the others neither prolong a visit nor come back.
        keep: further columns of the result.

    Returns:
        user_id, visit_id (unique within a user), epoch_us, and ``keep``: one row an event of ``event_types``.

    Source: the thirty-minute rule of web analytics (Catledge and Pitkow 1995 measured 25.5 minutes).
    """
    kept = (c.USER_ID, VISIT_ID, EPOCH_US, *keep)
    read = dict.fromkeys((c.USER_ID, c.SESSION_ID, EPOCH_US, c.EVENT_ID, *keep))
    rows = frame_of(with_epoch_us(events)).filter(is_type(*event_types)).select(*read)
    has_id = ~nw.col(c.SESSION_ID).is_null()
    named = rows.filter(has_id).with_columns(nw.col(c.SESSION_ID).alias(VISIT_ID)).select(*kept)
    unnamed = _by_gap(rows.filter(~has_id), gap_us=gap_minutes * _MINUTE_US).select(*kept)
    return nw.concat([named, unnamed]).to_native()


def _by_gap(rows: nw.LazyFrame[Any], *, gap_us: int) -> nw.LazyFrame[Any]:
    order = [EPOCH_US, c.EVENT_ID]
    before = nw.col(EPOCH_US).shift(1).over(c.USER_ID, order_by=order).alias("before")
    rows = rows.with_columns(before)
    first = nw.col("before").is_null() | (nw.col(EPOCH_US) - nw.col("before") > gap_us)
    rows = rows.with_columns(marks(first).alias("opens"))
    number = nw.col("opens").cum_sum().over(c.USER_ID, order_by=order).cast(nw.Int64).cast(nw.String)
    return rows.with_columns(nw.concat_str(nw.lit("gap "), number).alias(VISIT_ID))
