"""Steps one right after the other: every row looks back at the rows just before it."""

from __future__ import annotations

from features.insight.funnels.definition import FunnelDefinition
from features.insight.funnels.rows import columns_sql, moment, step_column, within
from features.rules.conditions import DAY_US


def strict_sql(definition: FunnelDefinition) -> str:
    """Return SQL of a table of each unit's first attempt that got to each step: keys, reached, t_1, t_2, ... (moments)."""
    keys, num_steps = columns_sql(definition.keys), len(definition.steps)
    flags = [step_column(n) for n in range(num_steps)]
    # Looking back by i rows: the moment, and whether it was the step that many before the last.
    back = [f"lag(moment, {i}) OVER way AS ago_{i}" for i in range(1, num_steps)]
    was = [
        f"lag({flags[n]}, {i}) OVER way AS {flags[n]}_ago_{i}"
        for i in range(1, num_steps)
        for n in range(num_steps - i)
    ]
    firsts = [_first(definition, number) for number in range(1, num_steps + 1)]
    return f"""
    WITH looked AS (
        SELECT {keys}, moment, moment AS ago_0, {", ".join(flags)}, {", ".join([*back, *was])}
        FROM (SELECT {keys}, event_id, {", ".join(flags)}, {moment(definition)} AS moment FROM {{rows}})
        WINDOW way AS (PARTITION BY {keys} ORDER BY moment, event_id))
    {" UNION ALL ".join(firsts)}"""


def _first(definition: FunnelDefinition, number: int) -> str:
    keys, num_steps = columns_sql(definition.keys), len(definition.steps)
    is_there = [step_column(number - 1), *(f"{step_column(number - 1 - i)}_ago_{i}" for i in range(1, number))]
    in_time = [within("moment", f"ago_{number - 1}", definition.window_us)] if number > 1 else []
    for position in range(1, number):
        days = definition.steps[position].within_days
        if days is not None:
            later, earlier = f"ago_{number - 1 - position}", f"ago_{number - position}"
            in_time.append(within(later, earlier, round(days * DAY_US)))
    times = [f"min(ago_{number - n}) AS t_{n}" for n in range(1, number + 1)]
    times += [f"CAST(NULL AS BIGINT) AS t_{n}" for n in range(number + 1, num_steps + 1)]
    return (
        f"SELECT {keys}, {number} AS reached, {', '.join(times)} FROM looked "
        f"WHERE {' AND '.join([*is_there, *in_time])} GROUP BY {keys}"
    )
