"""What each unit (a customer, a region, a channel) did in each of some periods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import columns as c
from features.errors import DataError
from features.insight.campaigns.windows import check_apart
from features.insight.definitions import check_choice
from features.insight.inputs import Period
from features.tables.expressions import order_sql
from features.tables.sql import run
from features.tables.visits import VISIT_EVENTS

Outcome = Literal["revenue", "units", "orders", "buyer_days", "visitor_days"]
Unit = Literal["user_id", "region", "channel", "device_id"]
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
UNITS: Final[tuple[Unit, ...]] = get_args(Unit)
AMOUNT: Final = f"coalesce({c.QUANTITY}, 1) * coalesce({c.PRICE}, 0)"
_BOUGHT: Final = f"{c.EVENT_TYPE} = '{c.PURCHASE}'"
ORDER: Final = order_sql(across_customers=True)
_PERSON_DAY: Final = f"concat({c.USER_ID}, ' ', CAST(unix_date({c.LOCAL_DAY}) AS STRING))"
_VALUES: Final[dict[Outcome, str]] = {
    "revenue": f"sum({AMOUNT})",
    "units": f"sum(coalesce({c.QUANTITY}, 1))",
    "orders": f"count(DISTINCT {ORDER})",
    "buyer_days": f"count(DISTINCT {_PERSON_DAY})",
    "visitor_days": f"count(DISTINCT {_PERSON_DAY})",
}
_VISITED: Final = f"{c.EVENT_TYPE} IN ({', '.join(repr(name) for name in VISIT_EVENTS)})"

FrameT = TypeVar("FrameT")
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def outcomes(
    events: FrameT, *, periods: Sequence[Period], outcome: Outcome = "revenue", unit: Unit = c.USER_ID
) -> FrameT:
    """Return what each unit did in each period; a unit without a row did nothing.

    Revenue is what was paid, in minor units; refunds are rows of their own and are not taken off. Of units that are
    not customers, ``buyer_days`` counts each customer once a day.

    Args:
        events: rows of the event log.
        periods: days that do not overlap.
        outcome: what is counted.
        unit: a column of the log; rows without it are left out.

    Returns:
        unit, period (0 the first, int32), value (int64).

    Raises:
        ConfigError: periods overlap, or outcome or unit is unknown.
    """
    check_choice("outcome", outcome, OUTCOMES)
    check_choice("unit", unit, UNITS)
    check_apart(tuple(periods))
    which = " ".join(f"WHEN {_between(period)} THEN {number}" for number, period in enumerate(periods))
    text = f"""
        SELECT {unit} AS unit, CAST(CASE {which} END AS INT) AS period, CAST({_VALUES[outcome]} AS BIGINT) AS value
        FROM {{events}}
        WHERE {_VISITED if outcome == "visitor_days" else _BOUGHT} AND {unit} IS NOT NULL
            AND ({" OR ".join(map(_between, periods))})
        GROUP BY 1, 2
    """
    return run(text, events=events)


def _between(period: Period) -> str:
    return f"{c.LOCAL_DAY} BETWEEN DATE '{period.first_day}' AND DATE '{period.last_day}'"


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """What each unit did in each period, a day.

    Args:
        units: ids, ``[U]``.
        periods: ``[P]``.
        rates: the outcome a day, ``[U, P]``; 0 where nothing was done.
    """

    units: pd.Index
    periods: tuple[Period, ...]
    rates: Floats

    @classmethod
    def of(cls, frame: pd.DataFrame, *, periods: Sequence[Period], units: pd.Index | None = None) -> Panel:
        """Lay out the result of ``outcomes``.

        Args:
            frame: unit, period, value, as pandas.
            periods: those that it was made with.
            units: who is looked at, whether they did anything or not; those of the frame where left out.

        Raises:
            DataError: there is no unit.
        """
        found = pd.Index(sorted(frame["unit"].unique())) if units is None else units
        if not len(found):
            raise DataError("panel: expected at least one unit, found none; nobody did what is counted in these days.")
        row = found.get_indexer(pd.Index(frame["unit"]))
        values = np.zeros((len(found), len(periods)))
        known = row >= 0
        values[row[known], frame["period"].to_numpy()[known]] = frame["value"].to_numpy(np.float64)[known]
        days = np.array([period.num_days for period in periods], np.float64)
        return cls(units=found, periods=tuple(periods), rates=values / days)

    def take(self, rows: Bools) -> Panel:
        """Return some of the units."""
        return Panel(units=self.units[rows], periods=self.periods, rates=self.rates[rows])

    @property
    def days(self) -> Floats:
        """Length of each period, ``[P]``."""
        return np.array([period.num_days for period in self.periods], np.float64)

    def mean_of(self, periods: slice) -> Floats:
        """Return each unit's rate over some periods, by their lengths, ``[U]``."""
        days = self.days[periods]
        return np.asarray(self.rates[:, periods] @ days / days.sum(), np.float64)
