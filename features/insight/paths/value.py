"""What a page or slot is worth: conversion and revenue of the visits that it was part of, after it.

    visit 1    home  search  purchase 20.00        home: 2 visits, 1 converted after it, 10.00 a visit
    visit 2    home                                search: 1 visit, 1 converted, 20.00 a visit

It says what happened after, not because: who looks for the cart page was going to buy. A randomised test says because.
"""

from __future__ import annotations

from typing import Final, TypeVar, cast

import narwhals as nw
import numpy as np
import pandas as pd

from features import columns as c
from features.insight.intervals import LEVEL, ratio, z_of
from features.insight.paths.definition import PathDefinition
from features.insight.paths.rates import shares
from features.insight.paths.steps import AUDIENCE, NODE, VISIT, named_events, with_audience
from features.insight.paths.transitions import whole_sums
from features.tables.expressions import amount, frame_of, is_type, marks
from features.tables.instants import EPOCH_US
from features.tables.sessions import VISIT_ID, session_events
from features.tables.sql import run

ALL_VISITS: Final = "(all visits)"
_PAID, _BOUGHT = "paid", "bought"
_MONEY: Final = ("revenue", "revenue_sq", "revenue_base")
_LATER: Final = (
    f"OVER (PARTITION BY {VISIT} ORDER BY {EPOCH_US}, {c.EVENT_ID} ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)"
)
FrameT = TypeVar("FrameT")


def value_counts(
    events: FrameT,
    definition: PathDefinition,
    *,
    items: FrameT | None = None,
    audiences: FrameT | None = None,
) -> FrameT:
    """Return what visits bought after each step.

    Args:
        events: rows of the event log that serve analytics.
        definition: what a step is; anchor, loops and ``top`` play no part.
        items: the contract's items, where steps are named by category or brand.
        audiences: user_id, audience; from ``two_audiences`` or ``audiences_by``.

    Returns:
        audience, node, the sums of ``rates.SUMS`` (base: visits with the step; visits: those with a purchase later than
        its first occurrence), and revenue, revenue_sq, revenue_base (minor units, float64: what was paid after it, and
        over customers its squares and its products with their visits). The node "(all visits)" has every visit.
    """
    more = (
        nw.when(is_type(c.PURCHASE)).then(amount()).otherwise(nw.lit(0)).cast(nw.Float64).alias(_PAID),
        marks(is_type(c.PURCHASE)).alias(_BOUGHT),
    )
    named = named_events(frame_of(events), definition, items, *more).to_native()
    visited = session_events(
        named,
        gap_minutes=definition.gap_minutes,
        event_types=definition.visit_types,
        keep=(c.EVENT_ID, NODE, _PAID, _BOUGHT),
    )
    kept = (AUDIENCE, c.USER_ID, VISIT_ID, EPOCH_US, c.EVENT_ID, NODE, _PAID, _BOUGHT)
    rows = with_audience(frame_of(visited), audiences).select(*kept).to_native()
    return run(_TEXT, rows=cast(FrameT, rows))


# What comes after the first occurrence is the most that comes after any.
_TEXT: Final = f"""
    WITH later AS (
        SELECT {VISIT}, {NODE}, sum({_PAID}) {_LATER} AS {_PAID}, sum({_BOUGHT}) {_LATER} AS {_BOUGHT} FROM {{rows}}),
    each_visit AS (
        SELECT {VISIT}, {NODE}, coalesce(max({_PAID}), 0) AS {_PAID},
               CASE WHEN max({_BOUGHT}) > 0 THEN 1 ELSE 0 END AS {_BOUGHT}
        FROM later WHERE {NODE} IS NOT NULL GROUP BY {VISIT}, {NODE}
        UNION ALL
        SELECT {VISIT}, '{ALL_VISITS}' AS {NODE}, sum({_PAID}) AS {_PAID}, max({_BOUGHT}) AS {_BOUGHT}
        FROM {{rows}} GROUP BY {VISIT}),
    each_user AS (
        SELECT {AUDIENCE}, {NODE}, {c.USER_ID}, sum({_BOUGHT}) AS x, count(*) AS n, sum({_PAID}) AS {_PAID}
        FROM each_visit GROUP BY {AUDIENCE}, {NODE}, {c.USER_ID}),
    summed AS (
        SELECT {AUDIENCE}, {NODE}, sum(x) AS visits, sum(n) AS base, sum(x * x) AS visits_sq, sum(x * n) AS visits_base,
               sum(n * n) AS base_sq, count(*) AS base_users, sum({_PAID}) AS revenue,
               sum({_PAID} * {_PAID}) AS revenue_sq, sum({_PAID} * n) AS revenue_base
        FROM each_user GROUP BY {AUDIENCE}, {NODE})
    SELECT {AUDIENCE}, {NODE}, {whole_sums()}, {", ".join(_MONEY)} FROM summed"""


def node_values(counts: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """Return conversion and revenue per visit of each step, with intervals.

    Revenue per visit is a ratio of two sums over customers; its interval is normal with the delta method's variance
    (Cochran 1977; Deng, Knoblich, Lu 2018). Conversion is a share over customers (``rates``).

    Args:
        counts: ``value_counts``, as pandas.
        level: of the intervals.

    Returns:
        audience, node, visits (with the step), users, converted, conversion, conversion_low, conversion_high, revenue,
        revenue_per_visit, revenue_low, revenue_high (minor units); "(all visits)" first, then by revenue.
    """
    found = shares(counts, level=level)
    n, paid = found["base"].to_numpy(float), found["revenue"].to_numpy(float)
    each = ratio(paid, n)
    spread = found["revenue_sq"] - 2 * each * found["revenue_base"] + each**2 * found["base_sq"]
    reach = z_of(level) * np.sqrt(np.maximum(spread, 0)) / n
    known = found["base_users"].to_numpy() > 1  # one customer tells nothing of how customers differ
    table = pd.DataFrame(
        {
            AUDIENCE: found[AUDIENCE],
            NODE: found[NODE],
            "visits": found["base"],
            "users": found["base_users"],
            "converted": found["visits"],
            "conversion": found["share"],
            "conversion_low": found["low"],
            "conversion_high": found["high"],
            "revenue": paid,
            "revenue_per_visit": each,
            "revenue_low": np.where(known, np.maximum(each - reach, 0), np.nan),
            "revenue_high": np.where(known, each + reach, np.nan),
        }
    )
    table["first"] = table[NODE] != ALL_VISITS
    order = [AUDIENCE, "first", "revenue", NODE]
    return table.sort_values(order, ascending=[True, True, False, True]).drop(columns="first").reset_index(drop=True)
