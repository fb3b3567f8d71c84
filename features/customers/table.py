"""The customer table: one row a user, as of one day. Personal data; analytics purpose only."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features import columns as c
from features.customers.parts import Context, Part
from features.customers.registry import COLUMNS, PARTS
from features.engine import private_connection, sql_name
from features.errors import DataError, UnknownId
from features.event_log import EventLog
from features.files import staged_file
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
        """
        day, shop = as_of or event_log.last_day, shop or ShopSettings()
        with private_connection(engine, beside=event_log.path.parent) as connection:
            context = Context(
                connection=connection,
                rows=event_log.relation(connection, purpose=c.ANALYTICS).filter(f"{c.LOCAL_DAY} <= DATE '{day}'"),
                items=connection.read_parquet(str(items)),
                as_of=day,
                shop=shop,
                data=data,
            )
            frame = _join(context, parts).to_pandas(date_as_object=False, types_mapper=_nullable)
        logger.info("customers: %d of %d users, as of %s%s", len(frame), event_log.num_users, day, _stages(frame))
        return cls(as_of=day, frame=frame, lifecycle=shop.lifecycle)

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
        about = {"as_of": self.as_of.isoformat(), "lifecycle": vars(self.lifecycle)}
        table = pa.Table.from_pandas(self.frame, preserve_index=False)
        kinds = (
            COLUMNS[name].arrow_type if name in COLUMNS else table.schema.field(name).type
            for name in table.schema.names
        )
        table = table.cast(pa.schema(list(zip(table.schema.names, kinds, strict=True))))
        metadata = {_METADATA_KEY: json.dumps(about).encode()}
        with staged_file(path) as aside:
            pq.write_table(table.replace_schema_metadata(metadata), aside)

    @classmethod
    def load(cls, path: Path) -> CustomerTable:
        """Read what ``save`` wrote.

        Raises:
            DataError: the file is missing or is not a customer table.
        """
        try:
            table = pq.read_table(path)
            about = json.loads(table.schema.metadata[_METADATA_KEY])
        except Exception as error:
            raise DataError(f"{path}: expected a customer table, found {type(error).__name__} ({error}).") from None
        return cls(
            as_of=dt.date.fromisoformat(about["as_of"]),
            frame=table.to_pandas(date_as_object=False, types_mapper=_nullable),
            lifecycle=LifecycleSettings(**about["lifecycle"]),
        )

    def _row(self, user_id: str) -> int | None:
        ids = self.frame[c.USER_ID]
        row = int(ids.searchsorted(user_id))
        return row if row < len(ids) and ids.iloc[row] == user_id else None


def _join(context: Context, parts: Sequence[Part]) -> pa.Table:
    """Return one row a user of the log, sorted; a part's columns are missing where it has no row of the user."""
    selected, joins = [f"seen.{c.USER_ID}"], []
    context.rows.select(c.USER_ID).distinct().create_view("seen")
    for part in parts:
        name = f"part {part.name}"
        relation = context.once(name, partial(part.select, context))
        selected += [f"{sql_name(name)}.{sql_name(column)}" for column in relation.columns if column != c.USER_ID]
        joins.append(f"LEFT JOIN {sql_name(name)} ON {sql_name(name)}.{c.USER_ID} = seen.{c.USER_ID}")
    query = f"SELECT {', '.join(selected)} FROM seen {' '.join(joins)} ORDER BY seen.{c.USER_ID}"
    return context.connection.sql(query).to_arrow_table()


def _stages(frame: pd.DataFrame) -> str:
    """How many are at each stage of the lifecycle, in brackets; blank where the table has none."""
    if "lifecycle" not in frame or frame.empty:
        return ""
    counts = frame["lifecycle"].value_counts().sort_index()
    return f" ({', '.join(f'{count} {stage}' for stage, count in counts.items())})"


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
