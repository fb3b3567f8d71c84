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


def steps(before: IntoFrameT, after: IntoFrameT, *, column: str) -> IntoFrameT:
    """Return one row a customer of either day: where they were and where they are.

        ann  growing -> growing        ann, growing, growing
        bob  loyal   -> silent         bob, loyal, silent
        eve          -> newcomer       eve, (none), newcomer

    Args:
        before: the customer table's frame of the earlier day: user_id and ``column``.
        after: that of the later day.
        column: a text, such as ``growth_stage``, ``lifecycle`` or ``rfm_segment``.

    Returns:
        user_id, was, now; those without a value on both days are left out.
    """
    earlier, later = _values(before, column, "was"), _values(after, column, "now")
    ids = nw.concat([earlier.select(c.USER_ID), later.select(c.USER_ID)], how="vertical").unique()
    both = ids.join(earlier, on=c.USER_ID, how="left").join(later, on=c.USER_ID, how="left")
    return both.with_columns(nw.col("was").fill_null(NONE), nw.col("now").fill_null(NONE)).to_native()


def steps_between(before: CustomerTable, after: CustomerTable, *, column: str) -> pd.DataFrame:
    """Return ``steps`` of two customer tables, sorted by user_id.

    Raises:
        DataError: a table lacks the column, or the second is not of a later day.
    """
    if before.as_of >= after.as_of:
        raise DataError(
            f"moves: expected a day before {after.as_of}, which the later table is of, found {before.as_of}."
        )
    for table in (before, after):
        if column not in table.frame:
            raise DataError(f"moves: expected a column {column!r}, found none as of {table.as_of}; build it again.")
    return steps(before.frame, after.frame, column=column).sort_values(c.USER_ID, ignore_index=True)


def moved(found: pd.DataFrame, *, was: str = "", now: str = "") -> pd.DataFrame:
    """Return the steps that lead elsewhere, from one value or to one value where they are named."""
    chosen = found["was"] != found["now"]
    for name, value in (("was", was), ("now", now)):
        chosen &= (found[name] == value) | (value == "")
    return found[chosen].reset_index(drop=True)


def step_counts(found: pd.DataFrame) -> pd.DataFrame:
    """Return was, now and customers: how many took each step."""
    return found.groupby(["was", "now"]).size().rename("customers").reset_index()


def _values(customers: Any, column: str, name: str) -> nw.LazyFrame[Any]:
    rows = frame_of(customers).select(c.USER_ID, nw.col(column).alias(name))
    return rows.filter(~nw.col(name).is_null())
