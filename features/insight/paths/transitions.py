"""What follows what within a visit: the transition matrix."""

from __future__ import annotations

from typing import Final, TypeVar

import pandas as pd

from features import columns as c
from features.insight.intervals import LEVEL
from features.insight.paths.definition import PathDefinition
from features.insight.paths.rates import SUMS, shares
from features.insight.paths.steps import AUDIENCE, END, LABEL, NODE, OVER_VISIT, START, step_rows, steps_query
from features.tables.sql import run

NEXT: Final = "next_node"
_USER: Final = f"{AUDIENCE}, {c.USER_ID}"
# Per customer first: what is left for the sums over customers is small.
_COUNTED: Final = f"""
    near AS (
        SELECT {_USER}, {NODE}, {LABEL}, lead({NODE}) {OVER_VISIT} AS after, lead({LABEL}) {OVER_VISIT} AS {NEXT},
               CASE WHEN lag({NODE}) {OVER_VISIT} IS NULL THEN 1 ELSE 0 END AS enters
        FROM {{steps}}),
    turns AS (
        SELECT {_USER}, {LABEL}, {NEXT}, enters, CASE WHEN {NODE} = after THEN 1 ELSE 0 END AS stays, count(*) AS n
        FROM near GROUP BY {_USER}, {LABEL}, {NEXT}, enters, CASE WHEN {NODE} = after THEN 1 ELSE 0 END),
    cells AS (
        SELECT {_USER}, {NODE}, {NEXT}, sum(n) AS n FROM (
            SELECT {_USER}, {LABEL} AS {NODE}, coalesce({NEXT}, '{END}') AS {NEXT}, n FROM turns WHERE {{counts}}
            UNION ALL
            SELECT {_USER}, '{START}' AS {NODE}, {LABEL} AS {NEXT}, n FROM turns WHERE enters = 1) AS both_kinds
        GROUP BY {_USER}, {NODE}, {NEXT}),
    based AS (
        SELECT *, sum(n) OVER (PARTITION BY {_USER}, {NODE}) AS of,
               row_number() OVER (PARTITION BY {_USER}, {NODE} ORDER BY {NEXT}) AS place FROM cells)"""
FrameT = TypeVar("FrameT")


def transition_counts(
    events: FrameT,
    definition: PathDefinition,
    *,
    items: FrameT | None = None,
    audiences: FrameT | None = None,
) -> FrameT:
    """Return how often each step follows each other within a visit.

        visit of A B, visit of A     (start) A 2,  A B 1,  A (end) 1,  B (end) 1

    Args:
        events: rows of the event log that serve analytics.
        definition: what a step is; its anchor plays no part.
        items: the contract's items, where steps are named by category or brand.
        audiences: user_id, audience; from ``two_audiences`` or ``audiences_by``.

    Returns:
        audience, node, next_node, and the sums of ``rates.SUMS``: visits is how often the second follows the first, base
        how often the first is followed by anything, the end of the visit included.
    """
    rows = step_rows(events, definition, items=items, audiences=audiences)
    # Loops of one step need no table of their own: what follows itself is left out when pairs are counted.
    taken_out = definition.collapse == "repeats"
    steps = "{rows}" if taken_out else "steps"
    tables = "" if taken_out else f"{steps_query(definition)}, "
    text = f"""
        WITH {tables}{_COUNTED.format(steps=steps, counts="stays = 0" if taken_out else "TRUE")},
        totals AS (
            SELECT {AUDIENCE}, {NODE}, sum(CASE WHEN place = 1 THEN of ELSE 0 END) AS base,
                   sum(CASE WHEN place = 1 THEN of * of ELSE 0 END) AS base_sq,
                   sum(CASE WHEN place = 1 THEN 1 ELSE 0 END) AS base_users
            FROM based GROUP BY {AUDIENCE}, {NODE}),
        pairs AS (
            SELECT {AUDIENCE}, {NODE}, {NEXT}, sum(n) AS visits, sum(n * n) AS visits_sq, sum(n * of) AS visits_base
            FROM based GROUP BY {AUDIENCE}, {NODE}, {NEXT})
        SELECT pairs.{AUDIENCE}, pairs.{NODE}, {NEXT}, {whole_sums()}
        FROM pairs JOIN totals ON pairs.{AUDIENCE} = totals.{AUDIENCE} AND pairs.{NODE} = totals.{NODE}"""
    return run(text, rows=rows)


def transition_matrix(counts: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """Return how likely each step is to follow each other.

    Args:
        counts: ``transition_counts``, as pandas.
        level: of the intervals, over customers (``rates``).

    Returns:
        the counts with share, low and high: audience by audience, most frequent first.
    """
    order = [AUDIENCE, "base", NODE, "visits", NEXT]
    found = shares(counts, level=level).sort_values(order, ascending=[True, False, True, False, True])
    return found.reset_index(drop=True)


def whole_sums() -> str:
    """Return the SQL of the columns of ``rates.SUMS`` as BIGINT."""
    return ", ".join(f"CAST({name} AS BIGINT) AS {name}" for name in SUMS)
