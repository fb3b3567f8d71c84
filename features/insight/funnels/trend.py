"""How a funnel's rate moves: by the local day, week or month on which units entered."""

from __future__ import annotations

from typing import Final, Literal, get_args

import pandas as pd

from features.insight.collecting import collected
from features.insight.definitions import check_choice
from features.insight.funnels.attempts import ENTERED_DAY, step_us
from features.insight.funnels.definition import FunnelDefinition
from features.insight.intervals import LEVEL, ratio, wilson
from features.tables.sql import run

Every = Literal["day", "week", "month"]
EVERY: Final[tuple[Every, ...]] = get_args(Every)
_PERIODS: Final[dict[Every, str]] = {"day": "D", "week": "W-SUN", "month": "M"}
PERIOD_DAY: Final = "period_day"


def trend(
    attempts: object,
    definition: FunnelDefinition,
    *,
    last_at_us: int,
    every: Every = "day",
    to: str | None = None,
    level: float = LEVEL,
) -> pd.DataFrame:
    """Return one row a period in which units entered: how many, and how many of them got to a step.

    Each unit counts once: in the period in which its best attempt began.

    Args:
        attempts: from ``funnel``.
        definition: the funnel.
        last_at_us: the log's last instant, UTC microseconds.
        every: ``day``, ``week`` (Monday to Sunday) or ``month``.
        to: name of a step; the last where left out.
        level: of the intervals.

    Returns:
        period_day (its first), num_entered, num_reached, rate, rate_low, rate_high (Wilson), num_open (did not get there
        and may yet), immature (whether any unit entered later than ``last_at_us`` less the window: the rate may
        still rise).

    Raises:
        ConfigError: the step or the period is unknown.
    """
    check_choice("every", every, EVERY)
    number = len(definition.steps) if to is None else definition.position(to, place="trend.to") + 1
    days = collected(run(_days_sql(number, last_at_us - definition.window_us), attempts=attempts))
    names = ["num_entered", "num_reached", "num_open", "num_late"]
    start = pd.to_datetime(days[ENTERED_DAY]).dt.to_period(_PERIODS[every]).dt.start_time
    table = days[names].groupby(start.rename(PERIOD_DAY)).sum().reset_index()
    reached, entered = table["num_reached"], table["num_entered"]
    table["rate"] = ratio(reached, entered)
    table["rate_low"], table["rate_high"] = wilson(reached, entered, level=level)
    table["immature"] = table.pop("num_late") > 0
    return table


def _days_sql(number: int, settled_from: int) -> str:
    there, late = step_us(number), f"step_1_us > {settled_from}"
    counts = {
        "num_entered": "TRUE",
        "num_reached": f"{there} IS NOT NULL",
        "num_open": f"{there} IS NULL AND {late} AND excluded = 0",
        "num_late": late,
    }
    sums = ", ".join(
        f"CAST(sum(CASE WHEN {one} THEN 1 ELSE 0 END) AS BIGINT) AS {name}" for name, one in counts.items()
    )
    return f"SELECT {ENTERED_DAY}, {sums} FROM {{attempts}} GROUP BY {ENTERED_DAY}"
