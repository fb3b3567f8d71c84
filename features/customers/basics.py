"""The first parts of the customer table: when each was seen, recency, frequency, monetary value, lifecycle."""

from __future__ import annotations

from typing import Final

import duckdb

from features import columns as c
from features.customers.parts import Context, Part, column
from features.tables.lifecycle import lifecycle
from features.tables.orders import interactions, purchases
from features.tables.preferences import favourite_category, last_seen
from features.tables.rfm import rfm

_TRADED: Final = (
    *(c.USER_ID, c.EVENT_TYPE, c.LOCAL_DAY, c.ITEM_ID),
    *(c.QUANTITY, c.PRICE, c.ORDER_ID, c.COUPON_ID),
)


def clocks(context: Context) -> duckdb.DuckDBPyRelation:
    """Return one row a user: first and last days, orders, units and money; made once for all parts."""
    return context.once("clocks", lambda: _clocks(context))


def traded(context: Context) -> duckdb.DuckDBPyRelation:
    """Return the rows of purchases and refunds, with what parts read of them; a small share of most logs, kept once."""
    kinds, names = (c.PURCHASE, c.REFUND), ", ".join(_TRADED)
    return context.once("traded", lambda: context.rows.filter(f"{c.EVENT_TYPE} IN {kinds}").select(names))


def _clocks(context: Context) -> duckdb.DuckDBPyRelation:
    seen = context.rows.select(c.USER_ID).distinct().set_alias("s")
    bought = seen.join(purchases(traded(context)).set_alias("b"), c.USER_ID, how="left").set_alias("c")
    return bought.join(interactions(context.rows).set_alias("i"), c.USER_ID, how="left")


def _scores(context: Context) -> duckdb.DuckDBPyRelation:
    buyers = clocks(context).filter("num_orders IS NOT NULL")
    scored = rfm(buyers, as_of=context.as_of).set_alias("r")
    every = clocks(context).select(c.USER_ID).set_alias("u").join(scored, c.USER_ID, how="left")
    return every.select("""
        user_id, recency_days, coalesce(frequency, 0) AS frequency, coalesce(monetary, 0) AS monetary,
        recency_score, frequency_score, monetary_score, monetary / frequency AS average_basket""")


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
