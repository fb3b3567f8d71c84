"""Small data directories, spelled out in the tests that use them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.contract.tables import TABLES, Table
from features.settings import ShopSettings

_ARROW_TYPES = {
    "id": pa.string(),
    "text": pa.string(),
    "instant": pa.timestamp("us", tz="UTC"),
    "day": pa.date32(),
    "count": pa.int64(),
    "integer": pa.int64(),
    "money": pa.int64(),
    "real": pa.float64(),
    "share": pa.float64(),
    "flag": pa.bool_(),
}

Rows = Iterable[Mapping[str, Any]]


def utc(text: str) -> dt.datetime:
    """``utc("2024-05-01 10:00")``."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def event(
    user_id: str, event_type: str, ts: str | dt.datetime, item_id: str | None = None, **more: Any
) -> dict[str, Any]:
    """One row of the events table; ``ts`` is UTC."""
    at = utc(ts) if isinstance(ts, str) else ts
    return {"user_id": user_id, "event_type": event_type, "ts": at, "item_id": item_id, **more}


def arrow_table(table: Table, rows: Rows) -> pa.Table:
    """Rows in the contract's columns and types, null where a row says nothing."""
    listed = list(rows)
    for row in listed:
        unknown = set(row) - set(table.column_names)
        assert not unknown, f"not in the contract: {unknown}"
    arrays = [pa.array([row.get(x.name) for row in listed], _ARROW_TYPES[x.kind]) for x in table.columns]
    return pa.table(arrays, names=list(table.column_names))


def write_shop(directory: Path, *, shop: ShopSettings = ShopSettings(), **tables: Rows) -> Path:
    """Write ``events=[...], items=[...], consents=[...]`` and the settings as a data directory."""
    directory.mkdir(parents=True, exist_ok=True)
    shop.save(directory)
    for name, rows in tables.items():
        pq.write_table(arrow_table(TABLES[name], rows), directory / f"{name}.parquet")
    return directory
