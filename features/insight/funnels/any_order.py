"""Steps in any order: how many of them fall within one window.

At each event the window looks back: a step counts if its last event lies in it. A unit's best attempt ends where the
count first reaches its most, and begins at the earliest of those last events. An event counts for the first step
that it is.
"""

from __future__ import annotations

from features.insight.funnels.definition import FunnelDefinition
from features.insight.funnels.rows import columns_sql, moment, step_column, within


def any_order_sql(definition: FunnelDefinition) -> str:
    """Return SQL of a table of each unit's best attempt: keys, reached, t_1, t_2, ... (moments, in order)."""
    keys, numbers = columns_sql(definition.keys), range(1, len(definition.steps) + 1)
    is_step = " ".join(f"WHEN {step_column(n - 1)} THEN {n}" for n in numbers)
    lasts = ", ".join(f"max(CASE WHEN step = {n} THEN moment END) OVER back AS last_{n}" for n in numbers)
    in_window = {n: within("moment", f"last_{n}", definition.window_us) for n in numbers}
    count = " + ".join(f"CASE WHEN {in_window[n]} THEN 1 ELSE 0 END" for n in numbers)
    start = f"least({', '.join(f'CASE WHEN {in_window[n]} THEN last_{n} END' for n in numbers)})"
    same = " AND ".join(f"done.{key} = best.{key}" for key in definition.keys)
    times = ", ".join(f"min(CASE WHEN place = {n} THEN moment END) AS t_{n}" for n in numbers)
    return f"""
    WITH done AS (
        SELECT {keys}, event_id, {moment(definition)} AS moment, CASE {is_step} END AS step FROM {{rows}}
        WHERE {" OR ".join(step_column(n - 1) for n in numbers)}),
    counted AS (
        SELECT {keys}, moment, {count} AS reached, {start} AS starts FROM (
            SELECT {keys}, moment, {lasts} FROM done
            WINDOW back AS (PARTITION BY {keys} ORDER BY moment, event_id
                            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW))),
    each AS (SELECT {keys}, reached, min(moment) AS ends, min(starts) AS starts FROM counted GROUP BY {keys}, reached),
    best AS (
        SELECT {keys}, max(reached) AS reached, max_by(ends, reached) AS ends, max_by(starts, reached) AS starts
        FROM each GROUP BY {keys}),
    met AS (
        SELECT {columns_sql(definition.keys, "best")}, best.reached, done.step, min(done.moment) AS moment
        FROM best JOIN done ON {same} AND done.moment >= best.starts AND done.moment <= best.ends
        GROUP BY {columns_sql(definition.keys, "best")}, best.reached, done.step),
    placed AS (SELECT {keys}, reached, moment,
                      row_number() OVER (PARTITION BY {keys} ORDER BY moment, step) AS place FROM met)
    SELECT {keys}, reached, {times} FROM placed GROUP BY {keys}, reached"""
