"""Where visits are, step by step, from or to an event: the step matrix.

from cart, 100 visits      step 0: cart 100%    step 1: checkout 40%, view 35%, ended 25%    step 2: ...
"""

from __future__ import annotations

from typing import Final, TypeVar

import pandas as pd

from features import columns as c
from features.insight.intervals import LEVEL
from features.insight.paths.definition import PathDefinition
from features.insight.paths.rates import shares
from features.insight.paths.steps import (
    AUDIENCE,
    END,
    IS_ANCHOR,
    LABEL,
    NODE,
    OTHER,
    OVER_VISIT,
    START,
    VISIT,
    step_rows,
    steps_query,
)
from features.insight.paths.transitions import whole_sums
from features.tables.sessions import VISIT_ID
from features.tables.sql import run

STEP: Final = "step"
_ANY: Final = "(any)"
ENDED: Final = "(ended)"  # visits that have no step so far from the anchor: over, or, looking back, not yet begun
_USER: Final = f"{AUDIENCE}, {c.USER_ID}"
FrameT = TypeVar("FrameT")


def anchored_query(definition: PathDefinition) -> str:
    """Return the SQL of the common tables that end in ``near``: steps by their distance from the anchor, 0 to num_steps.

    ``near`` has audience, user_id, visit_id, step and label. Without an anchor, step 0 is the visit's start or end, and
    step 1 its first or last step. The steps that keep their names are the most frequent ones near the anchor.
    """
    ahead = definition.direction == "from"
    if definition.anchor:
        which = "min" if definition.occurrence == "first" else "max"
        anchors = f"SELECT {VISIT}, {which}(place) AS zero FROM numbered WHERE {IS_ANCHOR} = 1 GROUP BY {VISIT}"
        outside = ""
    else:
        anchors = f"SELECT {VISIT}, {'0' if ahead else 'count(*) + 1'} AS zero FROM numbered GROUP BY {VISIT}"
        outside = f"UNION ALL SELECT {VISIT}, 0 AS {STEP}, '{START if ahead else END}' AS {NODE} FROM anchors"
    step = "place - zero" if ahead else "zero - place"
    same = " AND ".join(f"numbered.{name} = anchors.{name}" for name in (AUDIENCE, c.USER_ID, VISIT_ID))
    columns = ", ".join(f"numbered.{name}" for name in (AUDIENCE, c.USER_ID, VISIT_ID))
    return f"""{steps_query(definition)},
        numbered AS (SELECT {VISIT}, {NODE}, {IS_ANCHOR}, row_number() {OVER_VISIT} AS place FROM steps),
        anchors AS ({anchors}),
        around AS (
            SELECT {columns}, {step} AS {STEP}, {NODE} FROM numbered JOIN anchors ON {same}
            WHERE {step} BETWEEN 0 AND {definition.num_steps} {outside}),
        counted AS (SELECT {NODE}, count(*) AS n FROM around WHERE {STEP} > 0 GROUP BY {NODE}),
        frequent AS (
            SELECT {NODE} FROM (SELECT {NODE}, row_number() OVER (ORDER BY n DESC, {NODE}) AS place FROM counted) AS ranked
            WHERE place <= {definition.top}),
        near AS (
            SELECT {VISIT}, {STEP},
                   CASE WHEN {STEP} = 0 OR frequent.{NODE} IS NOT NULL THEN around.{NODE} ELSE '{OTHER}' END AS {LABEL}
            FROM around LEFT JOIN frequent ON around.{NODE} = frequent.{NODE})"""


def step_counts(
    events: FrameT,
    definition: PathDefinition,
    *,
    items: FrameT | None = None,
    audiences: FrameT | None = None,
) -> FrameT:
    """Return how many visits are at each step so far from the anchor.

    Args:
        events: rows of the event log that serve analytics.
        definition: what a step is, and the anchor.
        items: the contract's items, where steps are named by category or brand.
        audiences: user_id, audience; from ``two_audiences`` or ``audiences_by``.

    Returns:
        audience, step (0 to num_steps away from the anchor), node, and the sums of ``rates.SUMS``: visits there, and base,
        those that have the anchor. The node "(any)" counts those that have a step there, whatever it is.
    """
    rows = step_rows(events, definition, items=items, audiences=audiences)
    text = f"""
        WITH {anchored_query(definition)},
        cells AS (SELECT {_USER}, {STEP}, {LABEL}, count(*) AS n FROM near GROUP BY {_USER}, {STEP}, {LABEL}),
        both_kinds AS (
            SELECT {_USER}, {STEP}, {LABEL} AS {NODE}, n FROM cells
            UNION ALL SELECT {_USER}, {STEP}, '{_ANY}' AS {NODE}, sum(n) AS n FROM cells GROUP BY {_USER}, {STEP}),
        bases AS (SELECT {_USER}, sum(n) AS of FROM cells WHERE {STEP} = 0 GROUP BY {_USER}),
        totals AS (
            SELECT {AUDIENCE}, sum(of) AS base, sum(of * of) AS base_sq, count(*) AS base_users
            FROM bases GROUP BY {AUDIENCE}),
        there AS (
            SELECT both_kinds.{AUDIENCE}, {STEP}, {NODE}, sum(n) AS visits, sum(n * n) AS visits_sq,
                   sum(n * of) AS visits_base
            FROM both_kinds JOIN bases
            ON both_kinds.{AUDIENCE} = bases.{AUDIENCE} AND both_kinds.{c.USER_ID} = bases.{c.USER_ID}
            GROUP BY both_kinds.{AUDIENCE}, {STEP}, {NODE})
        SELECT there.{AUDIENCE}, CAST({STEP} AS BIGINT) AS {STEP}, {NODE}, {whole_sums()}
        FROM there JOIN totals ON there.{AUDIENCE} = totals.{AUDIENCE}"""
    return run(text, rows=rows)


def step_matrix(counts: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """Return the share of visits at each step so far from the anchor; those of one step sum to 1.

    Args:
        counts: ``step_counts``, as pandas.
        level: of the intervals, over customers (``rates``).

    Returns:
        audience, step, node, visits, base, base_users, worth (independent visits), share, low and high. The node "(ended)"
        has the visits that have no step there:
        those that were over by then, or, looking back, had not begun.
    """
    found = shares(_with_every_step(counts), level=level).reset_index(drop=True)
    ended = (found[NODE] == _ANY).to_numpy()
    found[NODE] = found[NODE].mask(ended, ENDED)
    found["visits"] = found["visits"].mask(ended, found["base"] - found["visits"])
    low, high = 1 - found["high"], 1 - found["low"]
    found["share"] = found["share"].mask(ended, 1 - found["share"])
    found["low"], found["high"] = found["low"].mask(ended, low), found["high"].mask(ended, high)
    kept = [AUDIENCE, STEP, NODE, "visits", "base", "base_users", "worth", "share", "low", "high"]
    found = found[(found[STEP] > 0) | ~ended]
    order = [AUDIENCE, STEP, "visits", NODE]
    return found[kept].sort_values(order, ascending=[True, True, False, True]).reset_index(drop=True)


def _with_every_step(counts: pd.DataFrame) -> pd.DataFrame:
    """Add the steps that no visit of an audience got to."""
    whole = (
        counts[counts[STEP] == 0].drop_duplicates(AUDIENCE).assign(**{NODE: _ANY}, visits=0, visits_sq=0, visits_base=0)
    )
    every = whole.drop(columns=STEP).merge(pd.DataFrame({STEP: range(int(counts[STEP].max()) + 1)}), how="cross")
    return pd.concat([counts, every[counts.columns]]).drop_duplicates([AUDIENCE, STEP, NODE])


def wide(matrix: pd.DataFrame) -> pd.DataFrame:
    """Return one audience's step matrix as it is read: a row a node, a column a step, shares; 0 where nobody is."""
    shown = matrix.pivot(index=NODE, columns=STEP, values="share").fillna(0.0)
    named = shown.index[shown.index != ENDED]
    order = shown.loc[named].sum(axis=1).sort_values(ascending=False, kind="stable").index
    return shown.loc[[*order, *shown.index.difference(named)]]
