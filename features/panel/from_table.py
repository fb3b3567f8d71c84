"""A demand panel from a table of item and period: for shops that already have one.

item_id  day         units  promotion
a        2024-05-01  3      0
a        2024-05-03  0      1            the row of 2 May is missing: nothing is known of that day
a        2024-05-04  NaN    1            after the last day with units: the horizon, of which the plan is known
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import columns as c
from features.errors import DataError, did_you_mean
from features.panel.demand_panel import PERIOD_DAYS, DemandPanel, Floats
from features.panel.plan import last_known


def panel_from_table(
    table: pd.DataFrame,
    *,
    frequency: Literal["D", "W"] = "D",
    known_ahead: Sequence[str] = (),
    observed: Sequence[str] = (),
    static: Sequence[str] = (),
    units: str = "units",
) -> DemandPanel:
    """Lay out a table as a panel; the table is left as it is.

    A missing row, or a row without units, is a period that says nothing: it is no zero. A known-ahead value that is
    missing is 0, an observed one keeps the last that was known. Periods after the last one with units are the horizon.

    Args:
        table: ``item_id, day`` (a period's first), units, and the columns named below; other columns are left out.
        frequency: ``D``, or ``W`` for days that are whole weeks apart.
        known_ahead: columns known ahead for as long as the table goes on.
        observed: columns known only afterwards.
        static: text columns of items; the first value of each item counts.
        units: name of the units' column.

    Raises:
        DataError: a column is missing, a day is none or lies between weeks, an item has two rows for a day, units are
            negative or no number, or the table holds none.
    """
    _expect_columns(table, [c.ITEM_ID, c.DAY, units, *known_ahead, *observed, *static])
    cells = _Cells.of(table, PERIOD_DAYS[frequency])
    wide = {name: cells.scattered(table[name], name) for name in (units, *known_ahead, *observed)}
    known = np.flatnonzero(np.isfinite(wide[units]).any(axis=0))
    if not len(known):
        raise DataError(f"table: expected units in column {units!r}, found none.")
    past = int(known[-1]) + 1
    return DemandPanel(
        item_ids=cells.item_ids,
        start=cells.start,
        frequency=frequency,
        units=wide[units][:, :past],
        known_ahead={name: np.nan_to_num(wide[name]) for name in known_ahead},
        observed={name: last_known(wide[name][:, :past]) for name in observed},
        static={name: _first_by_item(table, name, cells.item_ids) for name in static},
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cells:
    """Where each row of a table stands in items × periods."""

    item_ids: npt.NDArray[np.object_]
    start: pd.Timestamp
    row: npt.NDArray[np.int64]
    period: npt.NDArray[np.int64]

    @classmethod
    def of(cls, table: pd.DataFrame, period_days: int) -> _Cells:
        days = pd.to_datetime(table[c.DAY], errors="coerce").dt.normalize()
        if days.isna().any():
            found = table[c.DAY][days.isna()].iloc[0]
            raise DataError(f"table: expected a day such as 2024-01-31 in each row, found {found!r}.")
        item_ids, row = np.unique(table[c.ITEM_ID].to_numpy(object).astype(str), return_inverse=True)
        number = (days - days.min()).dt.days
        if (number % period_days).any():
            day = days[number % period_days > 0].iloc[0].date()
            raise DataError(
                f"table: expected days whole weeks after {days.min().date()} for frequency W, found {day}; "
                "name each week by its first day."
            )
        twice = pd.DataFrame({"row": row, "day": days}).duplicated()
        if twice.any():
            at = int(np.flatnonzero(twice)[0])
            raise DataError(
                f"table: expected one row for each item_id, day, found {int(twice.sum())} more, such as {item_ids[row[at]]!s}"
                f" on {days.iloc[at].date()}; add up the rows, or drop the later ones."
            )
        return cls(
            item_ids=item_ids.astype(object),
            start=days.min(),
            row=row.astype(np.int64),
            period=(number // period_days).to_numpy().astype(np.int64),
        )

    def scattered(self, values: pd.Series, name: str) -> Floats:
        """Return float32 ``[I, periods]``, NaN where there is no row."""
        numbers = pd.to_numeric(values, errors="coerce")
        wrong = numbers.isna() & values.notna()
        if wrong.any():
            raise DataError(f"table: expected numbers in {name!r}, found {values[wrong].iloc[0]!r}.")
        found = np.full((len(self.item_ids), int(self.period.max()) + 1), np.nan, np.float32)
        found[self.row, self.period] = numbers.to_numpy(np.float32, na_value=np.nan)
        return found


def _expect_columns(table: pd.DataFrame, names: Sequence[str]) -> None:
    for name in names:
        if name not in table.columns:
            hint = did_you_mean(name, [str(column) for column in table.columns])
            raise DataError(f"table: expected a column {name!r}, found {', '.join(map(str, table.columns))}.{hint}")


def _first_by_item(table: pd.DataFrame, name: str, item_ids: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    first = table[name].groupby(table[c.ITEM_ID].astype(str)).first().reindex(item_ids)
    return first.fillna("").astype(str).to_numpy(object)
