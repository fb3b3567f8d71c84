"""Growth by period: where active customers came from, and where those of the period before went.

    period   1         2         3           4
    ann      x         x                     x        new, returning, dormant, resurrected
    bob                x         x           x        -, new, returning, returning

    active         = new + returning + resurrected
    active before  = returning + dormant
    change         = new + resurrected - dormant

Source: the growth accounting of Social Capital (Hsu 2015, "Diligence at Social Capital, part 1"); names as PostHog's
lifecycle has them.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import numpy as np
import pandas as pd
from narwhals.typing import IntoFrameT

from features import columns as c
from features.insight.collecting import collected
from features.insight.definitions import check_choice, check_event_types
from features.insight.intervals import ratio
from features.insight.retention.periods import PERIODS, Period, checked_day, first_days, of_types, place_of, place_sql
from features.tables.sql import run
from features.tables.visits import VISIT_EVENTS

NEW: Final = "new"
RETURNING: Final = "returning"
RESURRECTED: Final = "resurrected"
DORMANT: Final = "dormant"
STATES: Final = (NEW, RETURNING, RESURRECTED, DORMANT)


def active_places(period: Period, event_types: tuple[str, ...]) -> str:
    """Return SQL of user_id and place: the periods in which each customer was active, each once."""
    place = place_sql(period, c.LOCAL_DAY)
    return f"SELECT DISTINCT user_id, {place} AS place FROM {{events}} WHERE {of_types(event_types)}"


def growth_counts(events: IntoFrameT, *, period: Period, event_types: tuple[str, ...] = VISIT_EVENTS) -> IntoFrameT:
    """Return how many customers were in each state in each period.

    Args:
        events: rows of the event log: user_id, event_type, local_day.
        period: day, week (from Monday) or month.
        event_types: what counts as being active.

    Returns:
        place (number of the period), state, customers. A customer is dormant in the period after one in which it was
        active and not beyond; that may be a period after the log.
    """
    text = f"""
        WITH places AS ({active_places(period, event_types)}),
        around AS (
            SELECT place, lag(place) OVER one AS last_place, lead(place) OVER one AS next_place
            FROM places WINDOW one AS (PARTITION BY user_id ORDER BY place)
        ),
        states AS (
            SELECT place, CASE WHEN last_place IS NULL THEN '{NEW}' WHEN last_place = place - 1 THEN '{RETURNING}'
                               ELSE '{RESURRECTED}' END AS state
            FROM around
            UNION ALL
            SELECT place + 1 AS place, '{DORMANT}' AS state FROM around WHERE next_place IS NULL OR next_place > place + 1
        )
        SELECT place, state, CAST(count(*) AS BIGINT) AS customers FROM states GROUP BY place, state
    """
    return run(text, events=events)


def growth(
    events: Any,
    *,
    period: Period,
    last_day: dt.date,
    event_types: tuple[str, ...] = VISIT_EVENTS,
    is_over: bool = False,
) -> pd.DataFrame:
    """Return growth accounting: a row a period from the first to the last, quiet ones included.

    Args:
        events: as of ``growth_counts``, of any engine.
        period: day, week (from Monday) or month.
        last_day: the last local day of the log.
        event_types: what counts as being active.
        is_over: whether the last day is over, since the log goes on after it.

    Returns:
        period (its first day), active, new, returning, resurrected, dormant (active in the period before, not in this
        one), silent (seen in an earlier period, not in this one: dormant and those who were so already), change
        (of active), quick_ratio ((new + resurrected) / dormant; missing where nobody fell silent) and complete
        (the log goes on after it). In the first period of a log all are new: nobody knows who came before.

    Raises:
        ConfigError: an argument does not fit.
    """
    check_choice("period", period, PERIODS)
    check_event_types("event_types", event_types, some=True)
    counts = collected(growth_counts(events, period=period, event_types=event_types))
    last = place_of(period, checked_day("last_day", last_day))
    first = int(counts["place"].min()) if len(counts) else last
    wide = counts.pivot_table(index="place", columns="state", values="customers", aggfunc="sum")
    wide = wide.reindex(index=range(first, last + 1), columns=list(STATES)).fillna(0).astype(np.int64)
    table = pd.DataFrame({"period": first_days(period, wide.index).astype("datetime64[s]")})
    for state in STATES:
        table[state] = wide[state].to_numpy()
    table.insert(1, "active", table[NEW] + table[RETURNING] + table[RESURRECTED])
    table["silent"] = table[NEW].cumsum() - table["active"]
    table["change"] = table["active"].diff().fillna(table["active"]).astype(np.int64)
    table["quick_ratio"] = ratio(table[NEW] + table[RESURRECTED], table[DORMANT])
    ends = first_days(period, wide.index.to_numpy() + 1)
    table["complete"] = ends <= np.datetime64(last_day + dt.timedelta(days=int(is_over)))
    return table
