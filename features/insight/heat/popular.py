"""What is hot: events that fade with a half-life, and whether the last period is more than the one before.

    item   events                         half-life 7 days                      trend of 7 days
    lamp   view today, cart 7 days ago    1 + 4 / 2 = 3                         1 against 4

A customer's events come in bunches, so the trend's interval does not take them for independent: customers are. With
n customers' sums a_i of the period and b_i of the one before, A and B in total, the variance of log(A / B) is the sum
of (a_i / A - b_i / B)² (the delta method, customers as clusters).
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd
from narwhals.typing import IntoFrameT

from features import columns as c
from features.errors import ConfigError
from features.insight.by import BYS, By, frames_for, rows_sql, value_sql
from features.insight.collecting import collected
from features.insight.definitions import check_choice, check_event_types, check_whole, parsed
from features.insight.intervals import Z, ratio
from features.insight.retention.periods import checked_day, of_types, place_of
from features.settings import ProfileSettings
from features.tables.sql import run


@dataclass(frozen=True, kw_only=True)
class HeatDefinition:
    """How heat is measured.

    Args:
        by: item, category (the top-level one) or shop.
        half_life_days: days after which an event counts half.
        trend_days: length of the two periods that are compared: the last, and the one before.
        event_weights: what one event counts, by type; types left out count nothing.
    """

    by: By = "item"
    half_life_days: int = 7
    trend_days: int = 7
    event_weights: Mapping[str, int] = field(default_factory=lambda: ProfileSettings().event_weights)

    def __post_init__(self) -> None:
        check_choice("by", self.by, BYS)
        check_whole("half_life_days", self.half_life_days, least=1)
        check_whole("trend_days", self.trend_days, least=1)
        if not isinstance(self.event_weights, Mapping) or not self.event_weights:
            raise ConfigError(f"event_weights: expected event types and weights, found {self.event_weights!r}.")
        check_event_types("event_weights", tuple(self.event_weights))
        for event_type, weight in self.event_weights.items():
            check_whole(f"event_weights.{event_type}", weight, least=1)

    @classmethod
    def parse(cls, mapping: object, *, where: str) -> HeatDefinition:
        """Read a definition from a YAML mapping.

        Raises:
            ConfigError: a name is unknown or a value does not fit; the message begins with ``where``.
        """
        return parsed(cls, mapping, where=where)


def heat_sums(
    events: IntoFrameT, definition: HeatDefinition, *, as_of: dt.date, items: IntoFrameT | None = None
) -> IntoFrameT:
    """Return heat and the sums that its trend needs, a row an item, category or the shop.

    Args:
        events: rows of the event log: user_id, event_type, local_day, and item_id but for the shop.
        definition: how heat is measured.
        as_of: the last local day that counts, on which nothing has faded.
        items: item_id and category, for categories.

    Returns:
        value, heat (float64), num_events, num_customers (of both periods), now and before (weights of the last
        period and of the one before), and over customers now_now, now_before, before_before (sums of products).
    """
    last, days = place_of("day", checked_day("as_of", as_of)), definition.trend_days
    cases = " ".join(f"WHEN '{name}' THEN {weight}" for name, weight in sorted(definition.event_weights.items()))
    rate = math.log(2) / definition.half_life_days
    rows = f"""SELECT user_id, {value_sql(definition.by)} AS value, {last} - unix_date({c.LOCAL_DAY}) AS age,
                      CASE {c.EVENT_TYPE} {cases} END AS weight
               {rows_sql(definition.by, of_types(tuple(definition.event_weights)))}"""
    text = f"""
        WITH faded AS (
            SELECT value, sum(weight * exp(-{rate!r} * age)) AS heat, count(*) AS num_events
            FROM ({rows}) AS all_rows WHERE age >= 0 GROUP BY value
        ),
        each_one AS (
            SELECT value, sum(CASE WHEN age < {days} THEN weight ELSE 0 END) AS now,
                   sum(CASE WHEN age < {days} THEN 0 ELSE weight END) AS before
            FROM ({rows}) AS last_rows WHERE age >= 0 AND age < {2 * days} GROUP BY value, user_id
        ),
        trend AS (
            SELECT value, count(*) AS num_customers, sum(now) AS now, sum(before) AS before, sum(now * now) AS now_now,
                   sum(now * before) AS now_before, sum(before * before) AS before_before
            FROM each_one GROUP BY value
        )
        SELECT faded.value AS value, heat, num_events, {", ".join(f"CAST(coalesce({x}, 0) AS BIGINT) AS {x}" for x in _SUMS)}
        FROM faded LEFT JOIN trend ON faded.value = trend.value
    """
    return run(text, **frames_for(definition.by, events, items))


_SUMS: Final = ("num_customers", "now", "before", "now_now", "now_before", "before_before")


def heat(events: Any, definition: HeatDefinition, *, as_of: dt.date, items: Any = None) -> pd.DataFrame:
    """Return what is hot, the hottest first.

    Args:
        events: as of ``heat_sums``, of any engine.
        definition: how heat is measured.
        as_of: the last local day that counts; the last whole day of the log, so that periods are whole.
        items: item_id and category, of the same engine, for categories.

    Returns:
        value, rank (1 the hottest), heat, share (of all heat), num_events, num_customers (of both periods), now, before, change
        (now / before; missing
        where either is 0), low, high (95%) and trend (``up`` or ``down`` where the interval leaves out 1, else ``flat``).
        Intervals are of one row each; ``movers`` is the test that reckons with the number of rows.
    """
    table = collected(heat_sums(events, definition, as_of=as_of, items=items))
    table = table.sort_values(["heat", "value"], ascending=[False, True], ignore_index=True)
    now, before = (table[name].to_numpy(np.float64) for name in ("now", "before"))
    both = (now > 0) & (before > 0)
    table["share"] = ratio(table["heat"], table["heat"].sum())
    table["change"] = np.where(both, ratio(now, before), np.nan)
    variance = (
        ratio(table["now_now"], now**2)
        - 2 * ratio(table["now_before"], now * before)
        + ratio(table["before_before"], before**2)
    )
    reach = np.exp(Z * np.sqrt(np.where(both, np.maximum(variance, 0), np.nan)))
    table["low"], table["high"] = table["change"] / reach, table["change"] * reach
    table["trend"] = np.select([table["low"] > 1, table["high"] < 1], ["up", "down"], "flat")
    table.insert(1, "rank", np.arange(len(table)) + 1)
    return table.drop(columns=["now_now", "now_before", "before_before"])
