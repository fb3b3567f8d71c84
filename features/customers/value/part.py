"""The customer table's columns of growth, value and risk."""

from __future__ import annotations

from typing import Final

import duckdb

from features.customers.basics import clocks, traded
from features.customers.groups import RFM_SEGMENTS, rfm_segment, value_tier
from features.customers.growth import growth_stage
from features.customers.parts import Context, CustomerColumn, Part
from features.customers.value.purchase_days import buyers, purchase_days
from features.tables.rfm import rfm

Relation = duckdb.DuckDBPyRelation


def days_of(context: Context) -> Relation:
    """Return the days with a purchase, made once."""
    return context.once("purchase_days", lambda: purchase_days(traded(context), context.items))


def _growth(context: Context) -> Relation:
    settings = context.shop.growth
    return growth_stage(
        buyers(days_of(context), as_of=context.as_of, trend_days=settings.trend_days), settings=settings
    )


def _segment(context: Context) -> Relation:
    return rfm_segment(rfm(clocks(context).filter("num_orders IS NOT NULL"), as_of=context.as_of))


def _estimates(context: Context) -> Relation:
    def make() -> Relation:
        # Brings SciPy's optimisers, which nobody who only reads the columns' names needs.
        from features.customers.value.estimates import estimate  # noqa: PLC0415

        found = estimate(
            days_of(context),
            as_of=context.as_of,
            settings=context.shop.value,
            trend_days=context.shop.growth.trend_days,
        )
        return context.connection.from_arrow(found.to_arrow())

    return context.once("value_estimates", make)


def _tier(context: Context) -> Relation:
    return value_tier(_estimates(context), percents=context.shop.value.tier_percents)


VALUE: Final = (
    Part(
        name="growth",
        build=_growth,
        columns=(
            CustomerColumn(
                name="growth_stage",
                kind="text",
                meaning="newcomer, growing, loyal, silent or lost, by clocks and the trend of purchase days; "
                "missing without a purchase.",
            ),
        ),
    ),
    Part(
        name="segment",
        build=_segment,
        columns=(
            CustomerColumn(
                name="rfm_segment",
                kind="text",
                meaning=f"Of {', '.join(RFM_SEGMENTS)}: by the three scores; missing without a purchase.",
            ),
        ),
    ),
    Part(
        name="estimates",
        build=_estimates,
        columns=(
            CustomerColumn(
                name="expected_purchases",
                kind="real",
                unit="days with a purchase",
                meaning="Expected in the next 90 days (`value.horizon_days`); missing where too few customers have "
                "bought again to say, as all of these.",
            ),
            CustomerColumn(
                name="probability_alive",
                kind="share",
                meaning="Chance that the customer has not left for good, by MBG/NBD.",
            ),
            CustomerColumn(
                name="customer_lifetime_value",
                kind="real",
                unit="minor units",
                meaning="Discounted margin of the purchases of the next 365 days (`value.lifetime_days`); revenue "
                "where no item's cost is known; missing where no price is.",
            ),
            CustomerColumn(
                name="churn_risk",
                kind="share",
                meaning="Calibrated chance of no purchase in the next 90 days (`value.horizon_days`).",
            ),
        ),
    ),
    Part(
        name="value_tier",
        build=_tier,
        columns=(
            CustomerColumn(
                name="value_tier",
                kind="text",
                meaning="top_1, top_5, top_20 (`value.tier_percents` of customers by lifetime value) or rest.",
            ),
        ),
    ),
)
