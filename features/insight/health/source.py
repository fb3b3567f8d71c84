"""The events that are checked: those of a data directory as they came, or those of a feature directory's log.

row           position in the file; in a data directory that of the source
received_us   when it reached the table, UTC microseconds, where a column ``received_at`` or a file of arrivals says so
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from features import columns as c
from features.build import EVENT_LOG_FILE
from features.contract.data_directory import ABOUT_FILE
from features.contract.read import define_table
from features.contract.tables import EVENTS
from features.engine import sql_text
from features.errors import DataError
from features.files import read_json
from features.parquet import is_table, names_of, scan
from features.settings import ShopSettings
from features.tables.local_time import SPARK_FUNCTIONS, local_time_columns

RECEIVED: Final = "received_at"  # beyond the contract
RECEIVED_US: Final = "received_us"
VIEW: Final = "checked_events"
OLDEST_US: Final = 946_684_800_000_000  # 2000-01-01; a clock that was never set says 1970 or 1980
_EVENTS_FILE: Final = "events.parquet"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Events to check, as the view ``checked_events``.

    Args:
        connection: that has the view.
        path: the file, or the directory of files.
        is_log: whether it is an event log, from which duplicates are gone.
        shop: its settings.
        has_arrivals: whether any row says when it was received.
        written_us: when the file was written.
        num_rows: rows, at least 1.
        set_aside: what the import put aside, from ``about.json``: rejected and duplicates.
    """

    connection: duckdb.DuckDBPyConnection
    path: Path
    is_log: bool
    shop: ShopSettings
    has_arrivals: bool
    written_us: int
    num_rows: int
    set_aside: dict[str, int]

    def possible(self, slack_us: int) -> str:
        """Return SQL of whether an instant can be right; one that cannot would stretch the log over centuries of empty days."""
        return f"us BETWEEN {OLDEST_US} AND {self.written_us + slack_us}"

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Return the rows of a query over ``checked_events``, instants as text."""
        answer = self.connection.execute(query)
        names = [column[0] for column in answer.description or ()]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]

    def row(self, query: str) -> dict[str, Any]:
        """Return the one row of a query."""
        return self.rows(query)[0]


def open_source(connection: duckdb.DuckDBPyConnection, directory: Path, *, arrivals: Path | None = None) -> Source:
    """Make the view ``checked_events`` of a directory's events.

    Args:
        connection: from ``features.engine``.
        directory: data directory, or feature directory.
        arrivals: Parquet file with event_id and received_at, an instant.

    Raises:
        DataError: there are no events, or the arrivals are no such file.
    """
    directory = Path(directory)
    is_log = is_table(directory / EVENT_LOG_FILE)
    path = directory / (EVENT_LOG_FILE if is_log else _EVENTS_FILE)
    if not is_table(path):
        raise DataError(
            f"{directory}: expected a data directory with {_EVENTS_FILE}, or a feature directory, found neither."
        )
    define_table(connection, path, EVENTS, view="contract_events")  # for its checks
    shop = ShopSettings.load(directory)
    connection.execute(SPARK_FUNCTIONS)
    names = connection.read_parquet(names_of(path)).columns
    has_arrivals = _define(connection, path, shop, is_log=is_log, own=RECEIVED in names, arrivals=arrivals)
    [[num_rows]] = connection.execute(f"SELECT count(*) FROM {scan(path)}").fetchall()
    if not num_rows:
        raise DataError(f"{path}: expected events, found none.")
    return Source(
        connection=connection,
        path=path,
        is_log=is_log,
        shop=shop,
        has_arrivals=has_arrivals,
        written_us=int(path.stat().st_mtime * 1_000_000),
        num_rows=num_rows,
        set_aside=_set_aside(directory),
    )


def _define(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    shop: ShopSettings,
    *,
    is_log: bool,
    own: bool,
    arrivals: Path | None,
) -> bool:
    columns = ", ".join(f"e.{name}" for name in EVENTS.column_names)
    days = (
        f"e.{c.LOCAL_DAY}, e.{c.LOCAL_HOUR}"
        if is_log
        else local_time_columns(shop.time_zone).replace(c.TS + ",", f"e.{c.TS},")
    )
    received, join = f"epoch_us(e.{RECEIVED})" if own else "NULL::BIGINT", ""
    if arrivals is not None:
        received, join = "a.at_us", f"LEFT JOIN ({_arrivals(connection, arrivals)}) a ON a.event_id = e.event_id"
    connection.execute(f"""
        CREATE TEMP VIEW {VIEW} AS
        SELECT {columns}, {days}, (e.file_index << 40) + e.file_row_number AS row, epoch_us(e.{c.TS}) AS us, {received} AS {RECEIVED_US}
        FROM {scan(path)} e {join}""")
    return own or arrivals is not None


def _arrivals(connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    try:
        relation = connection.read_parquet(str(path))
    except duckdb.Error as error:
        raise DataError(f"{path}: expected a Parquet file of arrivals, found something else ({error}).") from None
    found = dict(zip(relation.columns, map(str, relation.types), strict=True))
    if c.EVENT_ID not in found or not found.get(RECEIVED, "").startswith("TIMESTAMP"):
        raise DataError(f"{path}: expected columns {c.EVENT_ID} and {RECEIVED} (an instant), found {found}.")
    return f"SELECT event_id, min(epoch_us({RECEIVED})) AS at_us FROM read_parquet({sql_text(path)}) GROUP BY event_id"


def _set_aside(directory: Path) -> dict[str, int]:
    if not (directory / ABOUT_FILE).is_file():
        return {}
    counts = read_json(directory / ABOUT_FILE).get("tables", {}).get("events", {})
    return {name: int(counts[name]) for name in ("rejected", "duplicates") if counts.get(name)}


def instant(us: int | None) -> str:
    """Return an instant as text.

    >>> instant(1_700_000_000_000_000)
    '2023-11-14 22:13:20+00:00'
    """
    return "" if us is None else str(dt.datetime.fromtimestamp(us // 1_000_000, dt.UTC))
