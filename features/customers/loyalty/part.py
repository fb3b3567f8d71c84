"""Loyalty points as columns of the customer table; missing in a shop without ``loyalty.yaml``."""

from __future__ import annotations

from functools import partial
from typing import Final

from features.customers.context import Context
from features.customers.loyalty.ledger import EVENT_ORDER, STANDING_SCHEMA, loyalty_events, standings_of
from features.customers.loyalty.rules import LOYALTY_FILE, LoyaltyRules
from features.customers.parts import Part, column
from features.customers.workbench import Frame


def _standings(context: Context) -> Frame:
    path = context.data / LOYALTY_FILE if context.data is not None else None
    if path is None or not path.is_file():
        return context.empty(STANDING_SCHEMA)
    rules = LoyaltyRules.load(path)
    make = partial(standings_of, rules=rules, as_of=context.as_of, minor_units=context.shop.minor_units)
    events = loyalty_events(context.rows, context.items, rules)
    return context.bench.mapped("loyalty standings", events, make, STANDING_SCHEMA, order=EVENT_ORDER)


LOYALTY: Final = (
    Part(
        name="loyalty",
        build=_standings,
        by_user=True,
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
