"""How many rows lie below each: ranks for which no engine has to hold all rows in one place."""

from __future__ import annotations

from typing import Any, Final

import narwhals as nw

_ORDER: Final = "rank_order"
_SAME: Final = "rank_same"


def with_below(rows: nw.LazyFrame[Any], column: str, name: str, *, descending: bool = False) -> nw.LazyFrame[Any]:
    """Return rows with the number of those whose value is smaller; equal values have equal numbers.

        value  10  20  20  30      ->      below  0  1  1  3;  descending  3  1  1  0

    Only distinct values are sorted: a cluster sorts what is not partitioned in one task.

    Args:
        rows: of any engine.
        column: numbers, none of them missing.
        name: of the new column, int64.
        descending: count larger values instead.
    """
    values = rows.group_by(column).agg(nw.len().alias(_SAME))
    values = values.with_columns((-nw.col(column) if descending else nw.col(column)).alias(_ORDER))
    up_to = nw.col(_SAME).cum_sum().over(order_by=_ORDER)
    values = values.with_columns((up_to - nw.col(_SAME)).cast(nw.Int64).alias(name))
    return rows.join(values.select(column, name), on=column, how="left")


def with_total(rows: nw.LazyFrame[Any], name: str) -> nw.LazyFrame[Any]:
    """Return rows with their number as a column, int64."""
    return rows.join(rows.select(nw.len().cast(nw.Int64).alias(name)), how="cross")
