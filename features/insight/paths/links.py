"""Links of a Sankey diagram: how visits flow from step to step, from or to an event, and where they drop off.

    from cart, 2 steps      (0) cart -> checkout 40     (0) cart -> (end) 60     (1) checkout -> purchase 30  ...

What flows into a step of the diagram flows out of it again, to another step or to the end.
"""

from __future__ import annotations

from typing import Final, TypeVar

import pandas as pd

from features import columns as c
from features.insight.intervals import ratio
from features.insight.paths.definition import PathDefinition
from features.insight.paths.step_matrix import STEP, anchored_query
from features.insight.paths.steps import AUDIENCE, END, LABEL, START, VISIT, step_rows
from features.tables.sql import run

SOURCE, TARGET = "source", "target"
_KEYS: Final = [AUDIENCE, STEP, SOURCE, TARGET]
FrameT = TypeVar("FrameT")


def link_counts(
    events: FrameT,
    definition: PathDefinition,
    *,
    items: FrameT | None = None,
    audiences: FrameT | None = None,
) -> FrameT:
    """Return how many visits go from one step to the next, near the anchor.

    Args:
        events: rows of the event log that serve analytics.
        definition: what a step is, the anchor, how far from it, and how many steps keep their names.
        items: the contract's items, where steps are named by category or brand.
        audiences: user_id, audience; from ``two_audiences`` or ``audiences_by``.

    Returns:
        audience, step (where the link begins: 0 at the anchor, -1 one step before it), source, target, visits, users. The
        target "(end)" is a visit's end, the source "(start)" its beginning.
    """
    rows = step_rows(events, definition, items=items, audiences=audiences)
    if definition.direction == "from":
        ends = f"{STEP}, {LABEL} AS {SOURCE}, coalesce(beyond, '{END}') AS {TARGET}"
    else:
        ends = f"-1 - {STEP} AS {STEP}, coalesce(beyond, '{START}') AS {SOURCE}, {LABEL} AS {TARGET}"
    text = f"""
        WITH {anchored_query(definition)},
        linked AS (
            SELECT *, lead({LABEL}) OVER (PARTITION BY {VISIT} ORDER BY {STEP}) AS beyond FROM near)
        SELECT {AUDIENCE}, CAST({STEP} AS BIGINT) AS {STEP}, {SOURCE}, {TARGET}, CAST(count(*) AS BIGINT) AS visits,
               CAST(count(DISTINCT {c.USER_ID}) AS BIGINT) AS users
        FROM (SELECT {AUDIENCE}, {c.USER_ID}, {ends} FROM linked WHERE {STEP} < {definition.num_steps}) AS links
        GROUP BY {AUDIENCE}, {STEP}, {SOURCE}, {TARGET}"""
    return run(text, rows=rows)


def sankey(counts: pd.DataFrame) -> pd.DataFrame:
    """Return the links in the order in which they are drawn, with their share of the visits that have the anchor.

    Args:
        counts: ``link_counts``, as pandas.

    Returns:
        audience, step, source, target, visits, users, share.
    """
    order = [AUDIENCE, STEP, "visits", SOURCE, TARGET]
    found = counts[[*_KEYS, "visits", "users"]].sort_values(order, ascending=[True, True, False, True, True])
    at_anchor = found[found[STEP].isin([0, -1])].groupby(AUDIENCE)["visits"].sum()
    found["share"] = ratio(found["visits"], found[AUDIENCE].map(at_anchor))
    return found.reset_index(drop=True)
