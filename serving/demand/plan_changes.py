"""Changes of a plan: what may be asked, how it enters the network's inputs, and what the past holds nothing like."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features import columns as c
from features.demand.plan_columns import PlanColumn, PlanColumns, symlog
from features.errors import did_you_mean
from serving.api.demand_schemas import PlanChange
from serving.api.errors import RequestError

Floats = npt.NDArray[np.float32]

_NOT_NEGATIVE: Final = frozenset({c.PRICE, c.PROMOTION, c.DISPLAY, c.MAILER})
_MOST: Final = 1e12  # of any value: far beyond what a network has met, well within what it can compute


@dataclass(frozen=True, kw_only=True, eq=False)
class PlanCalendar:
    """The periods ahead.

    Args:
        first_day: of the first.
        period_days: days in each.
        horizon: how many there are.
    """

    first_day: dt.date
    period_days: int
    horizon: int

    @property
    def last_day(self) -> dt.date:
        """Last day ahead."""
        return self.first_day + dt.timedelta(days=self.horizon * self.period_days - 1)

    @property
    def days(self) -> list[dt.date]:
        """First day of each period."""
        return [self.first_day + dt.timedelta(days=self.period_days * step) for step in range(self.horizon)]

    def periods_of(self, change: PlanChange) -> slice:
        """Return the periods that a change's days touch; a week is changed whole."""
        first, last = change.from_day or self.first_day, change.until_day or self.last_day
        start, stop = ((day - self.first_day).days // self.period_days for day in (first, last))
        return slice(start, stop + 1)

    def check(self, where: str, change: PlanChange) -> None:
        """Refuse days that are not ahead, or the wrong way round."""
        for name, day in (("from_day", change.from_day), ("until_day", change.until_day)):
            if day is not None and not self.first_day <= day <= self.last_day:
                raise RequestError(
                    422,
                    "day_beyond_horizon",
                    f"{where}.{name}: expected a day from {self.first_day} to {self.last_day}, found {day}; "
                    "train with a longer horizon to ask further ahead.",
                )
        if change.from_day and change.until_day and change.from_day > change.until_day:
            raise RequestError(
                422,
                "invalid_request",
                f"{where}: expected from_day before until_day, found {change.from_day} and {change.until_day}.",
            )


def check_plan(where: str, plan: Mapping[str, float | None], columns: PlanColumns) -> None:
    """Refuse a column that the plan does not have, and a value that no plan can hold.

    Raises:
        RequestError: says which, and what may be asked.
    """
    for label, value in plan.items():
        if label not in columns.labels:
            hint = did_you_mean(label, columns.labels)
            raise RequestError(
                422,
                "unknown_plan_column",
                f"{where}.plan: expected columns out of {', '.join(columns.labels)}, found {label!r}.{hint}",
            )
        if value is None:
            continue
        least = 0.0 if label in _NOT_NEGATIVE else -_MOST
        if not least <= value <= _MOST or (label == c.PRICE and value == 0):
            wanted = "a price above 0, or null for none" if label == c.PRICE else f"a number of {least:g} or more"
            raise RequestError(
                422, "invalid_request", f"{where}.plan.{label}: expected {wanted} (at most {_MOST:g}), found {value:g}."
            )


def apply_change(plan: Floats, change: PlanChange, columns: PlanColumns, periods: slice) -> None:
    """Write a change into an item's plan ``[H, P]``, on the scale that the network reads."""
    for column in columns.columns:
        if column.label in change.plan:
            value = change.plan[column.label] or 0.0
            plan[periods, column.position] = symlog(np.array(value))


def warnings_of(change: PlanChange, plan: Floats, columns: PlanColumns, *, row: int, periods: slice) -> list[str]:
    """Return where a change leaves what the past has shown.

    Args:
        change: of the item.
        plan: the item's plan with the change, ``[H, P]``.
        columns: and what was planned before.
        row: of the item.
        periods: that the change touches.
    """
    asked = [(column, change.plan.get(column.label)) for column in columns.columns]
    found = [_out_of_range(column, value, row) for column, value in asked if value]
    return [one for one in found if one] + _never_together(plan[periods], columns)


def _out_of_range(column: PlanColumn, value: float, row: int) -> str | None:
    low, high = float(column.low[row]), float(column.high[row])
    if np.isnan(low):
        return f"{column.label}: never planned for this item before; the forecast draws on other items."
    if low <= value <= high or np.isclose(np.float32(value), [low, high], rtol=1e-5).any():
        return None
    return (
        f"{column.label}: {value:g} is outside the range seen for this item, {low:g} to {high:g}; "
        "the forecast extrapolates."
    )


def _never_together(plan: Floats, columns: PlanColumns) -> list[str]:
    planned = plan[:, [column.position for column in columns.columns]] != 0  # [H, E]
    patterns = {tuple(row) for row in planned.tolist()}
    known = {*columns.patterns}
    unseen = [pattern for pattern in sorted(patterns) if sum(on << bit for bit, on in enumerate(pattern)) not in known]
    return [
        f"{_listed(pattern, columns, True)} without {_listed(pattern, columns, False)}: no item was ever planned so; "
        "the forecast has no example to go by."
        for pattern in unseen
    ]


def _listed(pattern: tuple[bool, ...], columns: PlanColumns, wanted: bool) -> str:
    labels = [column.label for column, on in zip(columns.columns, pattern, strict=True) if on == wanted]
    return " and ".join(labels) or "anything"
