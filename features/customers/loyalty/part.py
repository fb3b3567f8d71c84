"""Loyalty points as columns of the customer table; missing in a shop without ``loyalty.yaml``."""

from __future__ import annotations

from typing import Final

import duckdb

from features.customers.loyalty.ledger import STANDING_SCHEMA, build_ledger
from features.customers.loyalty.rules import LOYALTY_FILE, LoyaltyRules
from features.customers.parts import Context, Part, column


def _standings(context: Context) -> duckdb.DuckDBPyRelation:
    path = context.data / LOYALTY_FILE if context.data is not None else None
    if path is None or not path.is_file():
        return context.connection.from_arrow(STANDING_SCHEMA.empty_table())
    rules, minor_units = LoyaltyRules.load(path), context.shop.minor_units
    ledger = build_ledger(context.rows, context.items, rules, as_of=context.as_of, minor_units=minor_units)
    return context.connection.from_arrow(ledger.standings)


LOYALTY: Final = (
    Part(
        name="loyalty",
        build=_standings,
        columns=(
            column(
                "loyalty_points",
                "whole",
                "points",
                "Balance; below 0 where refunds took more than was left; missing without `loyalty.yaml` or a movement.",
            ),
            column(
                "loyalty_expiring_points", "count", "points", "Points that lapse within `expiring_days`, if unspent."
            ),
            column(
                "loyalty_next_step", "count", "points", "Points of the first step above the balance; none: missing."
            ),
            column("loyalty_points_missing", "count", "points", "Points still missing to the next step."),
        ),
    ),
)
