"""What one customer did, or what everyone did in a window, in order of time: for an incident review, and for access.

One row an occurrence; of a data directory its events, exposures, consents, coupons and links, of a feature directory
its event log.

    at        2026-03-29T03:10:00.000000+02:00   the shop's time, with its offset
    ts        the same instant in UTC
    table     where the row stands
    detail    JSON of what has no column of its own
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from features import columns as c
from features.build import EVENT_LOG_FILE
from features.contract.tables import EVENTS
from features.engine import private_connection, sql_name, sql_text
from features.errors import ConfigError, DataError
from features.files import staged_file
from features.parquet import is_table, names_of, scan
from features.privacy.person import Person, rows_of
from features.privacy.pseudonyms import Pseudonyms
from features.settings import EngineSettings, ShopSettings

_CONSENTS: Final = (
    "user_id, \"at\" AS ts, CASE WHEN granted THEN 'consent_granted' ELSE 'consent_withdrawn' END AS event_type, "
    "to_json({'purpose': purpose, 'policy_version': policy_version})::VARCHAR AS detail"
)
# How each table's rows become occurrences; columns that a table lacks are NULL.
_SOURCES: Final = {
    "events": "*",
    "exposures": "user_id, ts, 'exposure' AS event_type, item_id, slot, campaign_id, variant",
    "consents": _CONSENTS,
    "served_consents": _CONSENTS,
    "coupons": "user_id, issued_at AS ts, 'coupon_issued' AS event_type, coupon_id, "
    "to_json({'value': value, 'expires_at': expires_at})::VARCHAR AS detail",
    "identities": "id_a AS user_id, seen_at AS ts, 'identity_linked' AS event_type, to_json({'type': id_type_a, "
    "'linked_to': id_b, 'linked_type': id_type_b})::VARCHAR AS detail",
}
_IDS: Final = (c.USER_ID, c.SOURCE_USER_ID, c.DEVICE_ID, c.SESSION_ID, c.EVENT_ID, c.ORDER_ID, c.COUPON_ID)
_FREE_TEXTS: Final = ("query", "detail")  # may name anybody
_FORMATS: Final = {
    ".csv": "FORMAT csv, HEADER",
    ".parquet": "FORMAT parquet, COMPRESSION zstd",
    ".jsonl": "FORMAT json",
    ".ndjson": "FORMAT json",
}
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, kw_only=True)
class Window:
    """From an instant, up to but without another; ``None`` leaves a side open."""

    since: dt.datetime | None = None
    until: dt.datetime | None = None

    @classmethod
    def parse(cls, since: str, until: str, shop: ShopSettings) -> Window:
        """Read two times; one without an offset is the shop's, and a day that ends a window belongs to it.

        >>> Window.parse("2024-05-01", "2024-05-01", ShopSettings()).until.isoformat()
        '2024-05-02T00:00:00+00:00'

        Raises:
            ConfigError: one is no ISO 8601 time, or the window is empty.
        """
        window = cls(since=_instant("--from", since, shop), until=_instant("--to", until, shop, whole_day=True))
        if window.since and window.until and window.since >= window.until:
            raise ConfigError(f"--to: expected a time after --from ({since}), found {until}.")
        return window

    @property
    def sql(self) -> str:
        """The condition on ``ts``."""
        since = f"ts >= {sql_text(self.since.isoformat())}::TIMESTAMPTZ" if self.since else "true"
        until = f"ts < {sql_text(self.until.isoformat())}::TIMESTAMPTZ" if self.until else "true"
        return f"{since} AND {until}"


class Activity:
    """Occurrences that were found, in order of time; ``connect`` opens them."""

    def __init__(self, rows: duckdb.DuckDBPyRelation, connection: duckdb.DuckDBPyConnection) -> None:
        self._rows, self._connection = rows, connection

    def __len__(self) -> int:
        return int(self._rows.count("*").fetchall()[0][0])

    def user_ids(self) -> list[str]:
        """Return everyone's ids, sorted."""
        return [row[0] for row in self._rows.project(c.USER_ID).distinct().order(c.USER_ID).fetchall()]

    def write(self, out: Path) -> None:
        """Write CSV, Parquet or JSON lines, by the file's ending; whole or not at all.

        Raises:
            ConfigError: the ending is another one.
        """
        self._rows.create_view("activity_to_write", replace=True)
        with staged_file(out) as aside:
            self._connection.execute(f"COPY (FROM activity_to_write) TO {sql_text(aside)} ({format_of(out)})")

    def rows(self, limit: int) -> list[dict[str, Any]]:
        """Return the first rows as JSON values, without what is missing."""
        table: pa.Table = self._rows.limit(limit).to_arrow_table()
        rows = table.drop_columns([c.TS]).to_pylist()
        return [{name: _json(value) for name, value in row.items() if value is not None} for row in rows]


def format_of(out: Path) -> str:
    """Return how a file is written.

    Raises:
        ConfigError: its ending is none that is known.
    """
    if out.suffix not in _FORMATS:
        raise ConfigError(f"--out: expected a file that ends in {', '.join(_FORMATS)}, found {out.name!r}.")
    return _FORMATS[out.suffix]


@contextmanager
def connect(
    directory: Path,
    *,
    person: Person | None = None,
    window: Window = Window(),
    pseudonyms: Pseudonyms | None = None,
    engine: EngineSettings = EngineSettings(),
) -> Iterator[Activity]:
    """Yield the activity in a data or feature directory.

    Args:
        directory: either.
        person: whose, under which ids; everyone's where ``None``.
        window: of which instants.
        pseudonyms: names that stand for the ids of people, sessions, orders and events; free texts are then left out.
        engine: memory limit, threads, where to spill.

    Raises:
        DataError: the directory is neither, or a file is damaged.
    """
    directory = Path(directory)
    tables = _tables(directory)
    zone = ShopSettings.load(directory).time_zone
    with private_connection(engine, beside=directory.parent) as connection:
        (person or Person(user_id="", ids=())).define(connection)
        parts = [_part(connection, name, path, is_one=person is not None) for name, path in tables.items()]
        connection.execute(f"CREATE TEMP VIEW occurrences AS {' UNION ALL BY NAME '.join(parts)}")
        found = set(connection.table("occurrences").columns)
        names = [name for name in (*EVENTS.column_names, c.SOURCE_USER_ID, "detail") if name in found and name != c.TS]
        order = [name for name in (c.TS, "table", c.USER_ID, c.EVENT_ID, c.ITEM_ID) if name in found or name == "table"]
        selected = ", ".join([f"{_local(zone)} AS at", c.TS, '"table"', *map(sql_name, names)])
        connection.execute(
            f"CREATE TEMP TABLE activity AS SELECT {selected} FROM occurrences WHERE {window.sql} "
            f"ORDER BY {', '.join(map(sql_name, order))}"
        )
        rows = connection.table("activity")
        yield Activity(_renamed(connection, rows, pseudonyms) if pseudonyms else rows, connection)


def _tables(directory: Path) -> dict[str, Path]:
    if is_table(directory / EVENT_LOG_FILE):
        return {"events": directory / EVENT_LOG_FILE}
    found = {name: path for name in _SOURCES if is_table(path := directory / f"{name}.parquet")}
    if "events" not in found:
        raise DataError(f"{directory}: expected a data or feature directory, found neither an event log nor events.")
    return found


def _part(connection: duckdb.DuckDBPyConnection, name: str, path: Path, *, is_one: bool) -> str:
    try:
        columns = connection.read_parquet(names_of(path)).columns
    except duckdb.Error as error:
        raise DataError(f"{path}: expected a Parquet file, found something else ({error}).") from None
    where = rows_of(columns) if is_one else "true"
    return f'SELECT {sql_text(name)} AS "table", {_SOURCES[name]} FROM {scan(path)} WHERE {where}'


def _local(zone: str) -> str:
    """SQL of an instant as ISO 8601 in the shop's zone, with the offset that holds there and then."""
    local = f"timezone({sql_text(zone)}, ts)"
    east = f"date_diff('minute', timezone('UTC', ts), {local})"
    sign = f"CASE WHEN {east} < 0 THEN '-' ELSE '+' END"
    offset = f"printf('%s%02d:%02d', {sign}, abs({east}) // 60, abs({east}) % 60)"
    return f"strftime({local}, '%Y-%m-%dT%H:%M:%S.%f') || {offset}"


def _renamed(
    connection: duckdb.DuckDBPyConnection, rows: duckdb.DuckDBPyRelation, pseudonyms: Pseudonyms
) -> duckdb.DuckDBPyRelation:
    ids = [name for name in _IDS if name in rows.columns]
    every = " UNION ".join(f"SELECT {name} AS id FROM activity WHERE {name} IS NOT NULL" for name in ids)
    known = connection.sql(every).to_arrow_table()["id"].to_pylist()
    names = pa.table({"id": pa.array(known, pa.string()), "name": pa.array(map(pseudonyms.of, known), pa.string())})
    connection.register("pseudonym_names", names)
    connection.execute("CREATE TEMP TABLE pseudonym AS FROM pseudonym_names")
    shown = [
        f"(SELECT name FROM pseudonym p WHERE p.id = activity.{name}) AS {name}" if name in ids else sql_name(name)
        for name in rows.columns
        if name not in _FREE_TEXTS
    ]
    connection.execute(f"CREATE TEMP TABLE renamed AS SELECT {', '.join(shown)} FROM activity ORDER BY ts, event_id")
    return connection.table("renamed")


def _instant(option: str, text: str, shop: ShopSettings, *, whole_day: bool = False) -> dt.datetime | None:
    if not text:
        return None
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{option}: expected a time such as 2026-03-01 or 2026-03-01T10:15, found {text!r}."
        ) from None
    if whole_day and _DAY.fullmatch(text):
        found += dt.timedelta(days=1)
    return (found if found.tzinfo else found.replace(tzinfo=shop.zone)).astimezone(dt.UTC)


def _json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, dt.date | dt.datetime) else value
