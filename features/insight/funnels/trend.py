"""How a funnel's rate moves: by the local day, week or month in which units entered.

A unit is looked at anew for each period in which it entered: its best attempt of those that began in it, with all that
followed within the window. Were each unit counted once, in the period of its one best attempt, those who convert early
would be missing later, and every rate would seem to fall.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final, Literal, TypeVar, get_args

import pandas as pd

from features import columns as c
from features.insight.collecting import collected
from features.insight.definitions import check_choice
from features.insight.funnels.attempts import ENTERED_DAY, attempts_sql, funnel, step_us
from features.insight.funnels.definition import FunnelDefinition
from features.insight.funnels.rows import columns_sql, excluded_column, step_column, step_rows
from features.insight.intervals import LEVEL, clustered, effective_number, ratio
from features.tables.sql import run

Every = Literal["day", "week", "month"]
EVERY: Final[tuple[Every, ...]] = get_args(Every)
# Sums over customers, of whose units some got there.
_SQUARES: Final = {
    "came_sq": ("num_reached", "num_reached"),
    "came_of": ("num_reached", "num_entered"),
    "of_sq": ("num_entered", "num_entered"),
}
PERIOD_DAY: Final = "period_day"
FrameT = TypeVar("FrameT")


@dataclass(frozen=True, kw_only=True)
class _ByEntry(FunnelDefinition):
    """The same funnel, of a unit and one period in which it entered."""

    @property
    def keys(self) -> tuple[str, ...]:
        return (*super().keys, PERIOD_DAY)


def trend(
    events: FrameT,
    definition: FunnelDefinition,
    items: FrameT | None = None,
    *,
    last_at_us: int,
    every: Every = "day",
    to: str | None = None,
    level: float = LEVEL,
) -> pd.DataFrame:
    """Return one row a period in which units entered: how many, and how many of them got to a step from there.

    A unit counts once in each period in which it entered. In mode ``any``, whose attempts may begin with any step, it
    counts once, in the period in which its best attempt began.

    Args:
        events: rows of the event log.
        definition: the funnel.
        items: the contract's items; needed where conditions name category, brand, title or labels.
        last_at_us: the log's last instant, UTC microseconds.
        every: ``day``, ``week`` (Monday to Sunday) or ``month``.
        to: name of a step; the last where left out.
        level: of the intervals.

    Returns:
        period_day (its first), num_entered, num_reached, rate, rate_low, rate_high (as of ``step_table``), num_open (did not get there
        and may yet), immature (whether any unit entered later than ``last_at_us`` less the window: the rate may
        still rise).

    Raises:
        ConfigError: the step or the period is unknown, or items are needed and not given.
    """
    check_choice("every", every, EVERY)
    number = len(definition.steps) if to is None else definition.position(to, place="trend.to") + 1
    attempts = (
        funnel(events, definition, items) if definition.mode == "any" else _cohorts(events, definition, items, every)
    )
    table = collected(run(_periods_sql(number, last_at_us - definition.window_us, every), attempts=attempts))
    table[PERIOD_DAY] = pd.to_datetime(table[PERIOD_DAY])
    table = table.sort_values(PERIOD_DAY).reset_index(drop=True)
    reached, entered = table["num_reached"], table["num_entered"]
    squares = {name: table.pop(name) for name in _SQUARES}
    worth = effective_number(reached, entered, customers=table.pop("num_customers"), **squares)
    table["rate"] = ratio(reached, entered)
    table["rate_low"], table["rate_high"] = clustered(reached, entered, worth, level=level)
    table["immature"] = table.pop("num_late") > 0
    return table


def _cohorts(events: FrameT, definition: FunnelDefinition, items: FrameT | None, every: Every) -> FrameT:
    """Attempts of each unit and period in which it entered."""
    values = {one.name: getattr(definition, one.name) for one in dataclasses.fields(definition)}
    rows = step_rows(events, definition, items)  # type: ignore[type-var] # a native frame
    return run(attempts_sql(_ByEntry(**values)), rows=run(_repeated_sql(definition, every), rows=rows))


def _repeated_sql(definition: FunnelDefinition, every: Every) -> str:
    """The rows of each unit once for each of its periods, up to a window after it; it is entered in that one alone."""
    period, us = f"CAST(date_trunc('{every}', {{day}}) AS DATE)", f"unix_micros({c.TS})"
    flags = [step_column(n) for n in range(1, len(definition.steps))]
    flags += [excluded_column(n) for n in range(len(definition.exclusions))]
    same = " AND ".join(f"did.{key} = entries.{key}" for key in definition.keys)
    return f"""
        WITH entries AS (
            SELECT {columns_sql(definition.keys)}, {period.format(day=c.LOCAL_DAY)} AS {PERIOD_DAY},
                   min({us}) AS since_us, max({us}) + {definition.window_us} AS until_us
            FROM {{rows}} WHERE step_1 GROUP BY {columns_sql(definition.keys)}, {period.format(day=c.LOCAL_DAY)})
        SELECT {columns_sql(definition.keys, "entries")}, entries.{PERIOD_DAY}, did.{c.EVENT_ID}, did.{c.TS},
               did.{c.LOCAL_DAY}, step_1 AND {period.format(day=f"did.{c.LOCAL_DAY}")} = entries.{PERIOD_DAY} AS step_1,
               {columns_sql(flags)}
        FROM {{rows}} AS did JOIN entries ON {same}
         AND unix_micros(did.{c.TS}) >= since_us AND unix_micros(did.{c.TS}) <= until_us"""


def _periods_sql(number: int, settled_from: int, every: Every) -> str:
    there, late = step_us(number), f"step_1_us > {settled_from}"
    counts = {
        "num_entered": "TRUE",
        "num_reached": f"{there} IS NOT NULL",
        "num_open": f"{there} IS NULL AND {late} AND excluded = 0",
        "num_late": late,
    }
    sums = ", ".join(f"sum(CASE WHEN {one} THEN 1 ELSE 0 END) AS {name}" for name, one in counts.items())
    whole = {name: name for name in counts} | {name: f"{a} * {b}" for name, (a, b) in _SQUARES.items()}
    of_all = ", ".join(f"CAST(sum({one}) AS BIGINT) AS {name}" for name, one in whole.items())
    return f"""
        SELECT {PERIOD_DAY}, {of_all}, count(*) AS num_customers FROM (
            SELECT CAST(date_trunc('{every}', {ENTERED_DAY}) AS DATE) AS {PERIOD_DAY}, {c.USER_ID}, {sums}
            FROM {{attempts}} GROUP BY 1, 2) GROUP BY {PERIOD_DAY}"""
