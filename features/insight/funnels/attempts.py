"""How far each unit got: its best attempt.

An attempt is a chain of a unit's events, one a step, each later than the one before, from the first event to the last
within the window; events of one instant are taken in the order of the steps (``features.insight.funnels.rows``). The best
attempt of a unit is

    the deepest;                                     A1 B2 A5 B6 C7 -> A5 B6 C7
    of these the one that got there first;           A1 B2 C3 A5 B6 C7 -> A1 B2 C3
    of these the one that began last;                A1 A2 B3 -> A2 B3
    of these the one whose other steps came first.   A1 B2 B3 C4 -> A1 B2 C4

It is what PostHog's funnels report of a person.
"""

from __future__ import annotations

from typing import Final, TypeVar

from features.insight.funnels.any_order import any_order_sql
from features.insight.funnels.definition import FunnelDefinition
from features.insight.funnels.ordered import ordered_sql
from features.insight.funnels.paced import PacedQuery
from features.insight.funnels.rows import columns_sql, instant_us, local_day, step_rows
from features.insight.funnels.strict import strict_sql
from features.tables.sql import run

ENTERED_DAY: Final = "entered_day"
DEEPEST: Final = "deepest"
CONVERTED: Final = "converted"
EXCLUDED: Final = "excluded"
FrameT = TypeVar("FrameT")


def funnel(events: FrameT, definition: FunnelDefinition, items: FrameT | None = None) -> FrameT:
    """Return one row a unit that entered: how far its best attempt got, and when it was where.

        user_id  ts     event_type        user_id  entered_day  deepest  converted  step_1_us  step_2_us  step_3_us
        ann      10:00  view          ->  ann      2024-05-01   2        0          10:00      10:20      -
        ann      10:20  cart

    Args:
        events: rows of the event log: pandas, DuckDB or PySpark.
        definition: the funnel.
        items: the contract's items; needed where conditions name category, brand, title or labels.

    Returns:
        The unit's keys; entered_day (local day of the attempt's first event); deepest (int64, position from 1 of the
        last step that it got to; in mode ``any`` how many steps it did); converted (0 or 1); excluded (1 where an
        exclusion came where the attempt stopped); step_1_us, step_2_us, ... (UTC microseconds; missing for steps not
        reached; in mode ``any`` when the first, second, ... of the steps was done).

    Raises:
        ConfigError: items are needed and not given.
    """
    rows = step_rows(events, definition, items)  # type: ignore[type-var] # a native frame
    return run(attempts_sql(definition), rows=rows)


def attempts_sql(definition: FunnelDefinition) -> str:
    """Return the whole query of ``funnel``; ``{rows}`` stands for what ``step_rows`` gives."""
    numbers = range(1, len(definition.steps) + 1)
    times = ", ".join(f"{instant_us(f't_{n}')} AS {step_us(n)}" for n in numbers)
    deepest = " ".join(f"WHEN t_{n} IS NOT NULL THEN {n}" for n in reversed(numbers))
    last = f"CASE WHEN t_{len(numbers)} IS NOT NULL THEN 1 ELSE 0 END"
    return f"""
        SELECT {columns_sql(definition.keys)}, {local_day("t_1")} AS {ENTERED_DAY},
            CAST(CASE {deepest} END AS BIGINT) AS {DEEPEST}, CAST({last} AS BIGINT) AS {CONVERTED},
            CAST(excluded AS BIGINT) AS {EXCLUDED}, {times}
        FROM ({_best_sql(definition)}) WHERE t_1 IS NOT NULL"""


def step_us(number: int) -> str:
    """Return the column of the instant at which a step was reached, by its number from 1.

    >>> step_us(2)
    'step_2_us'
    """
    return f"step_{number}_us"


def _best_sql(definition: FunnelDefinition) -> str:
    """One row a unit: keys, excluded, t_1, t_2, ... as moments."""
    if definition.mode == "any":
        return f"SELECT *, 0 AS {EXCLUDED} FROM ({any_order_sql(definition)})"
    if definition.mode == "ordered" and not definition.is_plain:
        return PacedQuery(definition).sql()
    firsts = strict_sql(definition) if definition.mode == "strict" else ordered_sql(definition)
    keys, numbers = columns_sql(definition.keys), range(1, len(definition.steps) + 1)
    # Of a time that the deepest attempt lacks, every attempt does.
    times = ", ".join(f"max_by(t_{n}, reached) AS t_{n}" for n in numbers)
    return f"SELECT {keys}, 0 AS {EXCLUDED}, {times} FROM ({firsts}) GROUP BY {keys}"
