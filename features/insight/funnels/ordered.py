"""Steps in order, anything in between, one window: the plain funnel.

An event of step k + 1 belongs to an attempt if the row before it, among attempts that got to step k and events of step
k + 1, is an attempt: it is then the first such event after it. Later ones of that attempt cannot do better and are
dropped, so each step sorts fewer rows than the one before.

    A1 A2 B3 C4 B5 D6      steps A, B, D     A2 B3 is an attempt at step 2; B5 is not, the row before it is B3
                                             D6 follows A2 B3: A2 B3 D6

Attempts are met in the order of each of their steps at once, so that the least of each time tells the first attempt.
"""

from __future__ import annotations

from features.insight.funnels.definition import FunnelDefinition
from features.insight.funnels.rows import columns_sql, moment, step_column, within


def ordered_sql(definition: FunnelDefinition) -> str:
    """Return SQL of a table of each unit's first attempt that got to each step: keys, reached, t_1, t_2, ... (moments)."""
    num_steps = len(definition.steps)
    stages = [_second(definition), *(_next(definition, number) for number in range(3, num_steps + 1))]
    firsts = [_first(definition, number) for number in range(1, num_steps + 1)]
    return f"WITH {', '.join(stages)} {' UNION ALL '.join(firsts)}"


def _second(definition: FunnelDefinition) -> str:
    """The first event of step 2 after each last event of step 1."""
    keys = columns_sql(definition.keys)
    return f"""
    got_2 AS (
        SELECT {keys}, event_id, t_1, moment AS t_2 FROM (
            SELECT {keys}, event_id, moment, step_2, lag(moment) OVER way AS t_1, lag(step_1) OVER way AS begins
            FROM (SELECT {keys}, event_id, step_1, step_2, {moment(definition)} AS moment FROM {{rows}} WHERE step_1 OR step_2)
            WINDOW way AS (PARTITION BY {keys} ORDER BY moment, event_id))
        WHERE step_2 AND begins AND {within("moment", "t_1", definition.window_us)})"""


def _next(definition: FunnelDefinition, number: int) -> str:
    """The first event of a step after each attempt that got to the step before.

    An event that is both steps comes first as the later one: it cannot follow itself.
    """
    keys, flag, times = columns_sql(definition.keys), step_column(number - 1), _times(number - 1)
    missing = ", ".join("CAST(NULL AS BIGINT)" for _ in range(1, number))
    before = ", ".join(f"lag(t_{n}) OVER way AS t_{n}" for n in range(1, number))
    return f"""
    got_{number} AS (
        SELECT {keys}, event_id, {times}, moment AS t_{number} FROM (
            SELECT {keys}, event_id, moment, comes, {before}
            FROM (SELECT {keys}, event_id, t_{number - 1} AS moment, 0 AS comes, {times} FROM got_{number - 1}
                  UNION ALL
                  SELECT {keys}, event_id, {moment(definition)}, 1, {missing} FROM {{rows}} WHERE {flag})
            WINDOW way AS (PARTITION BY {keys} ORDER BY moment, event_id, comes DESC))
        WHERE comes = 1 AND t_1 IS NOT NULL AND {within("moment", "t_1", definition.window_us)})"""


def _first(definition: FunnelDefinition, number: int) -> str:
    keys, num_steps = columns_sql(definition.keys), len(definition.steps)
    if number == 1:
        found, rows = (
            "min(moment) AS t_1",
            f"(SELECT {keys}, {moment(definition)} AS moment FROM {{rows}} WHERE step_1)",
        )
    else:
        found, rows = ", ".join(f"min(t_{n}) AS t_{n}" for n in range(1, number + 1)), f"got_{number}"
    rest = "".join(f", CAST(NULL AS BIGINT) AS t_{n}" for n in range(number + 1, num_steps + 1))
    return f"SELECT {keys}, {number} AS reached, {found}{rest} FROM {rows} GROUP BY {keys}"


def _times(number: int) -> str:
    return ", ".join(f"t_{n}" for n in range(1, number + 1))
