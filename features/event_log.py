"""The event log: clean, deduplicated, sorted, in the shop's days, and flagged with what each row may serve.

Built in DuckDB, out of core: no step holds the log in memory.

    row without event_id   gets one from its content; the second identical row gets another, and so on
    rows with one event_id the first by (ts, user_id, content) stays
    purposes               granted at the row's instant and not withdrawn since
    user_id                the customer, where ids were linked (``features.identity``); as it arrived in source_user_id

Consent is judged by the rule of ``features.privacy.consents``.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import duckdb
import pandas as pd
import pyarrow.parquet as pq

from features import columns as c
from features.contract.read import define_table
from features.contract.tables import EVENTS
from features.engine import private_connection, sql_text
from features.errors import ConfigError, DataError
from features.files import staged_file
from features.identity.resolve import define_customers, resolved_events
from features.privacy.consents import read_consents
from features.settings import EngineSettings, ShopSettings
from features.tables.local_time import SPARK_FUNCTIONS, local_time_columns

LOG_COLUMNS: Final = (
    *EVENTS.column_names,
    c.LOCAL_DAY,
    c.LOCAL_HOUR,
    c.FOR_ANALYTICS,
    c.FOR_PERSONALISATION,
    c.SOURCE_USER_ID,
)
FLAGS: Final = {c.ANALYTICS: c.FOR_ANALYTICS, c.PERSONALISATION: c.FOR_PERSONALISATION}
_METADATA_KEY: Final = "footfall_event_log"
_ORDER: Final = f"{c.USER_ID}, {c.TS}, {c.EVENT_ID}"  # ends in a unique key

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EventLog:
    """A Parquet file of events sorted by (user_id, ts, event_id), with all contract columns and ``LOG_COLUMNS``.

    Args:
        path: the file.
        num_events: rows; event_id is never null and never twice.
        num_users: distinct users.
        first_at: earliest instant, UTC.
        last_at: latest instant, UTC.
        first_day: earliest local day.
        last_day: latest local day.
        fingerprint: 64 hex digits over the content of all rows, whatever their order on arrival.
    """

    path: Path
    num_events: int
    num_users: int
    first_at: dt.datetime
    last_at: dt.datetime
    first_day: dt.date
    last_day: dt.date
    fingerprint: str

    @classmethod
    def build(
        cls,
        data: Path,
        path: Path,
        *,
        shop: ShopSettings,
        engine: EngineSettings = EngineSettings(),
        identity: Path | None = None,
    ) -> EventLog:
        """Read ``data/events.parquet`` (and ``data/consents.parquet``), write ``path`` whole or not at all.

        Args:
            data: a data directory.
            path: the Parquet file to write.
            shop: its zone gives the local day and hour, its default the consent where no consents table is given.
            engine: memory limit, threads, where to spill.
            identity: directory that ``features.identity.build.build_identity`` wrote, whose customers become the users;
                ``None`` leaves every user_id as it arrived.

        Raises:
            DataError: a file is missing, empty or breaks the contract.
        """
        with private_connection(engine, beside=Path(path).parent) as connection:
            num_rows = _read_events(connection, Path(data) / "events.parquet")
            if identity is not None:
                define_customers(connection, identity)
            consents = Path(data) / "consents.parquet"
            read_consents(connection, consents, by_customer=identity is not None)
            otherwise = not consents.exists() and shop.consent_default == "granted"
            _define_log(connection, shop, otherwise=otherwise, linked=identity is not None)
            summary = _summarise(connection, linked=identity is not None)
            with staged_file(Path(path)) as aside:
                _write_sorted(connection, aside, summary)
        log = cls.open(path)
        logger.info(
            "event log: %d rows in, %d repeated rows set aside, %d events of %d users from %s to %s",
            *(num_rows, num_rows - log.num_events, log.num_events, log.num_users, log.first_day, log.last_day),
        )
        return log

    @classmethod
    def open(cls, path: Path) -> EventLog:
        """Return a handle on what ``build`` wrote; only the file's footer is read.

        Raises:
            DataError: the file is missing, or is not an event log.
        """
        if not Path(path).is_file():
            raise DataError(f"{path}: expected an event log here, found none; build the features first.")
        try:
            summary = json.loads(pq.read_metadata(path).metadata[_METADATA_KEY.encode()])
        except Exception as error:
            raise DataError(
                f"{path}: expected an event log, found another or a damaged file ({error}); build the features again."
            ) from None
        for name in ("first_at", "last_at"):
            summary[name] = dt.datetime.fromisoformat(summary[name])
        for name in ("first_day", "last_day"):
            summary[name] = dt.date.fromisoformat(summary[name])
        return cls(path=Path(path), **summary)

    def relation(self, connection: duckdb.DuckDBPyConnection, *, purpose: str | None = None) -> duckdb.DuckDBPyRelation:
        """Return the rows that may serve ``purpose``, lazily, for use on ``connection``.

        Args:
            connection: from ``features.engine.connect``.
            purpose: ``analytics`` or ``personalisation``; ``None`` gives all rows, for counts and for erasure only.
        """
        rows = connection.read_parquet(str(self.path))
        return rows if purpose is None else rows.filter(purpose_flag(purpose))

    def to_pandas(self, columns: Iterable[str] | None = None, *, purpose: str | None = None) -> pd.DataFrame:
        """Return the log, or some columns of it, as a frame in memory; local_day as midnight ``datetime64``."""
        rows = None if purpose is None else [(purpose_flag(purpose), "==", True)]
        table = pq.read_table(self.path, columns=None if columns is None else list(columns), filters=rows)
        return table.to_pandas(date_as_object=False)


def purpose_flag(purpose: str) -> str:
    """Return the log's column that says whether a row may serve ``purpose``.

    >>> purpose_flag("analytics")
    'for_analytics'
    """
    if purpose not in FLAGS:
        raise ConfigError(f"purpose: expected one of {c.PURPOSES}, found {purpose!r}.")
    return FLAGS[purpose]


@dataclass(frozen=True, kw_only=True)
class _Summary:
    num_events: int
    num_users: int
    first_at: str
    last_at: str
    first_day: str
    last_day: str
    fingerprint: str


def _read_events(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    define_table(connection, path, EVENTS, view="source_events")
    checks = [
        *(f"{column.name} IS NULL" for column in EVENTS.columns if column.required),
        f"{c.EVENT_TYPE} NOT IN ({_literals(c.EVENT_TYPES)})",
        f"{c.ITEM_ID} IS NULL AND {c.EVENT_TYPE} IN ({_literals(sorted(c.ITEM_EVENT_TYPES))})",
        *(f"{column.name} < 0" for column in EVENTS.columns if column.kind in ("count", "money")),
    ]
    counts = ", ".join(f"count(*) FILTER ({check})" for check in checks)
    num_rows, *broken = connection.execute(f"SELECT count(*), {counts} FROM source_events").fetchall()[0]
    if num_rows == 0:
        raise DataError(f"{path}: expected at least one event, found none.")
    for check, count in zip(checks, broken, strict=True):
        if count:
            raise DataError(
                f"{path}: expected rows that meet the contract, found {count} with {check}; import the data again, "
                "which sets such rows aside with their reason."
            )
    return int(num_rows)


def _define_log(connection: duckdb.DuckDBPyConnection, shop: ShopSettings, *, otherwise: bool, linked: bool) -> None:
    """Make view ``log``: one row an event, with id, local time and flags; ``otherwise`` where no consent row says."""
    content = _content(column.name for column in EVENTS.columns if column.name != c.EVENT_ID)
    others = ", ".join(name for name in EVENTS.column_names if name != c.EVENT_ID)
    connection.execute(f"""
        CREATE TEMP VIEW identified AS
        SELECT {others}, event_id IS NULL AS derived, coalesce(event_id, 'h' || md5({content})) AS base_id
        FROM source_events""")
    # Almost no id repeats, so only those that may (equal 64-bit hash) pay for a window.
    connection.execute("""
        CREATE TEMP TABLE repeated AS
        SELECT hash(base_id) AS id_hash FROM identified GROUP BY 1 HAVING count(*) > 1""")
    connection.execute(f"""
        CREATE TEMP VIEW distinct_events AS
        SELECT {others}, base_id AS event_id FROM identified ANTI JOIN repeated ON hash(base_id) = id_hash
        UNION ALL
        SELECT {others}, CASE WHEN occurrence = 1 THEN base_id ELSE base_id || '.' || occurrence END AS event_id
        FROM (
            SELECT *, row_number() OVER (PARTITION BY base_id ORDER BY ts, user_id, md5({content})) AS occurrence
            FROM identified SEMI JOIN repeated ON hash(base_id) = id_hash
        ) WHERE derived OR occurrence = 1""")
    flags = ", ".join(
        f"coalesce(ts >= {purpose}_from, {str(otherwise).lower()}) AS {flag}" for purpose, flag in FLAGS.items()
    )
    connection.execute(SPARK_FUNCTIONS)
    own = f"SELECT *, {c.USER_ID} AS {c.SOURCE_USER_ID} FROM distinct_events"
    connection.execute(f"""
        CREATE TEMP VIEW log AS
        SELECT {", ".join(EVENTS.column_names)}, {local_time_columns(shop.time_zone)}, {flags}, {c.SOURCE_USER_ID}
        FROM ({resolved_events("distinct_events") if linked else own}) LEFT JOIN consent USING (user_id)""")


def _summarise(connection: duckdb.DuckDBPyConnection, *, linked: bool) -> _Summary:
    # Without links the last column, source_user_id, says nothing new; the fingerprint stays what it was without it.
    content = _content(LOG_COLUMNS if linked else LOG_COLUMNS[:-1])
    rows = connection.execute(f"""
        SELECT count(*), count(DISTINCT user_id), epoch_us(min(ts)), epoch_us(max(ts)),
               min({c.LOCAL_DAY}), max({c.LOCAL_DAY}),
               sum(md5_number_lower(row_text)::HUGEINT), sum(md5_number_upper(row_text)::HUGEINT)
        FROM (SELECT *, {content} AS row_text FROM log)""").fetchall()
    num_events, num_users, first_us, last_us, first_day, last_day, lower, upper = rows[0]
    return _Summary(
        num_events=num_events,
        num_users=num_users,
        first_at=_instant(first_us).isoformat(),
        last_at=_instant(last_us).isoformat(),
        first_day=first_day.isoformat(),
        last_day=last_day.isoformat(),
        fingerprint=hashlib.sha256(f"{num_events}:{lower}:{upper}".encode()).hexdigest(),
    )


def _write_sorted(connection: duckdb.DuckDBPyConnection, path: Path, summary: _Summary) -> None:
    metadata = sql_text(json.dumps(asdict(summary)))
    connection.execute(f"""
        COPY (SELECT {", ".join(LOG_COLUMNS)} FROM log ORDER BY {_ORDER})
        TO {sql_text(path)} (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{_METADATA_KEY}: {metadata}}})""")


def _content(names: Iterable[str]) -> str:
    """One text a row that two rows share only if they are equal in these columns; NULL differs from ''."""
    return f"concat_ws(chr(31), {', '.join(_as_text(name) for name in names)})"


def _as_text(name: str) -> str:
    value = f"epoch_us({name})" if name == c.TS else name  # a text that no session setting changes
    return f"coalesce({value}::VARCHAR, chr(30))"


def _instant(us: int) -> dt.datetime:
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=us)


def _literals(values: Iterable[str]) -> str:
    return ", ".join(map(sql_text, values))
