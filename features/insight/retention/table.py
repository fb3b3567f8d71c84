"""Retention: of those who first came together, how many came back, period by period.

    user  days on which it came          week 0  week 1  week 2        bracket    1, 1, 0
    ann   Mon 1, Tue 9 May               x       x                     unbounded  2, 1 (bob's week 2 is later than his 1)
    bob   Wed 3, Thu 18 May              x               x             rolling    1, 0

"Or later" has to end somewhere, or old cohorts, followed for longer, look better than young ones: at the end of
``num_periods``, or of the last bracket. Only members followed so far are observed.

The engine counts customers by start and period; everything after is on those few rows. Period 0 holds everyone: what
a customer does again within the period of its first event is no return.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import numpy as np
import pandas as pd
from narwhals.typing import IntoFrameT

from features import columns as c
from features.insight.collecting import collected
from features.insight.intervals import ratio, wilson
from features.insight.retention.definition import RetentionDefinition
from features.insight.retention.periods import checked_day, cohort_days, first_days, of_types, place_of, place_sql
from features.tables.sql import run

_KEYS: Final = ["value", "cohort"]


def retention_counts(events: IntoFrameT, definition: RetentionDefinition) -> IntoFrameT:
    """Return how many customers of each start came back in each period.

    Args:
        events: rows of the event log: user_id, event_type, local_day; ts, event_id and the column ``by`` where the
            definition names one.
        definition: what is counted.

    Returns:
        value (text, blank without ``by``), start (number of the period, or of the day with brackets, as of
        ``periods.places``), period, customers. Period 0 has everyone. Under ``unbounded`` a customer counts once, in
        the last of its periods.
    """
    text = f"""
        WITH starts AS ({_starts(definition)}),
        returns AS ({_returns(definition)}),
        returned AS ({_returned(definition)})
        SELECT value, start, 0 AS period, CAST(count(*) AS BIGINT) AS customers FROM starts GROUP BY value, start
        UNION ALL
        SELECT value, start, period, CAST(count(*) AS BIGINT) AS customers FROM returned GROUP BY value, start, period
    """
    return run(text, events=events)


_KEPT: Final = "SELECT value, start, period FROM returns WHERE period > 0"
_UNBROKEN: Final = """
    SELECT value, start, period
    FROM (SELECT value, start, period, row_number() OVER (PARTITION BY user_id ORDER BY period) AS place
          FROM returns WHERE period > 0) AS numbered
    WHERE period = place"""


_LAST: Final = """
    SELECT value, start, max(period) AS period FROM returns WHERE period > 0 GROUP BY user_id, value, start"""


def _returned(definition: RetentionDefinition) -> str:
    """Return SQL of value, start and period of those that count, of ``returns``."""
    if definition.mode == "rolling":
        return _UNBROKEN
    return _LAST if definition.follow_up else _KEPT


def _starts(definition: RetentionDefinition) -> str:
    value = "''"
    if definition.by:
        # min_by passes over what is missing on one engine and not on the other: nothing is missing here.
        found = f"coalesce(CAST({definition.by} AS STRING), '')"
        value = f"min_by({found}, struct({c.TS}, {c.EVENT_ID}))"
    since = "" if definition.since is None else f"HAVING min({c.LOCAL_DAY}) >= DATE '{definition.since}'"
    start = place_sql(definition.clock, f"min({c.LOCAL_DAY})")
    return (
        f"SELECT user_id, {value} AS value, {start} AS start FROM {{events}} "
        f"WHERE {of_types(definition.start)} GROUP BY user_id {since}"
    )


def _returns(definition: RetentionDefinition) -> str:
    """Return SQL of the periods in which each customer came, each once; 0 or less where they are not counted."""
    place = place_sql(definition.clock, c.LOCAL_DAY)
    rows = f"FROM {{events}} WHERE {of_types(definition.returns)}"
    if _is_endless(definition):
        came = f"SELECT user_id, max({place}) AS place {rows} GROUP BY user_id"
    else:  # calendar periods are few a customer and made distinct before the join; brackets are known only after it
        came = f"SELECT {'' if definition.brackets else 'DISTINCT'} user_id, {place} AS place {rows}"
    once = "DISTINCT" if definition.brackets else ""
    return (
        f"SELECT {once} user_id, value, start, {_period(definition)} AS period "
        f"FROM starts JOIN ({came}) AS came USING (user_id)"
    )


def _period(definition: RetentionDefinition) -> str:
    period = _bracket("place - start", definition) if definition.brackets else "place - start"
    if not definition.num_periods:
        return period
    return f"CASE WHEN {period} <= {definition.num_periods} THEN {period} ELSE 0 END"


def _bracket(day: str, definition: RetentionDefinition) -> str:
    """Return SQL of the bracket that a day after the start lies in; 0 before the first and after the last."""
    cases = [f"WHEN {day} < {begin} THEN {number}" for number, begin in enumerate(definition.brackets)]
    return f"CASE {' '.join(cases)} ELSE 0 END"


def _is_endless(definition: RetentionDefinition) -> bool:
    return definition.mode == "unbounded" and not definition.follow_up


def retention(
    events: Any, definition: RetentionDefinition, *, last_day: dt.date, is_over: bool = False
) -> pd.DataFrame:
    """Return the retention table: a row a cohort and period that had begun by ``last_day``.

    A period has ended when the log goes on after it: its last day lies before ``last_day``. Rates are of the members
    whose period has ended; with brackets, which count from each member's own first day, that may be a part of them.
    Under ``unbounded`` they are of the members for whom the last period that counts has ended.

    Args:
        events: as of ``retention_counts``, of any engine.
        definition: what is counted.
        last_day: the last local day of the log, or of those rows of it that are given.
        is_over: whether that day is over, since the log goes on after it.

    Returns:
        value, cohort (its first day), period (from 1), from_day and to_day (with brackets: days after the first day;
        else missing), customers (of the cohort), observed (those whose period has ended), returned (of those), rate,
        low and high (Wilson, 95%; missing where nobody is observed), so_far (returned of all, ended or not) and
        complete (all are observed; never where ``unbounded`` has no end: later returns still raise such a rate, and
        old cohorts have had more time).
    """
    counts = collected(retention_counts(events, definition))
    cells = _cells(counts, definition, last_day=checked_day("last_day", last_day), is_over=is_over)
    cells["cohort"] = cohort_days(definition.cohort_period, first_days(definition.clock, cells["start"]))
    table = cells.groupby([*_KEYS, "period"], as_index=False)[["customers", "observed", "returned", "so_far"]].sum()
    # A cohort's size is of all its members, also of those whose period has not begun.
    sizes = cells.drop_duplicates(["value", "start"]).groupby(_KEYS)["size"].sum()
    table["customers"] = sizes.reindex(pd.MultiIndex.from_frame(table[_KEYS])).to_numpy()
    return with_rates(table, definition)


def retention_curve(table: pd.DataFrame) -> pd.DataFrame:
    """Return all cohorts of a table taken together, a row a value and period; only whole observations enter.

    Args:
        table: from ``retention``.

    Returns:
        value, period, observed, returned, rate, low, high.
    """
    curve = table.groupby(["value", "period"], as_index=False)[["observed", "returned"]].sum()
    curve["rate"] = ratio(curve["returned"], curve["observed"])
    curve["low"], curve["high"] = wilson(curve["returned"], curve["observed"])
    return curve


def _cells(counts: pd.DataFrame, definition: RetentionDefinition, *, last_day: dt.date, is_over: bool) -> pd.DataFrame:
    """Return a row a value, start and period that has begun, those of nobody included."""
    sizes = counts[counts["period"] == 0].set_index(["value", "start"])["customers"].rename("size")
    last = place_of(definition.clock, last_day)
    num_periods = _num_periods(sizes.reset_index()["start"], definition, last=last)
    grid = sizes.reset_index().merge(pd.DataFrame({"period": np.arange(1, num_periods + 1)}), how="cross")
    cells = grid.merge(counts, on=["value", "start", "period"], how="left")
    came = cells["customers"].fillna(0).astype(np.int64)
    if definition.mode == "unbounded":  # in the period or later: sums from the last period back
        came = came[::-1].groupby([cells["value"], cells["start"]]).cumsum()[::-1]
    begins, ends = _spans(cells, definition, cells["period"].to_numpy())
    if definition.follow_up:
        _, ends = _spans(cells, definition, np.full(len(cells), definition.follow_up))
    cells["so_far"], cells["customers"] = came, cells["size"]
    ended = ends <= np.datetime64(last_day + dt.timedelta(days=int(is_over)))
    cells["observed"], cells["returned"] = cells["size"].where(ended, 0), came.where(ended, 0)
    return cells[begins <= np.datetime64(last_day)].reset_index(drop=True)


def _num_periods(starts: pd.Series, definition: RetentionDefinition, *, last: int) -> int:
    since = max(last - int(starts.min()), 0) if len(starts) else 0
    most = len(definition.brackets) - 1 if definition.brackets else since
    return min(most, definition.num_periods or most)


def _spans(cells: pd.DataFrame, definition: RetentionDefinition, period: Any) -> tuple[Any, Any]:
    """Return the first day of a period of each cell's start, and the first day after it."""
    start = cells["start"].to_numpy()
    if definition.brackets:
        edges = np.array(definition.brackets)
        return first_days("day", start + edges[period - 1]), first_days("day", start + edges[period])
    return first_days(definition.clock, start + period), first_days(definition.clock, start + period + 1)


def with_rates(table: pd.DataFrame, definition: RetentionDefinition) -> pd.DataFrame:
    """Return the columns of ``retention`` from value, cohort, period, customers, observed, returned and so_far."""
    begins = dict(enumerate(definition.brackets[:-1], start=1))
    ends = dict(enumerate((day - 1 for day in definition.brackets[1:]), start=1))
    table["from_day"], table["to_day"] = table["period"].map(begins), table["period"].map(ends)
    table = table.astype({"from_day": "Int64", "to_day": "Int64"})
    table["rate"] = ratio(table["returned"], table["observed"])
    table["low"], table["high"] = wilson(table["returned"], table["observed"])
    table["complete"] = (table["observed"] == table["customers"]) & (not _is_endless(definition))
    names = ["value", "cohort", "period", "from_day", "to_day", "customers", "observed", "returned"]
    return table[[*names, "rate", "low", "high", "so_far", "complete"]].sort_values(
        [*_KEYS, "period"], ignore_index=True
    )
