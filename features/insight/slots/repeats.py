"""How alike the answers of one customer are: what slots' intervals are made wider by.

    a customer sees a slot ten times and never clicks: it says little more than one time would

A slot's rates are worth fewer independent times shown than there are (``features.insight.intervals.effective_number``), and
its counts spread as many times wider.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from features.insight.intervals import Floats, effective_number

# Each rate: what came, and of what; ``came_of`` names the sum of their products over customers.
RATES: Final = {"click_rate": ("clicked", "shown"), "purchase_rate": ("bought", "clicked")}
_COUNTS: Final = ("shown", "clicked", "bought")


def repeats_sql(told: str) -> str:
    """Return the query of ``slot_repeats`` over a table of slot, user_id, clicked, bought: a row a time shown."""
    squares = ", ".join(f"CAST(sum({name} * {name}) AS DOUBLE) AS {name}_sq" for name in _COUNTS)
    both = ", ".join(f"CAST(sum({came} * {of}) AS DOUBLE) AS {came}_{of}" for came, of in RATES.values())
    customers = ", ".join(f"count(CASE WHEN {of} > 0 THEN 1 END) AS {of}_customers" for _, of in RATES.values())
    return f"""
        SELECT slot, {squares}, {both}, {customers} FROM (
            SELECT slot, user_id, count(*) AS shown, sum(clicked) AS clicked, sum(bought) AS bought
            FROM {told} GROUP BY slot, user_id)
        GROUP BY slot"""


def worth_of(sums: pd.DataFrame, repeats: pd.DataFrame | None, rate: str) -> Floats:
    """Return how many independent cases each slot's rate is worth, ``[N]``.

    Args:
        sums: slot, shown, clicked, bought.
        repeats: from ``slot_repeats``; every time shown is another customer's where left out.
        rate: ``click_rate`` or ``purchase_rate``.
    """
    came, of = RATES[rate]
    if repeats is None:
        return sums[of].to_numpy(np.float64)
    known = repeats.set_index("slot").reindex(sums["slot"])
    return effective_number(
        sums[came], sums[of], came_sq=known[f"{came}_sq"], came_of=known[f"{came}_{of}"], of_sq=known[f"{of}_sq"],
        customers=known[f"{of}_customers"],
    )  # fmt: skip


def spread_of(answers: pd.DataFrame, repeats: pd.DataFrame) -> dict[str, float]:
    """Return how many times wider each slot's clicks spread than those of as many customers would, at least 1.

    Args:
        answers: from ``slot_answers``, in memory.
        repeats: from ``slot_repeats``.
    """
    sums = answers.groupby("slot", as_index=False)[list(_COUNTS)].sum()
    spread = sums["shown"].to_numpy(np.float64) / worth_of(sums, repeats, "click_rate")
    return dict(zip(sums["slot"].astype(str), spread.tolist(), strict=True))
