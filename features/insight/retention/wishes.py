"""What a shop wants to see of who comes back, and the rows that this is seen in."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from features import columns as c
from features.insight.definitions import check_choice, parsed
from features.insight.inputs import Inputs, Period
from features.insight.retention import periods
from features.insight.retention.definition import RetentionDefinition
from features.insight.retention.repurchase import RepurchaseDefinition


@dataclass(frozen=True, kw_only=True)
class RetentionWishes:
    """What a shop wants to see of who comes back.

    Args:
        table: the retention table.
        repurchase: the repurchase curve.
        growth: period of growth accounting: day, week or month.
    """

    table: RetentionDefinition = field(default_factory=RetentionDefinition)
    repurchase: RepurchaseDefinition = field(default_factory=RepurchaseDefinition)
    growth: periods.Period = "week"

    def __post_init__(self) -> None:
        check_choice("growth", self.growth, periods.PERIODS)

    @classmethod
    def parse(cls, mapping: object, *, where: str) -> RetentionWishes:
        """Read wishes from a YAML mapping: ``table``, ``repurchase`` and ``growth``.

        Raises:
            ConfigError: a name is unknown or a value does not fit; the message begins with ``where``.
        """
        parts = {"table": RetentionDefinition, "repurchase": RepurchaseDefinition}
        return parsed(cls, mapping, where=where, parts=parts)


def until(inputs: Inputs, period: Period) -> Any:
    """Return rows up to the period's end: whether someone came before it is known from those before it."""
    return inputs.log.filter(f"{c.LOCAL_DAY} <= DATE '{period.last_day}'")


def watched(inputs: Inputs, period: Period) -> tuple[dt.date, bool]:
    """Return the last day of a period that the log has, and whether it is over: the log's own last day is not."""
    return min(period.last_day, inputs.last_day), period.last_day < inputs.last_day
