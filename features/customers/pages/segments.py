"""What the page of customers says of groups: sizes, moves, maps, value and risk. Pure functions over frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd

from features import columns as c
from features.customers.growth import GROWTH_STAGES
from features.privacy.small_groups import Suppressed, suppress_small_groups
from features.tables.lifecycle import LIFECYCLE_STAGES

SCORES: Final = (1, 2, 3, 4, 5)
# In the order in which a customer goes through them, or from the best down.
ORDERS: Final[Mapping[str, Sequence[str]]] = {
    "lifecycle": LIFECYCLE_STAGES,
    "growth_stage": GROWTH_STAGES,
    "rfm_segment": (
        *("champion", "loyal", "potential_loyalist", "new", "promising", "need_attention"),
        *("about_to_sleep", "at_risk", "cannot_lose", "hibernating", "lost"),
    ),
}
RISK_BANDS: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def sizes(customers: pd.DataFrame, column: str, *, minimum: int) -> Suppressed:
    """Return segment, customers, share, orders (mean), money (sum, minor units) and money_share, a row a segment.

    Args:
        customers: the customer table.
        column: of the segments; customers without one are left out.
        minimum: fewest customers that are shown.
    """
    grouped = customers[customers[column].notna()].groupby(column)
    found = grouped.agg(customers=(c.USER_ID, "size"), orders=("frequency", "mean"), money=("monetary", "sum"))
    found = found.reindex(in_order(column, found.index)).rename_axis("segment").reset_index()
    found["share"] = found["customers"] / max(found["customers"].sum(), 1)
    found["money_share"] = found["money"] / max(float(found["money"].sum()), 1.0)
    measures = ("orders", "money", "share", "money_share")
    return suppress_small_groups(found, counts="customers", minimum=minimum, measures=measures)


def in_order(column: str, values: Iterable[str]) -> list[str]:
    """Return segments in their own order where they have one, others after them by name; tiers from the top.

    >>> in_order("value_tier", ["rest", "top_20", "top_5"])
    ['top_5', 'top_20', 'rest']
    """
    known = list(ORDERS.get(column, ()))

    def place(value: str) -> tuple[int, int, str]:
        number = value.removeprefix("top_")
        return (known.index(value) if value in known else len(known), int(number) if number.isdigit() else 1000, value)

    return sorted(map(str, values), key=place)


def shown_moves(moves: pd.DataFrame, *, minimum: int) -> Suppressed:
    """Return moves (was, now, customers) with few customers hidden, within where they came from."""
    return suppress_small_groups(moves, counts="customers", minimum=minimum, within=("was",))


def rfm_map(customers: pd.DataFrame, *, minimum: int) -> Suppressed:
    """Return recency_score, frequency_score, customers and money (mean, minor units), all 25 cells."""
    buyers = customers[customers["recency_score"].notna()]
    grouped = buyers.groupby(["recency_score", "frequency_score"])
    cells = grouped.agg(customers=(c.USER_ID, "size"), money=("monetary", "mean"))
    every = pd.MultiIndex.from_product([SCORES, SCORES], names=["recency_score", "frequency_score"])
    found = cells.reindex(every).reset_index()
    found["customers"] = found["customers"].fillna(0).astype(int)
    return suppress_small_groups(found, counts="customers", minimum=minimum, measures=("money",))


def value_by_tier(customers: pd.DataFrame, *, minimum: int) -> Suppressed:
    """Return a row a value tier: customers and their share, means of what is expected, and the share of its sum.

    Returns:
        value_tier, customers, share, and of the columns that the table has: expected_purchases, probability_alive,
        churn_risk (means), customer_lifetime_value (mean), value_share.
    """
    rows = customers[customers["value_tier"].notna()]
    means = [name for name in VALUE_COLUMNS if name in rows]
    grouped = rows.groupby("value_tier")
    found = grouped.agg(customers=(c.USER_ID, "size"), **{name: (name, "mean") for name in means})
    found = found.reindex(in_order("value_tier", found.index))
    found["share"] = found["customers"] / max(len(rows), 1)
    measures = ["share", *means]
    if "customer_lifetime_value" in means:
        value = grouped["customer_lifetime_value"].sum()
        found["value_share"] = value / max(float(value.sum()), 1.0)
        measures.append("value_share")
    return suppress_small_groups(found.reset_index(), counts="customers", minimum=minimum, measures=measures)


VALUE_COLUMNS: Final = ("expected_purchases", "probability_alive", "customer_lifetime_value", "churn_risk")


def value_at_risk(customers: pd.DataFrame, *, minimum: int) -> Suppressed:
    """Return value_tier, band (0 to 4: fifths of churn risk from 0 to 1), customers and value (sum, minor units)."""
    rows = customers[customers["value_tier"].notna() & customers["churn_risk"].notna()]
    band = np.clip(np.searchsorted(RISK_BANDS, rows["churn_risk"].to_numpy(float), side="right") - 1, 0, 4)
    grouped = rows.assign(band=band).groupby(["value_tier", "band"])
    cells = grouped.agg(customers=(c.USER_ID, "size"), value=("customer_lifetime_value", "sum"))
    tiers = in_order("value_tier", rows["value_tier"].unique().tolist())
    every = pd.MultiIndex.from_product([tiers, range(len(RISK_BANDS) - 1)], names=["value_tier", "band"])
    found = cells.reindex(every).reset_index()
    found["customers"] = found["customers"].fillna(0).astype(int)
    return suppress_small_groups(found, counts="customers", minimum=minimum, measures=("value",))


def favourite_categories(counts: pd.DataFrame, *, minimum: int) -> Suppressed:
    """Return how each segment's purchases fall on categories, beside all customers'.

        segment  category  purchases        share  lift
        new      tea       30               .30    1.5     20% of all purchases are tea
        new      coffee    70               .70    0.875

    Args:
        counts: segment, category, customers, purchases.
        minimum: cells with fewer buyers are hidden.

    Returns:
        counts with share (of the segment's purchases) and lift (share over that of all customers).
    """
    of_segment = counts.groupby("segment")["purchases"].transform("sum")
    of_category = counts.groupby("category")["purchases"].transform("sum") / max(int(counts["purchases"].sum()), 1)
    found = counts.assign(share=counts["purchases"] / of_segment)
    found["lift"] = found["share"] / of_category
    return suppress_small_groups(
        found, counts="customers", minimum=minimum, measures=("purchases", "share", "lift"), within=("segment",)
    )


def come_back(by_month: pd.DataFrame, *, last_day: pd.Timestamp, minimum: int) -> pd.Series | None:
    """Return the latest month that a whole month has followed since: month, buyers, returned, or nothing.

    Args:
        by_month: from ``buyers_by_month``.
        last_day: of the log.
        minimum: fewest customers that are spoken of; those who came back and those who did not each count.
    """
    after = by_month["month"] + pd.offsets.MonthEnd(2)  # the end of the month that follows
    gone = by_month["buyers"] - by_month["returned"]
    ready = by_month[(after <= last_day) & (by_month["returned"] >= minimum) & (gone >= minimum)]
    return None if ready.empty else ready.iloc[-1]
