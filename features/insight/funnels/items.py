"""Each item's own way from being looked at to being bought."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from features import columns as c
from features.errors import ConfigError
from features.insight.collecting import collected
from features.insight.funnels.attempts import funnel, step_us
from features.insight.funnels.definition import FunnelDefinition
from features.insight.funnels.steps import Step
from features.insight.intervals import LEVEL, ratio, wilson
from features.tables.answers import ARM, shrunk_rates
from features.tables.sql import run

ITEM_FUNNEL: Final = FunnelDefinition(
    steps=(
        Step(name="view", events=(c.VIEW,)),
        Step(name="cart", events=(c.CART,)),
        Step(name="purchase", events=(c.PURCHASE,)),
    ),
    unit="user_item",
)


def item_funnels(
    events: object, definition: FunnelDefinition = ITEM_FUNNEL, items: object | None = None, *, level: float = LEVEL
) -> pd.DataFrame:
    """Return one row an item: how many customers looked at it, put it in the cart, bought it, in this order.

        item_id  num_view  num_cart  cart_rate          cart_shrunk  num_purchase  purchase_rate      ...
        tea      200       30        0.15 [.11, .21]    0.148        12            0.40 [.25, .58]
        mug      2         1         0.50 [.09, .91]    0.110        0             0.00 [.00, .79]

    A few customers say little about an item: its shrunk rate is drawn towards that of all items, the more so the less
    items differ beyond chance (``features.tables.answers.shrunk_rates``).

    Args:
        events: rows of the event log.
        definition: a funnel whose unit is ``user_item``.
        items: the contract's items; needed where conditions name category, brand, title or labels.
        level: of the intervals.

    Returns:
        item_id; num_<step> (customers whose best attempt got there); for each further step <step>_rate of those at the
        required step before, <step>_rate_low and _high (Wilson) and <step>_shrunk; overall_rate from the first to
        the last step with its interval and overall_shrunk; total_seconds_p50 from the first to the last. Rates are
        missing where nobody got to the step before. Most customers at the first step come first.

    Raises:
        ConfigError: the unit is another.
    """
    if definition.unit != "user_item":
        raise ConfigError(f"unit: expected user_item for the funnels of items, found {definition.unit!r}.")
    attempts = funnel(events, definition, items)
    table = collected(run(_items_sql(definition), attempts=attempts))
    table = table.sort_values(["n_1", c.ITEM_ID], ascending=[False, True], kind="stable").reset_index(drop=True)
    found: dict[str, object] = {c.ITEM_ID: table[c.ITEM_ID]}
    for number, name in enumerate(definition.names, start=1):
        found[f"num_{name}"] = table[f"n_{number}"]
        if number > 1:
            found |= _rates(table, definition.base[number - 1] + 1, number, name, level)
    found |= _rates(table, 1, len(definition.steps), "overall", level)
    return pd.DataFrame({**found, "total_seconds_p50": table["total_seconds_p50"]})


def _items_sql(definition: FunnelDefinition) -> str:
    numbers = range(1, len(definition.steps) + 1)
    counts = ", ".join(f"count({step_us(n)}) AS n_{n}" for n in numbers)
    taken = f"CAST({step_us(len(numbers))} - step_1_us AS DOUBLE) / 1000000.0"
    return f"""
        SELECT {c.ITEM_ID}, {counts}, percentile({taken}, 0.5) AS total_seconds_p50
        FROM {{attempts}} GROUP BY {c.ITEM_ID}"""


def _rates(table: pd.DataFrame, base: int, number: int, name: str, level: float) -> dict[str, object]:
    came, of = table[f"n_{number}"], table[f"n_{base}"]
    low, high = wilson(came, of, level=level)
    rates = {f"{name}_rate": ratio(came, of), f"{name}_rate_low": low, f"{name}_rate_high": high}
    return {**rates, f"{name}_shrunk": _shrunk(table[c.ITEM_ID], came, of)}


def _shrunk(item: pd.Series, came: pd.Series, of: pd.Series) -> pd.Series:
    counts = pd.DataFrame({c.USER_ID: item, ARM: "all", "num_chances": of, "num_answers": came})  # an item for a user
    known = counts[counts["num_chances"] > 0]
    rates = shrunk_rates(known).set_index(c.USER_ID)["rate"] if len(known) else pd.Series(dtype=np.float64)
    return item.map(rates)
