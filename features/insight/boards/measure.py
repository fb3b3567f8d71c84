"""Metrics of all customers or by cuts of them, with intervals; the counts run on pandas, DuckDB and PySpark alike.

Figures are of customers, who differ and who come back: the interval of a ratio R = sum y / sum x is the delta
method's over customers, ``var R = n / (n - 1) * sum (y_i - R x_i)^2 / (sum x)^2`` (Cochran 1977, 6.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import columns as c
from features.insight.boards.metrics import CUSTOMER_COUNTS, Metric
from features.tables.sessions import VISIT_EVENTS
from features.tables.sql import run

Z_95: Final = 1.959963984540054
Floats = npt.NDArray[np.float64]


def with_first_day(rows: Any, log: Any) -> Any:
    """Return rows with ``is_first_day``: whether it is the first day on which its customer came, as the log tells."""
    came = ", ".join(f"'{name}'" for name in VISIT_EVENTS)
    firsts = run(
        f"SELECT user_id, min(local_day) AS first_day FROM {{log}} WHERE event_type IN ({came}) GROUP BY user_id",
        log=log,
    )
    return run(
        "SELECT e.*, coalesce(e.local_day = f.first_day, false) AS is_first_day FROM {rows} e LEFT JOIN {firsts} f USING (user_id)",
        rows=rows, firsts=firsts,
    )  # fmt: skip


def customer_counts(rows: Any, metrics: Sequence[Metric], *, by: Sequence[str] = ()) -> Any:
    """Return one row a customer and group, with the counts that the metrics need.

    Args:
        rows: of the log, with the columns ``by``, and ``is_first_day`` where a metric counts new customers.
        metrics: to be measured.
        by: columns that name the group.
    """
    columns = ", ".join((c.USER_ID, *by))
    counts = ", ".join(f"CAST({CUSTOMER_COUNTS[name]} AS DOUBLE) AS {name}" for name in needed(metrics))
    return run(f"SELECT {columns}, {counts} FROM {{rows}} GROUP BY {columns}", rows=rows)


def group_sums(counts: Any, metrics: Sequence[Metric], *, by: Sequence[str] = ()) -> Any:
    """Return one row a group: customers, and the sums and products that ``measured`` needs.

    Args:
        counts: from ``customer_counts``.
        metrics: to be measured.
        by: columns that name the group.
    """
    pairs = {(a, b) for one in metrics if one.over for a in (one.of, one.over) for b in (one.of, one.over) if a <= b}
    sums = [f"coalesce(sum({name}), 0.0) AS {name}" for name in needed(metrics)]
    sums += [f"CAST(count(CASE WHEN {name} <> 0 THEN 1 END) AS BIGINT) AS n_{name}" for name in needed(metrics)]
    sums += [f"coalesce(sum({a} * {b}), 0.0) AS {a}__{b}" for a, b in sorted(pairs)]
    columns = ", ".join((*by, "count(*) AS customers", *sums))
    group = f" GROUP BY {', '.join(by)}" if by else ""
    return run(f"SELECT {columns} FROM {{counts}}{group}", counts=counts)


def measured(sums: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """Return a metric of each group.

    Args:
        sums: from ``group_sums``, in memory.
        metric: one of those.

    Returns:
        value; low and high of a ratio's 95% interval, missing for a plain sum and where nothing can be divided;
        customers: whom the figure is about, of a ratio the fewer of those above and below the line, but 0 above.
    """
    top = sums[metric.of].to_numpy(np.float64)
    if not metric.over:
        nothing = np.full(len(sums), np.nan)
        found = {"value": top, "low": nothing, "high": nothing, "customers": sums[f"n_{metric.of}"]}
        return pd.DataFrame(found, index=sums.index)
    bottom = sums[metric.over].to_numpy(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(bottom > 0, top / bottom, np.nan)
        squares = (
            _product(sums, metric.of, metric.of)
            - 2 * value * _product(sums, metric.of, metric.over)
            + value**2 * _product(sums, metric.over, metric.over)
        )
        number = sums["customers"].to_numpy(np.float64)
        error = np.sqrt(np.maximum(squares, 0) * number / (number - 1)) / bottom
    low, high = value - Z_95 * error, value + Z_95 * error
    if metric.unit == "share":
        low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
    above, below = sums[f"n_{metric.of}"], sums[f"n_{metric.over}"]
    about = np.where(above == 0, below, np.minimum(above, below))
    return pd.DataFrame({"value": value, "low": low, "high": high, "customers": about}, index=sums.index)


def change(now: pd.DataFrame, before: pd.DataFrame, metric: Metric) -> tuple[float, float, float]:
    """Return a ratio's difference between two periods with its 95% interval, customers of both counted as such.

    The same customers make both figures, so their errors go together: the variance is that of the sum over customers
    of ``(y - R x) / sum x`` now less the same before.

    Args:
        now: one row a customer, from ``customer_counts``, in memory.
        before: of the other period.
        metric: a ratio.

    Returns:
        difference, low, high; NaN where a period has nothing to divide by.
    """
    values, influences = zip(*(_influence(frame, metric) for frame in (now, before)), strict=True)
    together = influences[0].sub(influences[1], fill_value=0.0).to_numpy()
    number = max(len(together), 2)
    error = np.sqrt((together**2).sum() * number / (number - 1))
    difference = values[0] - values[1]
    return float(difference), float(difference - Z_95 * error), float(difference + Z_95 * error)


def needed(metrics: Sequence[Metric]) -> list[str]:
    """Return the counts that metrics are made of."""
    wanted = {name for metric in metrics for name in (metric.of, metric.over) if name}
    return [name for name in CUSTOMER_COUNTS if name in wanted]


def _influence(counts: pd.DataFrame, metric: Metric) -> tuple[float, pd.Series]:
    top, bottom = counts[metric.of], counts[metric.over]
    whole = bottom.sum()
    if not whole:
        return np.nan, pd.Series(0.0, index=counts[c.USER_ID])
    value = top.sum() / whole
    return float(value), pd.Series(((top - value * bottom) / whole).to_numpy(), index=counts[c.USER_ID])


def _product(sums: pd.DataFrame, one: str, other: str) -> Floats:
    first, second = sorted((one, other))
    return sums[f"{first}__{second}"].to_numpy(np.float64)
