"""The table of a funnel: how many got to each step, at what rate, and how long it took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import columns as c
from features.insight.collecting import collected
from features.insight.funnels.attempts import EXCLUDED, step_us
from features.insight.funnels.definition import FunnelDefinition
from features.insight.funnels.rows import columns_sql, group_column, renamed
from features.insight.intervals import LEVEL, Floats, clustered, effective_number, ratio
from features.tables.sql import run

Ints = npt.NDArray[np.int64]
_SUMS: Final = ("came_", "base_", "first_")
QUANTILES: Final = (0.25, 0.5, 0.75, 0.9)


def step_table(
    attempts: object,
    definition: FunnelDefinition,
    *,
    last_at_us: int,
    by: Sequence[str] = (),
    settled_only: bool = False,
    level: float = LEVEL,
) -> pd.DataFrame:
    """Return the funnel's table: one row a step, for each group where there are columns to group by.

        step  name      num_units  num_base  step_rate        overall_rate     num_open  seconds_p50
        1     view      1000       1000      1.00             1.00             0         -
        2     cart      400        1000      0.40 [.37, .43]  0.40 [.37, .43]  12        340
        3     purchase  100        400       0.25 [.21, .29]  0.10 [.08, .12]  3         86,000

    Args:
        attempts: from ``funnel``, with the columns of ``by``.
        definition: the funnel.
        last_at_us: the log's last instant, UTC microseconds.
        by: columns of ``attempts``; a missing value is a group of its own.
        settled_only: leave out units that entered later than ``last_at_us`` less the window, whether they converted or
            not: without them no rate will change.
        level: of the intervals.

    Returns:
        ``by``; step (from 1), name, optional; num_units that got there, num_base that got to the required step before;
        step_rate (of the base) and overall_rate (of those who entered), each with _low and _high (Wilson's, where a
        customer has many units for as many independent ones as they are worth: step_worth, overall_worth); num_open:
        units of the base that did not get there and whose window was open at the log's last instant, so that they may
        yet; num_excluded: units whose attempt an exclusion ended at the base; seconds_p25 ... p90 from the base, and
        total_seconds_p25 ... p90 from the first step, of those who got there.
    """
    groups_by = [group_column(n) for n in range(len(by))]
    attempts = renamed(attempts, dict(zip(by, groups_by, strict=True)))
    counted = collected(run(_counts_sql(definition, last_at_us, groups_by, settled_only), attempts=attempts))
    if definition.unit != "user":
        repeats = collected(run(_repeats_sql(definition, last_at_us, groups_by, settled_only), attempts=attempts))
        counted = counted.merge(repeats, on=groups_by) if by else counted.join(repeats)
    counted = counted.rename(columns=dict(zip(groups_by, by, strict=True)))
    groups = counted.sort_values(list(by), na_position="last") if by else counted
    if not by and counted["all"].fillna(0).sum() == 0:
        groups = groups.fillna({name: 0 for name in groups if str(name).startswith("num_")})
    tables = [_steps_of(groups, n, definition, by) for n in range(1, len(definition.steps) + 1)]
    table = pd.concat(tables).sort_index(kind="stable").reset_index(drop=True)
    return _with_rates(table, level)


def _counts_sql(definition: FunnelDefinition, last_at_us: int, by: Sequence[str], settled_only: bool) -> str:
    settled_from = last_at_us - definition.window_us
    of_steps = [one for n in range(1, len(definition.steps) + 1) for one in _step_sql(definition, n, settled_from)]
    where = _where(definition, last_at_us, settled_only)
    groups = columns_sql(by)
    return (
        f"SELECT {groups}{', ' if by else ''}count(*) AS all, {', '.join(of_steps)} FROM {{attempts}} {where}"
        f"{f' GROUP BY {groups}' if by else ''}"
    )


def _where(definition: FunnelDefinition, last_at_us: int, settled_only: bool) -> str:
    return f"WHERE step_1_us <= {last_at_us - definition.window_us}" if settled_only else ""


def _repeats_sql(definition: FunnelDefinition, last_at_us: int, by: Sequence[str], settled_only: bool) -> str:
    """Sums over customers, of whom one may have many units: squares of how many of these got where."""
    numbers = range(1, len(definition.steps) + 1)
    found = []
    for number in numbers:
        there = f"got_{number}"
        found.append(f"sum(CAST({there} * {there} AS DOUBLE)) AS came_sq_{number}")
        for name, of in (("base", f"got_{base_number(definition, number)}"), ("first", "got_1")):
            found += [
                f"sum(CAST({there} * {of} AS DOUBLE)) AS came_{name}_{number}",
                f"sum(CAST({of} * {of} AS DOUBLE)) AS {name}_sq_{number}",
                f"count(CASE WHEN {of} > 0 THEN 1 END) AS {name}_customers_{number}",
            ]
    got = ", ".join(f"count({step_us(number)}) AS got_{number}" for number in numbers)
    groups = columns_sql([*by, c.USER_ID])
    return f"""
        SELECT {", ".join([*by, *found])} FROM (
            SELECT {groups}, {got} FROM {{attempts}}
            {_where(definition, last_at_us, settled_only)} GROUP BY {groups})
        {f"GROUP BY {columns_sql(by)}" if by else ""}"""


def _step_sql(definition: FunnelDefinition, number: int, settled_from: int) -> list[str]:
    base = base_number(definition, number)
    there, stopped = step_us(number), f"{step_us(base)} IS NOT NULL AND {step_us(number)} IS NULL"
    found = [
        f"count({there}) AS num_units_{number}",
        f"count({step_us(base)}) AS num_base_{number}",
        f"{_count(f'{stopped} AND step_1_us > {settled_from} AND {EXCLUDED} = 0')} AS num_open_{number}",
        f"{_count(f'{stopped} AND {EXCLUDED} = 1 AND {_stopped_at(definition, base)}')} AS num_excluded_{number}",
    ]
    for name, since in (("seconds", base), ("total_seconds", 1)):
        taken = f"({there} - {step_us(since)}) / 1000000.0" if number > 1 else "CAST(NULL AS DOUBLE)"
        found += [
            f"percentile(CAST({taken} AS DOUBLE), {share}) AS {name}_{percent_name(share)}_{number}"
            for share in QUANTILES
        ]
    return found


def _stopped_at(definition: FunnelDefinition, base: int) -> str:
    """SQL of whether an attempt stopped at a required step: the next required one was not reached."""
    after = [at + 1 for at in definition.required if at + 1 > base]
    return f"{step_us(after[0])} IS NULL" if after else "FALSE"


def _count(condition: str) -> str:
    return f"CAST(sum(CASE WHEN {condition} THEN 1 ELSE 0 END) AS BIGINT)"


def base_number(definition: FunnelDefinition, number: int) -> int:
    """Return the number from 1 of the step from which a step's rate is taken; in mode ``any`` the one before."""
    return definition.base[number - 1] + 1


def percent_name(share: float) -> str:
    """Return how a quantile is called in column names.

    >>> percent_name(0.5)
    'p50'
    """
    return f"p{round(100 * share)}"


def _steps_of(groups: pd.DataFrame, number: int, definition: FunnelDefinition, by: Sequence[str]) -> pd.DataFrame:
    ending = f"_{number}"
    own = {name: name.removesuffix(ending) for name in map(str, groups) if name.endswith(ending)}
    step = definition.steps[number - 1]
    table = groups[[*by, *own]].rename(columns=own).reset_index(drop=True)
    any_order = definition.mode == "any"
    name = f"any {number} of {len(definition.steps)}" if any_order else step.name
    table.insert(len(by), "step", number)
    table.insert(len(by) + 1, "name", name)
    table.insert(len(by) + 2, "optional", step.optional)
    return table


def _with_rates(table: pd.DataFrame, level: float) -> pd.DataFrame:
    number = table["num_units"].to_numpy(np.int64)
    firsts = np.flatnonzero(table["step"].to_numpy() == 1)
    entered = number[firsts][np.cumsum(table["step"].to_numpy() == 1) - 1] if len(firsts) else number
    bases = (("step", "base", table["num_base"].to_numpy(np.int64)), ("overall", "first", entered))
    for name, base, of in bases:
        worth = _worth(table, number, of, base)
        low, high = clustered(number, of, worth, level=level)
        rate = f"{name}_rate"
        table[rate], table[f"{rate}_low"], table[f"{rate}_high"] = ratio(number, of), low, high
        table[f"{name}_worth"] = worth
    table = table.drop(columns=[name for name in table if str(name).startswith(_SUMS)])
    times = [name for name in table if "seconds" in str(name)]
    return table[[name for name in table if name not in times] + times]


def _worth(table: pd.DataFrame, number: Ints, of: Ints, base: str) -> Floats:
    """How many independent units each rate is worth, ``[N]``."""
    if "came_sq" not in table:
        return of.astype(np.float64)
    return effective_number(
        number, of, came_sq=table["came_sq"], came_of=table[f"came_{base}"], of_sq=table[f"{base}_sq"],
        customers=table[f"{base}_customers"],
    )  # fmt: skip
