"""Who became what between two days."""

from __future__ import annotations

from typing import Any, Final

import narwhals as nw
import pandas as pd
from narwhals.typing import IntoFrameT

from features import columns as c
from features.customers.table import CustomerTable
from features.errors import DataError
from features.tables.expressions import frame_of

NONE: Final = "(none)"  # not known on that day, or without a value then


def moves(before: IntoFrameT, after: IntoFrameT, *, column: str) -> IntoFrameT:
    """Return one row a customer of either day whose value changed.

        ann  growing -> growing        no row
        bob  loyal   -> silent         bob, loyal, silent
        eve          -> newcomer       eve, (none), newcomer

    Args:
        before: the customer table's frame of the earlier day: user_id and ``column``.
        after: that of the later day.
        column: a text, such as ``growth_stage``, ``lifecycle`` or ``rfm_segment``.

    Returns:
        user_id, was, now.
    """
    earlier, later = _values(before, column, "was"), _values(after, column, "now")
    ids = nw.concat([earlier.select(c.USER_ID), later.select(c.USER_ID)], how="vertical").unique()
    both = ids.join(earlier, on=c.USER_ID, how="left").join(later, on=c.USER_ID, how="left")
    both = both.with_columns(nw.col("was").fill_null(NONE), nw.col("now").fill_null(NONE))
    return both.filter(nw.col("was") != nw.col("now")).select(c.USER_ID, "was", "now").to_native()


def moves_between(before: CustomerTable, after: CustomerTable, *, column: str = "growth_stage") -> pd.DataFrame:
    """Return ``moves`` of two customer tables, sorted by user_id.

    Raises:
        DataError: a table lacks the column, or the second is not of a later day.
    """
    if before.as_of >= after.as_of:
        raise DataError(f"moves: expected the earlier table first, found {before.as_of} and {after.as_of}; swap them.")
    for table in (before, after):
        if column not in table.frame:
            raise DataError(f"moves: expected a column {column!r}, found none as of {table.as_of}; build it again.")
    found = moves(before.frame, after.frame, column=column)
    return found.sort_values(c.USER_ID).reset_index(drop=True)


def move_matrix(found: pd.DataFrame) -> pd.DataFrame:
    """Return how many moved from each value (rows) to each (columns); nobody moved is 0."""
    return pd.crosstab(found["was"], found["now"])


def _values(customers: Any, column: str, name: str) -> nw.LazyFrame[Any]:
    rows = frame_of(customers).select(c.USER_ID, nw.col(column).alias(name))
    return rows.filter(~nw.col(name).is_null())
