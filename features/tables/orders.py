"""What each user bought, and when each was seen."""

from __future__ import annotations

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.tables.expressions import amount, frame_of, is_type, order_key, units


def purchases(events: IntoFrameT) -> IntoFrameT:
    """Return one row a buyer: orders, units, money and the first and last day of purchase.

        user_id  order_id  local_day   quantity  price          user_id  num_orders  num_units  monetary  ...
        ann      o1        2024-05-01  2         300      ->    ann      2           4          1,600
        ann      o1        2024-05-01  1         400
        ann      o2        2024-05-03  1         600

    Refunds are rows of their own in the log and are not taken off.

    Args:
        events: rows of the event log.

    Returns:
        user_id, num_orders, num_purchases (rows), num_units, monetary (minor units), first_purchase_day,
        last_purchase_day.
    """
    rows = frame_of(events).filter(is_type(c.PURCHASE))
    rows = rows.with_columns(units().alias("units"), amount().alias("amount"), order_key().alias("order_key"))
    totals = rows.group_by(c.USER_ID).agg(
        nw.col("order_key").n_unique().alias("num_orders"),
        nw.len().alias("num_purchases"),
        nw.col("units").sum().alias("num_units"),
        nw.col("amount").sum().alias("monetary"),
        nw.col(c.LOCAL_DAY).min().alias("first_purchase_day"),
        nw.col(c.LOCAL_DAY).max().alias("last_purchase_day"),
    )
    whole = ("num_orders", "num_purchases", "num_units", "monetary")
    return totals.with_columns(*(nw.col(name).cast(nw.Int64) for name in whole)).to_native()


def interactions(events: IntoFrameT) -> IntoFrameT:
    """Return one row a user: num_interactions and the first and last day of any event.

    Messages that the shop sent are no interactions of the user; opening or clicking one is.

    Args:
        events: rows of the event log.

    Returns:
        user_id, num_interactions, first_interaction_day, last_interaction_day.
    """
    rows = frame_of(events).filter(~is_type(*_NOT_BY_THE_USER))
    totals = rows.group_by(c.USER_ID).agg(
        nw.len().alias("num_interactions"),
        nw.col(c.LOCAL_DAY).min().alias("first_interaction_day"),
        nw.col(c.LOCAL_DAY).max().alias("last_interaction_day"),
    )
    return totals.with_columns(nw.col("num_interactions").cast(nw.Int64)).to_native()


_NOT_BY_THE_USER = (c.IMPRESSION, "message_sent", "message_delivered", "message_bounced")
