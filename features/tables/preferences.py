"""What each user leans to, and what was last seen of each."""

from __future__ import annotations

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.tables.expressions import frame_of, is_type, top_category


def favourite_category(events: IntoFrameT, items: IntoFrameT) -> IntoFrameT:
    """Return one row a buyer of items with a category: the top-level category of most purchase rows.

    Of equals the first by name.

    Args:
        events: rows of the event log.
        items: item_id, category.

    Returns:
        user_id, favourite_category.
    """
    known = frame_of(items).filter(~nw.col(c.CATEGORY).is_null()).select(c.ITEM_ID, top_category().alias("top"))
    bought = frame_of(events).filter(is_type(c.PURCHASE)).select(c.USER_ID, c.ITEM_ID)
    counts = bought.join(known, on=c.ITEM_ID, how="inner").group_by(c.USER_ID, "top").agg(nw.len().alias("num_rows"))
    most = counts.group_by(c.USER_ID).agg(nw.col("num_rows").max().alias("most"))
    best = counts.join(most, on=c.USER_ID, how="inner").filter(nw.col("num_rows") == nw.col("most"))
    return best.group_by(c.USER_ID).agg(nw.col("top").min().alias("favourite_category")).to_native()


def last_seen(events: IntoFrameT, column: str) -> IntoFrameT:
    """Return one row a user with its latest value of ``column``, nulls left out; of equally late ones the least.

    Args:
        events: rows of the event log.
        column: such as ``region`` or ``device_id``.

    Returns:
        user_id, last_<column>.
    """
    rows = frame_of(events).filter(~nw.col(column).is_null()).select(c.USER_ID, c.TS, column)
    latest = rows.group_by(c.USER_ID).agg(nw.col(c.TS).max().alias("latest"))
    last = rows.join(latest, on=c.USER_ID, how="inner").filter(nw.col(c.TS) == nw.col("latest"))
    return last.group_by(c.USER_ID).agg(nw.col(column).min().alias(f"last_{column}")).to_native()
