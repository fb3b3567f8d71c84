"""The customer table: one row a user, as of one day. Personal data; analytics purpose only."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features import columns as c
from features.customers.on_duckdb import customer_tables
from features.customers.parts import Part
from features.customers.registry import COLUMNS, PARTS
from features.errors import DataError, UnknownId
from features.event_log import EventLog
from features.files import read_json, staged_file, write_json
from features.parquet import SUMMARY_FILE, files_of
from features.settings import EngineSettings, LifecycleSettings, ShopSettings

_METADATA_KEY: Final = b"footfall_customers"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class CustomerTable:
    """One row a user with any event up to ``as_of``.

    Args:
        as_of: the local day on which recency is 0; nothing later was looked at.
        frame: user_id, sorted and unique, and the columns that ``features.customers.registry`` describes; one that
            another version wrote may lack some. Days are midnights, money is minor units, a list is an array.
        lifecycle: the boundaries that its stages were drawn with.
    """

    as_of: dt.date
    frame: pd.DataFrame
    lifecycle: LifecycleSettings

    def __post_init__(self) -> None:
        if c.USER_ID not in self.frame:
            raise DataError(f"CustomerTable: expected a column 'user_id', found {list(self.frame)}.")
        if not (self.frame[c.USER_ID].is_monotonic_increasing and self.frame[c.USER_ID].is_unique):
            raise DataError("CustomerTable: expected one row a user, sorted by user_id; sort and deduplicate first.")

    def __len__(self) -> int:
        return len(self.frame)

    def __contains__(self, user_id: object) -> bool:
        return self._row(str(user_id)) is not None

    @classmethod
    def build(
        cls,
        event_log: EventLog,
        items: Path,
        *,
        data: Path | None = None,
        as_of: dt.date | None = None,
        shop: ShopSettings | None = None,
        engine: EngineSettings = EngineSettings(),
        parts: Sequence[Part] = PARTS,
        **ranges: int,
    ) -> CustomerTable:
        """Compute the table from the rows that may serve analytics.

        Args:
            event_log: the clean log.
            items: the contract's items table, a Parquet file.
            data: a data directory whose other tables (users, coupons, plan) are read where they are there.
            as_of: last local day that is looked at; the log's last day where left out.
            shop: boundaries of the lifecycle and all other settings; the defaults where left out.
            engine: memory limit, threads, where to spill; beside the log where that is empty.
            parts: what to put together; all of them where left out.
            ranges: ``events_a_range``, ``users_a_range``: see ``features.customers.on_duckdb``.
        """
        day, shop = as_of or event_log.last_day, shop or ShopSettings()
        pieces = customer_tables(
            event_log, items, data=data, as_of=day, shop=shop, engine=engine, parts=parts, **ranges
        )
        table = pa.concat_tables(pieces)
        _tell(Counter(_stages(table)), len(table), event_log, day)
        return cls(as_of=day, frame=_to_pandas(table), lifecycle=shop.lifecycle)

    @classmethod
    def write(
        cls,
        event_log: EventLog,
        items: Path,
        path: Path,
        *,
        data: Path | None = None,
        as_of: dt.date | None = None,
        shop: ShopSettings | None = None,
        engine: EngineSettings = EngineSettings(),
        parts: Sequence[Part] = PARTS,
        **ranges: int,
    ) -> int:
        """Do what ``build`` and then ``save`` do, some users after the other; return the number of customers.

        Args:
            event_log: the clean log.
            items: the contract's items table, a Parquet file.
            path: the Parquet file to write, whole or not at all.
            data: a data directory whose other tables (users, coupons, plan) are read where they are there.
            as_of: last local day that is looked at; the log's last day where left out.
            shop: boundaries of the lifecycle and all other settings; the defaults where left out.
            engine: memory limit, threads, where to spill; beside the log where that is empty.
            parts: what to put together; all of them where left out.
            ranges: ``events_a_range``, ``users_a_range``: see ``features.customers.on_duckdb``.
        """
        day, shop = as_of or event_log.last_day, shop or ShopSettings()
        pieces = customer_tables(
            event_log, items, data=data, as_of=day, shop=shop, engine=engine, parts=parts, **ranges
        )
        number, stages = 0, Counter[str]()
        with staged_file(path) as aside, contextlib.ExitStack() as open_files:
            writer = None
            for table in map(in_file_types, pieces):
                if writer is None:
                    schema = table.schema.with_metadata(_metadata(day, shop.lifecycle))
                    writer = open_files.enter_context(pq.ParquetWriter(aside, schema))
                writer.write_table(table)
                number, stages = number + len(table), stages + Counter(_stages(table))
        _tell(stages, number, event_log, day)
        return number

    def lookup(self, user_id: str) -> dict[str, Any]:
        """Return one user's row; missing values are ``None``, days are dates.

        Raises:
            UnknownId: the table has no such user.
        """
        row = self._row(user_id)
        if row is None:
            raise UnknownId(f"customers: expected a user seen up to {self.as_of}, found no row for this id.")
        return {str(name): _plain(value) for name, value in self.frame.iloc[row].items()}

    def save(self, path: Path) -> None:
        """Write one Parquet file, whole or not at all."""
        table = in_file_types(pa.Table.from_pandas(self.frame, preserve_index=False))
        with staged_file(path) as aside:
            pq.write_table(table.replace_schema_metadata(_metadata(self.as_of, self.lifecycle)), aside)

    @classmethod
    def load(cls, path: Path) -> CustomerTable:
        """Read what ``save`` or ``write`` wrote, or the directory that a cluster did.

        Raises:
            DataError: it is missing or is not a customer table.
        """
        try:
            table = pa.concat_tables(map(pq.read_table, files_of(path)))
            if Path(path).is_dir():
                about = read_json(Path(path) / SUMMARY_FILE)[_METADATA_KEY.decode()]
            else:
                about = json.loads(table.schema.metadata[_METADATA_KEY])
        except Exception as error:
            raise DataError(f"{path}: expected a customer table, found {type(error).__name__} ({error}).") from None
        return cls(
            as_of=dt.date.fromisoformat(about["as_of"]),
            frame=_to_pandas(table),
            lifecycle=LifecycleSettings(**about["lifecycle"]),
        )

    def _row(self, user_id: str) -> int | None:
        ids = self.frame[c.USER_ID]
        row = int(ids.searchsorted(user_id))
        return row if row < len(ids) and ids.iloc[row] == user_id else None


def in_file_types(table: pa.Table) -> pa.Table:
    """Return a table with its columns in the types of the file; what outside systems brought stays as it is."""
    fields = [
        pa.field(field.name, COLUMNS[field.name].arrow_type if field.name in COLUMNS else field.type)
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))


def write_summary(directory: Path, as_of: dt.date, lifecycle: LifecycleSettings) -> None:
    """Write beside the files of a directory what one file says in its footer."""
    about = {key.decode(): json.loads(value) for key, value in _metadata(as_of, lifecycle).items()}
    write_json(directory / SUMMARY_FILE, about)


def _metadata(as_of: dt.date, lifecycle: LifecycleSettings) -> dict[bytes, bytes]:
    return {_METADATA_KEY: json.dumps({"as_of": as_of.isoformat(), "lifecycle": vars(lifecycle)}).encode()}


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas(date_as_object=False, types_mapper=_nullable)


def _stages(table: pa.Table) -> dict[str, int]:
    """How many are at each stage of the lifecycle; nothing where the table has none."""
    if "lifecycle" not in table.column_names:
        return {}
    return {str(pair["values"]): pair["counts"] for pair in table["lifecycle"].value_counts().to_pylist()}


def _tell(stages: Counter[str], number: int, event_log: EventLog, day: dt.date) -> None:
    counts = f" ({', '.join(f'{stages[stage]} {stage}' for stage in sorted(stages))})" if stages else ""
    logger.info("customers: %d of %d users, as of %s%s", number, event_log.num_users, day, counts)


def _nullable(kind: pa.DataType) -> Any:
    return pd.Int64Dtype() if pa.types.is_integer(kind) else None


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | list):
        return [_plain(part) for part in value]
    if pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.date()
    return value.item() if hasattr(value, "item") else value
