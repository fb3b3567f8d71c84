"""The first parts of the customer table: when each was seen, recency, frequency, monetary value, lifecycle."""

from __future__ import annotations

from typing import Final

import narwhals as nw

from features import columns as c
from features.customers.context import Context
from features.customers.parts import Part, column
from features.customers.workbench import Frame
from features.tables import sql
from features.tables.expressions import frame_of, is_type
from features.tables.lifecycle import lifecycle
from features.tables.orders import interactions, purchases
from features.tables.preferences import favourite_category, last_seen
from features.tables.rfm import rfm

_TRADED: Final = (
    *(c.USER_ID, c.EVENT_TYPE, c.LOCAL_DAY, c.ITEM_ID),
    *(c.QUANTITY, c.PRICE, c.ORDER_ID, c.COUPON_ID),
)
_SCORES: Final = ("recency_score", "frequency_score", "monetary_score")


def clocks(context: Context) -> Frame:
    """Return one row a user: first and last days, orders, units and money; made once for all parts."""
    return context.once("clocks", lambda: _clocks(context))


def buyers(context: Context) -> Frame:
    """Return the clocks of those who bought."""
    return frame_of(clocks(context)).filter(~nw.col("num_orders").is_null()).to_native()


def traded(context: Context) -> Frame:
    """Return the rows of purchases and refunds, with what parts read of them; a small share of most logs, kept once."""
    rows = frame_of(context.rows)
    return context.once("traded", lambda: rows.filter(is_type(c.PURCHASE, c.REFUND)).select(*_TRADED).to_native())


def _clocks(context: Context) -> Frame:
    seen = sql.run(f"SELECT DISTINCT {c.USER_ID} FROM {{rows}}", rows=context.rows)
    bought = frame_of(seen).join(frame_of(purchases(traded(context))), on=c.USER_ID, how="left")
    return bought.join(frame_of(interactions(context.rows)), on=c.USER_ID, how="left").to_native()


def _scores(context: Context) -> Frame:
    scored = frame_of(rfm(buyers(context), as_of=context.as_of))
    every = frame_of(clocks(context)).select(c.USER_ID).join(scored, on=c.USER_ID, how="left")
    basket = nw.col("monetary").cast(nw.Float64) / nw.col("frequency").cast(nw.Float64)
    return every.select(
        *(c.USER_ID, "recency_days"),
        *(nw.col(name).fill_null(0).cast(nw.Int64) for name in ("frequency", "monetary")),
        *_SCORES,
        basket.alias("average_basket"),
    ).to_native()


BASICS: Final = (
    Part(
        name="clocks",
        build=clocks,
        columns=(
            column("first_interaction_day", "day", "", "First local day with an event that the customer caused."),
            column("last_interaction_day", "day", "", "Last local day with an event that the customer caused."),
            column(
                "num_interactions", "count", "events", "Events that the customer caused; what the shop sent is none."
            ),
            column("first_purchase_day", "day", "", "Local day of the first purchase; missing without one."),
            column("last_purchase_day", "day", "", "Local day of the last purchase; missing without one."),
        ),
    ),
    Part(
        name="scores",
        build=_scores,
        columns=(
            column("recency_days", "count", "days", "Days from the last purchase to `as_of`; missing without one."),
            column("frequency", "count", "orders", "Distinct orders; a day's purchases where no order id is given."),
            column("monetary", "money", "minor units", "Price times units of all purchases; refunds not taken off."),
            column("recency_score", "count", "1 to 5", "Fifth of buyers by recency; 5 the most recent."),
            column("frequency_score", "count", "1 to 5", "Fifth of buyers by orders; 5 the most, equal values alike."),
            column("monetary_score", "count", "1 to 5", "Fifth of buyers by money; 5 the most, equal values alike."),
            column("average_basket", "real", "minor units", "Money an order: `monetary / frequency`."),
        ),
    ),
    Part(
        name="lifecycle",
        build=lambda context: lifecycle(clocks(context), as_of=context.as_of, settings=context.shop.lifecycle),
        columns=(
            column("lifecycle", "text", "", "prospect, new, active, cooling, churned or dormant, by two clocks."),
        ),
    ),
    Part(
        name="favourite_category",
        build=lambda context: favourite_category(traded(context), context.items),
        by_user=True,
        columns=(
            column("favourite_category", "text", "", "Top-level category of most purchase rows; missing without any."),
        ),
    ),
    Part(
        name="last_region",
        build=lambda context: last_seen(context.rows, c.REGION),
        columns=(column("last_region", "text", "", "Region of the latest event that names one."),),
    ),
    Part(
        name="last_device",
        build=lambda context: last_seen(context.rows, c.DEVICE_ID),
        columns=(column("last_device_id", "id", "", "Device of the latest event that names one."),),
    ),
)
