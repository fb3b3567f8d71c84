"""The rows of the event log, as views in DuckDB: read, checked, each with an id of its own, by customer, flagged.

All rows are read anew, or only those of some UTC days while an earlier log keeps the others:

    source_events      rows of the data directory, of the days to read
    identified         each with an id
    distinct_events    each id once, in the shop's days; and the rows that an earlier log keeps, with what it said of
                       them (was_...)
    log                by customer, flagged

What the two ways say is the same, or the second says ``LogNotKept``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from features import columns as c
from features.contract.read import define_table
from features.contract.tables import EVENTS
from features.engine import sql_text, utc_day
from features.errors import DataError
from features.identity.resolve import resolved_events
from features.parquet import scan
from features.settings import ShopSettings
from features.tables.local_time import SPARK_FUNCTIONS, local_time_columns

FLAGS: Final = {c.ANALYTICS: c.FOR_ANALYTICS, c.PERSONALISATION: c.FOR_PERSONALISATION}
# What the earlier log says of a row that it keeps, NULL of one that is read: name -> column of the log, type.
WAS: Final = {
    "was_user": (c.USER_ID, "VARCHAR"),
    "was_analytics": (c.FOR_ANALYTICS, "BOOL"),
    "was_personalisation": (c.FOR_PERSONALISATION, "BOOL"),
}
_LOCAL: Final = f"{c.LOCAL_DAY}, {c.LOCAL_HOUR}"
_OTHERS: Final = ", ".join(name for name in EVENTS.column_names if name != c.EVENT_ID)


class LogNotKept(Exception):
    """An earlier log cannot be brought up to date; the reason, for people."""


@dataclass(frozen=True, kw_only=True)
class KeptLog:
    """An earlier log, of which some days hold still.

    Args:
        path: the earlier log, of the same settings and code.
        changed: UTC days, counted from 1970-01-01, whose rows are read anew; all others are kept.
        decisive: days of that log whose rows beat rows of other days with the same event_id.
    """

    path: Path
    changed: frozenset[int]
    decisive: frozenset[int]


def read_events(connection: duckdb.DuckDBPyConnection, path: Path, *, kept: KeptLog | None = None) -> int:
    """Make view ``source_events`` and return its rows, which meet the contract.

    Raises:
        DataError: the file is missing, empty or breaks the contract.
    """
    define_table(connection, path, EVENTS, view="all_source_events")
    days = "" if kept is None else f"WHERE {utc_day(c.TS)} IN (SELECT unnest({sorted(kept.changed)}::INT[]))"
    connection.execute(f"CREATE TEMP VIEW source_events AS FROM all_source_events {days}")
    counts = connection.execute(f"SELECT {counted_checks()} FROM source_events").fetchall()[0]
    return expect_checked(counts, path, may_be_empty=kept is not None)


def counted_checks() -> str:
    """Return SQL of the number of rows, and of those that break each rule of the contract; Spark runs it as well."""
    return ", ".join(["count(*)", *(f"count(*) FILTER (WHERE {check})" for check in _checks())])


def expect_checked(counts: Sequence[int], path: Path, *, may_be_empty: bool = False) -> int:
    """Return how many rows there are.

    Args:
        counts: what ``counted_checks`` gave.
        path: of the events, for people.
        may_be_empty: whether no row at all is well.

    Raises:
        DataError: there is none, or one breaks the contract.
    """
    num_rows, *broken = counts
    if num_rows == 0 and not may_be_empty:
        raise DataError(f"{path}: expected at least one event, found none.")
    for check, count in zip(_checks(), broken, strict=True):
        if count:
            raise DataError(
                f"{path}: expected rows that meet the contract, found {count} with {check}; import the data again, "
                "which sets such rows aside with their reason."
            )
    return int(num_rows)


def _checks() -> list[str]:
    return [
        *(f"{column.name} IS NULL" for column in EVENTS.columns if column.required),
        f"{c.EVENT_TYPE} NOT IN ({_literals(c.EVENT_TYPES)})",
        f"{c.ITEM_ID} IS NULL AND {c.EVENT_TYPE} IN ({_literals(sorted(c.ITEM_EVENT_TYPES))})",
        *(f"{column.name} < 0" for column in EVENTS.columns if column.kind in ("count", "money")),
    ]


def define_log(
    connection: duckdb.DuckDBPyConnection,
    shop: ShopSettings,
    *,
    otherwise: bool,
    linked: bool,
    kept: KeptLog | None = None,
) -> frozenset[int]:
    """Make view ``log``, one row an event with the columns of ``WAS`` beside those of the log.

    Args:
        connection: with view ``source_events``, table ``consent`` and, where ``linked``, the customers' tables.
        shop: its zone gives the local day and hour.
        otherwise: consent where no consent row says.
        linked: whether users are customers.
        kept: the earlier log whose other days stay.

    Returns:
        The days whose rows beat rows of other days with the same event_id.

    Raises:
        LogNotKept: ids of the days that are read decide rows of days that are kept.
    """
    _define_identified(connection)
    decisive = _decisive_days(connection)
    if kept is not None:
        decisive |= _settle_with_kept(connection, kept)
    _define_distinct(connection, kept, time_zone=shop.time_zone)
    flags = ", ".join(
        f"coalesce(ts >= {purpose}_from, {str(otherwise).lower()}) AS {flag}" for purpose, flag in FLAGS.items()
    )
    own = f"SELECT *, {c.USER_ID} AS {c.SOURCE_USER_ID} FROM distinct_events"
    connection.execute(f"""
        CREATE TEMP VIEW log AS
        SELECT {", ".join(EVENTS.column_names)}, {_LOCAL}, {flags}, {c.SOURCE_USER_ID}, {", ".join(WAS)}
        FROM ({resolved_events("distinct_events") if linked else own}) LEFT JOIN consent USING (user_id)""")
    return decisive


def row_content(names: Iterable[str]) -> str:
    """Return SQL of one text a row that two rows share only if they are equal in these columns; NULL differs from ''."""
    return f"concat_ws(chr(31), {', '.join(_as_text(name) for name in names)})"


def _define_identified(connection: duckdb.DuckDBPyConnection) -> None:
    content = row_content(column.name for column in EVENTS.columns if column.name != c.EVENT_ID)
    connection.execute(f"""
        CREATE TEMP VIEW identified AS
        SELECT {_OTHERS}, event_id IS NULL AS derived, coalesce(event_id, 'h' || md5({content})) AS base_id
        FROM source_events""")
    # Almost no id repeats, so only those that may (equal 64-bit hash) pay for a window.
    connection.execute("""
        CREATE TEMP TABLE repeated AS
        SELECT hash(base_id) AS id_hash FROM identified GROUP BY 1 HAVING count(*) > 1""")
    connection.execute("CREATE TEMP TABLE beaten (base_id VARCHAR)")


def _decisive_days(connection: duckdb.DuckDBPyConnection) -> frozenset[int]:
    rows = connection.execute(f"""
        SELECT DISTINCT {utc_day("min(ts)")} FROM identified SEMI JOIN repeated ON hash(base_id) = id_hash
        GROUP BY base_id HAVING {utc_day("min(ts)")} < {utc_day("max(ts)")}""").fetchall()
    return frozenset(day for (day,) in rows)


def _settle_with_kept(connection: duckdb.DuckDBPyConnection, kept: KeptLog) -> frozenset[int]:
    """Note which ids that are read a kept row has already; the earlier row stays, and here that has to be the kept one."""
    if kept.changed & kept.decisive:
        raise LogNotKept("rows changed on a day that decides which of several rows with one event_id stays")
    connection.execute(f"""
        CREATE TEMP TABLE met AS
        SELECT base_id, i.ts, k.ts AS kept_ts FROM identified i JOIN ({_kept_rows(kept)}) k ON k.event_id = base_id""")
    [[earlier]] = connection.execute("SELECT count(*) FROM met WHERE ts <= kept_ts").fetchall()
    if earlier:
        raise LogNotKept(f"{earlier} rows arrived late with an event_id that a later day has already")
    connection.execute("INSERT INTO beaten SELECT DISTINCT base_id FROM met")
    rows = connection.execute(f"SELECT DISTINCT {utc_day('kept_ts')} FROM met").fetchall()
    return kept.decisive | frozenset(day for (day,) in rows)


def _define_distinct(connection: duckdb.DuckDBPyConnection, kept: KeptLog | None, *, time_zone: str) -> None:
    content = row_content(column.name for column in EVENTS.columns if column.name != c.EVENT_ID)
    unknown = ", ".join(f"NULL::{kind} AS {name}" for name, (_, kind) in WAS.items())
    both = "" if kept is None else f"UNION ALL {_kept_rows(kept)}"
    connection.execute(SPARK_FUNCTIONS)
    connection.execute(f"""
        CREATE TEMP VIEW distinct_events AS
        SELECT {_OTHERS}, event_id, {local_time_columns(time_zone)}, {unknown} FROM (
            SELECT {_OTHERS}, base_id AS event_id FROM identified ANTI JOIN repeated ON hash(base_id) = id_hash
            UNION ALL
            SELECT {_OTHERS}, CASE WHEN occurrence = 1 THEN base_id ELSE base_id || '.' || occurrence END AS event_id
            FROM (
                SELECT *, row_number() OVER (PARTITION BY base_id ORDER BY ts, user_id, md5({content})) AS occurrence
                FROM identified SEMI JOIN repeated ON hash(base_id) = id_hash
            ) WHERE derived OR occurrence = 1
        ) ANTI JOIN beaten ON event_id = base_id {both}""")


def _kept_rows(kept: KeptLog) -> str:
    """SQL of the earlier log's rows that stay, as they arrived, with what it says of them."""
    others = ", ".join(name for name in EVENTS.column_names if name not in (c.EVENT_ID, c.USER_ID))
    was = ", ".join(f"{column} AS {name}" for name, (column, _) in WAS.items())
    return f"""
        SELECT {_OTHERS}, event_id, {_LOCAL}, {", ".join(WAS)} FROM (
            SELECT {others}, {c.SOURCE_USER_ID} AS {c.USER_ID}, event_id, {_LOCAL}, {was}
            FROM {scan(kept.path)}
            WHERE {utc_day(c.TS)} NOT IN (SELECT unnest({sorted(kept.changed)}::INT[])))"""


def _as_text(name: str) -> str:
    value = f"epoch_us({name})" if name == c.TS else name  # a text that no session setting changes
    return f"coalesce({value}::VARCHAR, chr(30))"


def _literals(values: Iterable[str]) -> str:
    return ", ".join(map(sql_text, values))
