"""What each slot earns: rates with intervals, plain and corrected for where the slot is."""

from __future__ import annotations

import pandas as pd

from features.insight.intervals import clustered, ratio
from features.insight.slots.position import PositionModel
from features.insight.slots.repeats import RATES, worth_of


def slot_table(answers: pd.DataFrame, model: PositionModel, repeats: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one row a slot, from the most looked at on.

    Args:
        answers: from ``slot_answers``, in memory.
        model: fitted to them.
        repeats: from ``slot_repeats``, in memory; every time shown is another customer's where left out.

    Returns:
        slot, shown, clicked, bought, revenue (minor units), click_rate with click_rate_low and click_rate_high (95%,
        Wilson's, for as many independent times shown as they are worth), purchase_rate (of clicks) with its ends,
        revenue_per_thousand, look with look_low and look_high, and appeal: clicks a look of what stood there, which is
        what the slot's choice of items is good for.
    """
    sums = answers.groupby("slot", as_index=False)[["shown", "clicked", "bought", "revenue"]].sum()
    for name, (came, of) in RATES.items():
        sums[name] = ratio(sums[came], sums[of])
        sums[f"{name}_low"], sums[f"{name}_high"] = clustered(sums[came], sums[of], worth_of(sums, repeats, name))
    sums["revenue_per_thousand"] = 1000 * sums["revenue"] / sums["shown"]
    looks = model.slots[["slot", "look", "low", "high"]].rename(columns={"low": "look_low", "high": "look_high"})
    found = sums.merge(looks, on="slot", how="left")
    found["appeal"] = found["click_rate"] / found["look"].where(found["look"] > 0)
    return found.sort_values(["look", "slot"], ascending=[False, True], ignore_index=True)
