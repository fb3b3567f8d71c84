"""The figures of a widget: rows of the period, cut and measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pandas as pd

from features.insight.boards.dimensions import TIMES, Dimensions
from features.insight.boards.measure import change, customer_counts, group_sums, measured, with_first_day
from features.insight.boards.metrics import Metric
from features.insight.collecting import collected
from features.insight.inputs import Inputs, Period
from features.parquet import is_table, names_of

CUSTOMERS: Final = "customers"


@dataclass(frozen=True, kw_only=True, eq=False)
class Figures:
    """What widgets are measured from.

    Args:
        inputs: of the board's days.
        dimensions: what there is to cut by.
        customers: the customer table, where there is one.
    """

    inputs: Inputs
    dimensions: Dimensions
    customers: duckdb.DuckDBPyRelation | None

    @classmethod
    def of(cls, inputs: Inputs, customers: Path) -> Figures:
        """Return the figures of a feature directory.

        Args:
            inputs: of the board's days.
            customers: the customer table, a file or a cluster's directory.
        """
        table = inputs.connection.read_parquet(names_of(customers)) if is_table(customers) else None
        columns = () if table is None else table.columns
        return cls(inputs=inputs, dimensions=Dimensions.of(inputs.log.columns, columns), customers=table)

    def groups(self, metrics: Sequence[Metric], by: Sequence[str], *, period: Period | None = None) -> pd.DataFrame:
        """Return the figures of each group of a period's customers.

        Args:
            metrics: to be measured.
            by: dimensions.
            period: the board's where left out.

        Returns:
            One row a group: a column a dimension, customers, and for each metric NAME, NAME_low, NAME_high, and
            NAME_customers: how many it is about, of a ratio the fewer of those above and below the line.
        """
        cuts = [f"by_{place}" for place in range(len(by))]
        sums = collected(group_sums(self._counts(metrics, by, period), metrics, by=cuts))
        found = sums[[*cuts, "customers"]].set_axis([*by, "customers"], axis=1)
        for metric in metrics:
            values = measured(sums, metric)
            found[metric.name], found[f"{metric.name}_low"], found[f"{metric.name}_high"] = (
                values[name] for name in ("value", "low", "high")
            )
            found[f"{metric.name}_customers"] = values["customers"]
        order = [name for name in by if name in TIMES]
        return found.sort_values(order or [metrics[0].name], ascending=bool(order), kind="stable", ignore_index=True)

    def changes(self, metrics: Sequence[Metric], compared: Period) -> dict[str, tuple[float, float, float]]:
        """Return each ratio's difference to another period, with its interval."""
        ratios = [metric for metric in metrics if metric.over]
        if not ratios:
            return {}
        now, before = (collected(self._counts(ratios, (), period)) for period in (None, compared))
        return {metric.name: change(now, before, metric) for metric in ratios}

    def _counts(self, metrics: Sequence[Metric], by: Sequence[str], period: Period | None) -> Any:
        rows = self.inputs.rows if period is None else self.inputs.rows_of(period)
        if any(metric.of == "new" for metric in metrics):
            rows = with_first_day(rows, self.inputs.log)
        cut = self.dimensions.attach(rows, by, items=self.inputs.items, customers=self.customers)
        return customer_counts(cut, metrics, by=[f"by_{place}" for place in range(len(by))])
