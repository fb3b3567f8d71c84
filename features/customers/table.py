"""The customer table: one row a user, as of one day. Personal data; analytics purpose only."""

from __future__ import annotations

import datetime as dt
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features import columns as c
from features.engine import private_connection
from features.errors import DataError, UnknownId
from features.event_log import EventLog
from features.files import staged_file
from features.settings import EngineSettings, LifecycleSettings
from features.tables.lifecycle import lifecycle
from features.tables.orders import interactions, purchases
from features.tables.preferences import favourite_category, last_seen
from features.tables.rfm import rfm

_METADATA_KEY: Final = b"footfall_customers"

# Columns in order, and how each is made from the tables that are joined.
COLUMNS: Final = {
    c.USER_ID: "user_id",
    "first_interaction_day": "first_interaction_day",
    "last_interaction_day": "last_interaction_day",
    "num_interactions": "num_interactions",
    "first_purchase_day": "first_purchase_day",
    "last_purchase_day": "last_purchase_day",
    "recency_days": "recency_days",
    "frequency": "coalesce(frequency, 0)",
    "monetary": "coalesce(monetary, 0)",
    "recency_score": "recency_score",
    "frequency_score": "frequency_score",
    "monetary_score": "monetary_score",
    "average_basket": "monetary / frequency",
    "lifecycle": "lifecycle",
    "favourite_category": "favourite_category",
    "last_region": "last_region",
    "last_device_id": "last_device_id",
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class CustomerTable:
    """One row a user with any event up to ``as_of``.

    Args:
        as_of: the local day on which recency is 0; nothing later was looked at.
        frame: columns as in ``COLUMNS``, sorted by user_id, which is unique. Days are dates; monetary and
            average_basket are minor units; recency, scores and average_basket are missing for a user who never
            bought, frequency and monetary are 0.
        lifecycle: the boundaries that its stages were drawn with.
    """

    as_of: dt.date
    frame: pd.DataFrame
    lifecycle: LifecycleSettings

    def __post_init__(self) -> None:
        missing = [name for name in COLUMNS if name not in self.frame]
        if missing:
            raise DataError(f"CustomerTable: expected columns {list(COLUMNS)}, found none called {missing[0]!r}.")
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
        as_of: dt.date | None = None,
        settings: LifecycleSettings | None = None,
        engine: EngineSettings = EngineSettings(),
    ) -> CustomerTable:
        """Compute the table from the rows that may serve analytics.

        Args:
            event_log: the clean log.
            items: the contract's items table, a Parquet file.
            as_of: last local day that is looked at; the log's last day where left out.
            settings: boundaries of the lifecycle; the defaults where left out.
            engine: memory limit, threads, where to spill; beside the log where that is empty.
        """
        day, settings = as_of or event_log.last_day, settings or LifecycleSettings()
        with private_connection(engine, beside=event_log.path.parent) as connection:
            rows = event_log.relation(connection, purpose=c.ANALYTICS).filter(f"{c.LOCAL_DAY} <= DATE '{day}'")
            table = _join(connection, rows, connection.read_parquet(str(items)), as_of=day, settings=settings)
            frame = table.to_pandas(date_as_object=False, types_mapper=_nullable)
        stages = frame["lifecycle"].value_counts().sort_index()
        logger.info(
            "customers: %d of %d users, as of %s (%s)",
            *(len(frame), event_log.num_users, day, ", ".join(f"{n} {stage}" for stage, n in stages.items())),
        )
        return cls(as_of=day, frame=frame, lifecycle=settings)

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
        days = [name for name in COLUMNS if name.endswith("_day")]
        for name in days:
            table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(pa.date32()))
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


def _join(
    connection: duckdb.DuckDBPyConnection,
    rows: duckdb.DuckDBPyRelation,
    items: duckdb.DuckDBPyRelation,
    *,
    as_of: dt.date,
    settings: LifecycleSettings,
) -> pa.Table:
    bought = purchases(rows)
    rows.select(c.USER_ID).distinct().create_view("seen")
    clocks = connection.sql("FROM seen").join(bought.set_alias("b"), c.USER_ID, how="left")
    clocks = clocks.join(interactions(rows).set_alias("i"), c.USER_ID, how="left")
    clocks.create("clocks")  # a table: two of the parts below read it
    clocks = connection.table("clocks")
    parts = {
        "clock": clocks,
        "score": rfm(clocks.filter("num_orders IS NOT NULL"), as_of=as_of).project("* EXCLUDE (monetary)"),
        "stage": lifecycle(clocks, as_of=as_of, settings=settings),
        "taste": favourite_category(rows, items),
        "region": last_seen(rows, c.REGION),
        "device": last_seen(rows, c.DEVICE_ID),
    }
    for name, relation in parts.items():
        relation.create_view(name)
    joins = " ".join(f"LEFT JOIN {name} USING (user_id)" for name in list(parts)[1:])
    selected = ", ".join(f"{expression} AS {name}" for name, expression in COLUMNS.items())
    return connection.sql(f"SELECT {selected} FROM clock {joins} ORDER BY user_id").to_arrow_table()


def _nullable(kind: pa.DataType) -> Any:
    return pd.Int64Dtype() if pa.types.is_integer(kind) else None


def _plain(value: Any) -> Any:
    if pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.date()
    return value.item() if hasattr(value, "item") else value
