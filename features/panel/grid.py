"""Items × days on which a log's rows land, and their sum or mean by week.

A panel of weeks ends with the log's last day, so that its last week is whole; days before its first week are left
out. Every array is made by day and then brought to periods, so both frequencies follow one rule.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from features.engine import sql_text
from features.errors import DataError
from features.panel.demand_panel import PERIOD_DAYS, Floats


@dataclass(frozen=True, kw_only=True)
class PanelGrid:
    """Items × days, and how rows of a query land on it.

    Args:
        connection: holds ``panel_items`` (row, item_id, ...).
        first_day, last_day: of the grid; a whole number of periods.
        frequency: of the panel.
        horizon: periods after the last day.
    """

    connection: duckdb.DuckDBPyConnection
    first_day: dt.date
    last_day: dt.date
    frequency: Literal["D", "W"]
    horizon: int

    @classmethod
    def of(
        cls,
        connection: duckdb.DuckDBPyConnection,
        *,
        first_day: dt.date,
        last_day: dt.date,
        frequency: Literal["D", "W"],
        horizon: int,
    ) -> PanelGrid:
        """Lay whole periods over a log's days.

        Raises:
            DataError: the days do not make one period.
        """
        days, period_days = (last_day - first_day).days + 1, PERIOD_DAYS[frequency]
        if days < period_days:
            raise DataError(
                f"panel: expected at least {period_days} days for panel.frequency {frequency}, found {days}; "
                "bring a longer log or build a panel of days."
            )
        whole = first_day + dt.timedelta(days=days % period_days)
        return cls(connection=connection, first_day=whole, last_day=last_day, frequency=frequency, horizon=horizon)

    @property
    def num_items(self) -> int:
        """I."""
        return self.connection.table("panel_items").shape[0]

    @property
    def period_days(self) -> int:
        """Days in a period."""
        return PERIOD_DAYS[self.frequency]

    @property
    def num_days(self) -> int:
        """Days up to the last one, of whole periods."""
        return (self.last_day - self.first_day).days + 1

    @property
    def num_days_ahead(self) -> int:
        """Days up to the end of the horizon."""
        return self.num_days + self.horizon * self.period_days

    @property
    def days(self) -> pd.DatetimeIndex:
        """All days up to the end of the horizon."""
        return pd.date_range(self.first_day, periods=self.num_days_ahead, freq="D")

    @property
    def items(self) -> pa.Table:
        """The panel's items, by row."""
        return self.connection.sql("SELECT * FROM panel_items ORDER BY row").to_arrow_table()

    @property
    def day_number(self) -> str:
        """SQL: column ``day`` as days since the grid's first."""
        return f"date_diff('day', {sql_text(str(self.first_day))}::DATE, day)"

    def cells(
        self, query: str, *, ahead: bool = False, empty: float = 0.0, num_rows: int | None = None
    ) -> dict[str, Floats]:
        """Scatter a query's rows (row, day, values ...) over days, one array a value.

        Args:
            query: SQL; one row a cell.
            ahead: up to the end of the horizon, and not to the last day.
            empty: value of a cell without a row.
            num_rows: rows of the arrays; the panel's items where left out.

        Returns:
            float32 ``[rows, days]`` by column name.
        """
        width = self.num_days_ahead if ahead else self.num_days
        table = self.connection.sql(f"""
            SELECT row, {self.day_number} AS number, * EXCLUDE (row, day)
            FROM ({query}) WHERE number >= 0 AND number < {width}""").to_arrow_table()
        at = table["row"].to_numpy(), table["number"].to_numpy()
        arrays = {}
        for name in table.column_names[2:]:
            arrays[name] = np.full((self.num_items if num_rows is None else num_rows, width), empty, np.float32)
            arrays[name][at] = table[name].to_numpy()
        return arrays

    def summed(self, daily: Floats) -> Floats:
        """Return each period's sum; NaN where one of its days is NaN."""
        return daily if self.period_days == 1 else self.by_period(daily).sum(axis=2)

    def averaged(self, daily: Floats) -> Floats:
        """Return each period's mean; NaN where one of its days is NaN."""
        return daily if self.period_days == 1 else self.by_period(daily).mean(axis=2)

    def by_period(self, daily: Floats) -> Floats:
        """Return ``[rows, days]`` as ``[rows, periods, days of a period]``."""
        return daily.reshape(len(daily), daily.shape[1] // self.period_days, self.period_days)
