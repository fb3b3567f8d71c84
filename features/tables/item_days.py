"""What happened to each item on each local day."""

from __future__ import annotations

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.tables.expressions import amount, frame_of, is_type, marks, units

_COUNTED = {"num_views": c.VIEW, "num_carts": c.CART, "num_favourites": c.FAVORITE, "num_purchases": c.PURCHASE}
DAY_EVENTS = tuple(_COUNTED.values())  # a day without any of them is no day of an item
_SUMS = (*_COUNTED, "num_units", "priced_units", "revenue")


def item_days(events: IntoFrameT) -> IntoFrameT:
    """Return one row an item and day on which it was viewed, put in a cart, favoured or bought.

    Args:
        events: rows of the event log.

    Returns:
        item_id, local_day, num_views, num_carts, num_favourites, num_purchases (rows), num_units, priced_units
        (units whose price is known), revenue (minor units, of these), num_buyers (distinct users).
    """
    rows = frame_of(events).filter(is_type(*DAY_EVENTS) & ~nw.col(c.ITEM_ID).is_null())
    bought, nothing = is_type(c.PURCHASE), nw.lit(0)
    rows = rows.with_columns(
        *(marks(is_type(event_type)).alias(name) for name, event_type in _COUNTED.items()),
        nw.when(bought).then(units()).otherwise(nothing).alias("num_units"),
        nw.when(bought & ~nw.col(c.PRICE).is_null()).then(units()).otherwise(nothing).alias("priced_units"),
        nw.when(bought).then(amount()).otherwise(nothing).alias("revenue"),
    )
    sums = rows.group_by(c.ITEM_ID, c.LOCAL_DAY).agg(*(nw.col(name).sum().alias(name) for name in _SUMS))
    buyers = rows.filter(bought).group_by(c.ITEM_ID, c.LOCAL_DAY).agg(nw.col(c.USER_ID).n_unique().alias("num_buyers"))
    joined = sums.join(buyers, on=[c.ITEM_ID, c.LOCAL_DAY], how="left")
    whole = (*(nw.col(name).cast(nw.Int64) for name in _SUMS), nw.col("num_buyers").fill_null(0).cast(nw.Int64))
    return joined.with_columns(*whole).select(c.ITEM_ID, c.LOCAL_DAY, *_SUMS, "num_buyers").to_native()
