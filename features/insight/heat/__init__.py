"""Where and when the shop is hot: hours of the week, what rises and falls, price bands, time to think."""

from features.insight.heat.discount import discount_hours, when_to_discount, with_empty_hours
from features.insight.heat.first_view import first_view_waits, time_to_purchase
from features.insight.heat.hour_of_week import hour_of_week
from features.insight.heat.movers import MoversDefinition, block_counts, movers
from features.insight.heat.popular import HeatDefinition, heat, heat_sums
from features.insight.heat.price_bands import price_band_shares, price_band_sums

__all__ = [
    "HeatDefinition",
    "MoversDefinition",
    "block_counts",
    "discount_hours",
    "first_view_waits",
    "heat",
    "heat_sums",
    "hour_of_week",
    "movers",
    "price_band_shares",
    "price_band_sums",
    "time_to_purchase",
    "when_to_discount",
    "with_empty_hours",
]
