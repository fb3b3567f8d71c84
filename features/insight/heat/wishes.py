"""What a shop wants to see of heat, and the days and rows that this is seen in."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from features import columns as c
from features.insight.definitions import parsed
from features.insight.heat.movers import MoversDefinition
from features.insight.heat.popular import HeatDefinition
from features.insight.inputs import Inputs


@dataclass(frozen=True, kw_only=True)
class HeatWishes:
    """What a shop wants to see of heat.

    Args:
        movers: what is compared to find what rises and falls.
        hot: how heat is measured.
    """

    movers: MoversDefinition = field(default_factory=MoversDefinition)
    hot: HeatDefinition = field(default_factory=HeatDefinition)

    @classmethod
    def parse(cls, mapping: object, *, where: str) -> HeatWishes:
        """Read wishes from a YAML mapping: ``movers`` and ``hot``.

        Raises:
            ConfigError: a name is unknown or a value does not fit; the message begins with ``where``.
        """
        return parsed(cls, mapping, where=where, parts={"movers": MoversDefinition, "hot": HeatDefinition})


@dataclass(frozen=True, kw_only=True, eq=False)
class Past:
    """The log up to the last whole day of a period.

    Args:
        rows: of the log, those before the period among them.
        first_day: the log's first local day.
        as_of: the period's last day; the day before it where the log itself ends on it, since that day is not over.
    """

    rows: Any
    first_day: dt.date
    as_of: dt.date

    @classmethod
    def of(cls, inputs: Inputs) -> Past | None:
        """Return the past of the page's period; nothing where no whole day of the log lies in it."""
        as_of = min(inputs.period.last_day, inputs.last_day - dt.timedelta(days=1))
        rows = inputs.log.filter(f"{c.LOCAL_DAY} <= DATE '{as_of}'")
        ((first_day,),) = rows.aggregate(f"min({c.LOCAL_DAY})").fetchall()
        return None if first_day is None else cls(rows=rows, first_day=first_day, as_of=as_of)

    def has(self, num_days: int) -> bool:
        """Whether the log has so many whole days, the last of them ``as_of``."""
        return (self.as_of - self.first_day).days + 1 >= num_days
