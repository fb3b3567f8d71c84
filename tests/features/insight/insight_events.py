"""Tiny event logs as the insight functions see them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

import pandas as pd
import pyarrow as pa

FIRST = dt.date(2024, 1, 1)  # a Monday


def day(number: int) -> dt.date:
    """The day so many after Monday, 1 January 2024."""
    return FIRST + dt.timedelta(days=number)


def log(rows: Iterable[tuple[Any, ...]], **more: Iterable[Any]) -> pa.Table:
    """Rows of (user, event type, day number, minute of the day, item); minute and item may be left out."""
    full = [(*row, *((0, None)[len(row) - 3 :])) for row in rows]
    at = [dt.datetime.combine(day(row[2]), dt.time(), dt.UTC) + dt.timedelta(minutes=row[3]) for row in full]
    columns = {
        "user_id": pa.array([row[0] for row in full], pa.string()),
        "event_type": pa.array([row[1] for row in full], pa.string()),
        "ts": pa.array(at, pa.timestamp("us", tz="UTC")),
        "event_id": pa.array([f"e{n:04}" for n in range(len(full))], pa.string()),
        "item_id": pa.array([row[4] for row in full], pa.string()),
        "local_day": pa.array([day(row[2]) for row in full], pa.date32()),
        "local_hour": pa.array([row[3] // 60 for row in full], pa.int32()),
    }
    return pa.table(columns | {name: pa.array(list(values)) for name, values in more.items()})


def in_pandas(table: pa.Table) -> pd.DataFrame:
    """As ``EventLog.to_pandas`` gives it."""
    return table.to_pandas(date_as_object=False)
