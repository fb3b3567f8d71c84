"""Search terms and what follows them in the visit: an item looked at, put in the cart, bought; another search, nothing.

    10:00 search "Red  Shoes"   10:01 view   10:03 search "red boots"   10:20 purchase
    red shoes: viewed, refined, bought      red boots: bought

Each search counts what follows it within the window, so that one purchase may follow two searches: these are shares of
searches, not credit. Whether a search found anything is not in the log's contract: the share that nothing follows is an upper
bound of it, not it.
"""

from __future__ import annotations

from typing import Final, TypeVar, cast

import narwhals as nw
import pandas as pd

from features import columns as c
from features.insight.intervals import LEVEL
from features.insight.paths.definition import PathDefinition
from features.insight.paths.rates import shares
from features.insight.paths.steps import AUDIENCE, VISIT, with_audience
from features.insight.paths.transitions import whole_sums
from features.tables.expressions import frame_of, is_type
from features.tables.instants import EPOCH_US
from features.tables.sessions import VISIT_ID, session_events
from features.tables.sql import run

TERM, OUTCOME = "term", "outcome"
SEARCH: Final = "search"
FOLLOWED: Final = {"viewed": c.VIEW, "carted": c.CART, "bought": c.PURCHASE, "refined": SEARCH}
NOTHING: Final = "nothing"  # no event of the visit comes later
OUTCOMES: Final = (*FOLLOWED, NOTHING)
_MINUTE_US: Final = 60_000_000
_LATER: Final = (
    f"OVER (PARTITION BY {VISIT} ORDER BY {EPOCH_US}, {c.EVENT_ID} ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)"
)
FrameT = TypeVar("FrameT")


def search_counts(
    events: FrameT, *, gap_minutes: int = 30, window_minutes: int = 30, audiences: FrameT | None = None
) -> FrameT:
    """Return what follows each search term.

    Args:
        events: rows of the event log that serve analytics.
        gap_minutes: a longer pause ends a visit that has no session id.
        window_minutes: what comes later than this after a search does not count for it.
        audiences: user_id, audience; from ``two_audiences`` or ``audiences_by``.

    Returns:
        audience, term (without blanks around it, small letters, one blank between words), outcome (viewed, carted, bought,
        refined, nothing), and the sums of ``rates.SUMS``: visits is searches that the outcome follows, base searches.
    """
    PathDefinition(gap_minutes=gap_minutes)  # refuses what is no gap
    plain = nw.col("query").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
    term = nw.when(is_type(SEARCH)).then(plain).alias(TERM)
    read = (c.USER_ID, c.SESSION_ID, c.TS, c.EVENT_ID, c.EVENT_TYPE)
    visited = session_events(
        frame_of(events).select(*read, term).to_native(),
        gap_minutes=gap_minutes,
        keep=(c.EVENT_ID, c.EVENT_TYPE, TERM),
    )
    kept = (AUDIENCE, c.USER_ID, VISIT_ID, EPOCH_US, c.EVENT_ID, c.EVENT_TYPE, TERM)
    rows = with_audience(frame_of(visited), audiences).select(*kept).to_native()
    return run(_query(window_minutes * _MINUTE_US), rows=cast(FrameT, rows))


def _query(window_us: int) -> str:
    user = f"{AUDIENCE}, {c.USER_ID}, {TERM}"
    searched = f"SELECT DISTINCT {VISIT} FROM {{rows}} WHERE {TERM} IS NOT NULL AND {TERM} <> ''"
    same = " AND ".join(f"all_rows.{name} = searched.{name}" for name in (AUDIENCE, c.USER_ID, VISIT_ID))
    then = ", ".join(
        f"min(CASE WHEN {c.EVENT_TYPE} = '{event_type}' THEN {EPOCH_US} END) {_LATER} AS {name}_us"
        for name, event_type in FOLLOWED.items()
    )
    counts = ", ".join(
        f"sum(CASE WHEN {name}_us - {EPOCH_US} <= {window_us} THEN 1 ELSE 0 END) AS {name}" for name in FOLLOWED
    )
    last = f"sum(CASE WHEN after_us IS NULL THEN 1 ELSE 0 END) AS {NOTHING}"
    outcomes = " UNION ALL ".join(
        f"SELECT {user}, '{name}' AS {OUTCOME}, {name} AS x, n FROM each_user" for name in OUTCOMES
    )
    return f"""
        WITH searched AS ({searched}),
        near AS (SELECT all_rows.* FROM {{rows}} AS all_rows JOIN searched ON {same}),
        later AS (SELECT *, {then}, min({EPOCH_US}) {_LATER} AS after_us FROM near),
        each_user AS (
            SELECT {user}, count(*) AS n, {counts}, {last} FROM later
            WHERE {TERM} IS NOT NULL AND {TERM} <> '' GROUP BY {user}),
        summed AS (
            SELECT {AUDIENCE}, {TERM}, {OUTCOME}, sum(x) AS visits, sum(n) AS base, sum(x * x) AS visits_sq,
                   sum(x * n) AS visits_base, sum(n * n) AS base_sq, count(*) AS base_users
            FROM ({outcomes}) AS long GROUP BY {AUDIENCE}, {TERM}, {OUTCOME})
        SELECT {AUDIENCE}, {TERM}, {OUTCOME}, {whole_sums()} FROM summed"""


def search_terms(counts: pd.DataFrame, *, min_searches: int = 1, level: float = LEVEL) -> pd.DataFrame:
    """Return each term with the share of its searches that each outcome follows, and its interval.

    Args:
        counts: ``search_counts``, as pandas.
        min_searches: rarer terms are left out.
        level: of the intervals, over customers (``rates``).

    Returns:
        audience, term, searches, users, and for each outcome its share, OUTCOME_low and OUTCOME_high; most searched first.
    """
    found = shares(counts[counts["base"] >= min_searches], level=level)
    keys = [AUDIENCE, TERM]
    table = found.rename(columns={"base": "searches", "base_users": "users"})[[*keys, "searches", "users"]]
    table = table.drop_duplicates(keys).set_index(keys)
    for name in OUTCOMES:
        part = found[found[OUTCOME] == name].set_index(keys)
        table[name], table[f"{name}_low"], table[f"{name}_high"] = part["share"], part["low"], part["high"]
    order = ["searches", TERM, AUDIENCE]
    return table.reset_index().sort_values(order, ascending=[False, True, True]).reset_index(drop=True)
