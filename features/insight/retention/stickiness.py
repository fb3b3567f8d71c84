"""Stickiness: how many of those who come in a month come on a day, and on how many days each comes.

day                    1    2    3    4  ...  7    8          daily active        3 on day 1, 1 on day 2
ann, bob, cho          x                                      weekly, day 7       3: anyone of the last seven days
bob                         x                                 weekly, day 8       1: only bob's day 2 is among them
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
from features.insight.intervals import ratio, wilson
from features.insight.retention.growth import active_places
from features.insight.retention.periods import PERIODS, Period, checked_day, first_days, of_types, place_of, place_sql
from features.tables.sql import run
from features.tables.visits import VISIT_EVENTS

WEEK_DAYS: Final = 7
MONTH_DAYS: Final = 30
_WINDOWS: Final = {"dau": 1, "wau": WEEK_DAYS, "mau": MONTH_DAYS}


def stickiness_changes(events: IntoFrameT, *, event_types: tuple[str, ...] = VISIT_EVENTS) -> IntoFrameT:
    """Return by how much the number of active customers changes each day, for each window.

    A customer who comes on day d is active for a window of w days from d to d + w - 1, or until it comes again.

    Args:
        events: rows of the event log: user_id, event_type, local_day.
        event_types: what counts as being active.

    Returns:
        place (days since 1970), days (of the window), change.
    """
    # Ends first by day and next day, of which there are few, then by window.
    windows = " UNION ALL ".join(
        f"SELECT place, {days} AS days, n AS change FROM pairs "
        f"UNION ALL SELECT least(place + {days}, coalesce(next_place, place + {days})) AS place, {days} AS days, -n AS change "
        "FROM pairs"
        for days in _WINDOWS.values()
    )
    text = f"""
        WITH places AS ({active_places("day", event_types)}),
        around AS (SELECT place, lead(place) OVER (PARTITION BY user_id ORDER BY place) AS next_place FROM places),
        pairs AS (SELECT place, next_place, count(*) AS n FROM around GROUP BY place, next_place)
        SELECT place, days, CAST(sum(change) AS BIGINT) AS change FROM ({windows}) AS both_ends GROUP BY place, days
    """
    return run(text, events=events)


def stickiness(
    events: Any, *, last_day: dt.date, event_types: tuple[str, ...] = VISIT_EVENTS, is_over: bool = False
) -> pd.DataFrame:
    """Return daily, weekly (7 days) and monthly (30 days) active customers and their ratios, a row a day.

    Args:
        events: as of ``stickiness_changes``, of any engine.
        last_day: the last local day of the log.
        event_types: what counts as being active.
        is_over: whether that day is over, since the log goes on after it.

    Returns:
        day, dau, wau, mau, and for each of dau_wau, dau_mau and wau_mau the ratio with _low and _high (Wilson, 95%:
        those of the day are a part of those of the month); whole_week and whole_month (the window lies within the
        log), complete (the log goes on after the day).
    """
    check_event_types("event_types", event_types, some=True)
    changes = collected(stickiness_changes(events, event_types=event_types))
    last = place_of("day", checked_day("last_day", last_day))
    first = int(changes["place"].min()) if len(changes) else last
    wide = changes.pivot_table(index="place", columns="days", values="change", aggfunc="sum")
    wide = wide.reindex(columns=list(_WINDOWS.values())).reindex(range(first, last + 1)).fillna(0).astype(np.int64)
    table = pd.DataFrame({"day": first_days("day", wide.index).astype("datetime64[s]")})
    for name, days in _WINDOWS.items():
        table[name] = wide[days].cumsum().to_numpy()
    for part, whole in (("dau", "wau"), ("dau", "mau"), ("wau", "mau")):
        name = f"{part}_{whole}"
        table[name] = ratio(table[part], table[whole])
        table[f"{name}_low"], table[f"{name}_high"] = wilson(table[part], table[whole])
    age = np.arange(len(table)) + 1
    table["whole_week"], table["whole_month"] = age >= WEEK_DAYS, age >= MONTH_DAYS
    table["complete"] = wide.index.to_numpy() < last + is_over
    return table


def active_days_counts(
    events: IntoFrameT, *, period: Period, event_types: tuple[str, ...] = VISIT_EVENTS
) -> IntoFrameT:
    """Return how many customers were active on how many days of each period.

    Args:
        events: rows of the event log: user_id, event_type, local_day.
        period: week or month.
        event_types: what counts as being active.

    Returns:
        place (number of the period), days, customers.
    """
    day = place_sql("day", c.LOCAL_DAY)
    text = f"""
        WITH days AS (SELECT DISTINCT user_id, {place_sql(period, c.LOCAL_DAY)} AS place, {day} AS day
                      FROM {{events}} WHERE {of_types(event_types)}),
        each_one AS (SELECT user_id, place, count(*) AS days FROM days GROUP BY user_id, place)
        SELECT place, CAST(days AS INT) AS days, CAST(count(*) AS BIGINT) AS customers FROM each_one
        GROUP BY place, days
    """
    return run(text, events=events)


def active_days(
    events: Any, *, period: Period, last_day: dt.date, event_types: tuple[str, ...] = VISIT_EVENTS
) -> pd.DataFrame:
    """Return the distribution of days on which customers are active, a row a period and number of days.

    Args:
        events: as of ``active_days_counts``, of any engine.
        period: week (from Monday) or month.
        last_day: the last local day of the log.
        event_types: what counts as being active.

    Returns:
        period (its first day), days (1 or more), customers, share (of the period's customers), low, high (Wilson,
        95%), complete (the log goes on after the period).
    """
    check_choice("period", period, PERIODS)
    check_event_types("event_types", event_types, some=True)
    table = collected(active_days_counts(events, period=period, event_types=event_types))
    table = table.sort_values(["place", "days"], ignore_index=True)
    of_period = table.groupby("place")["customers"].transform("sum")
    table["share"] = ratio(table["customers"], of_period)
    table["low"], table["high"] = wilson(table["customers"], of_period)
    table["complete"] = first_days(period, table["place"] + 1) <= np.datetime64(checked_day("last_day", last_day))
    table.insert(0, "period", first_days(period, table.pop("place")).astype("datetime64[s]"))
    return table
