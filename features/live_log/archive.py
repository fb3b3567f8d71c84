"""The archive of served events: one contract-clean Parquet file a day, beside the parts of a release store.

    STORE/live_log/2026-11-22.parquet    events of that UTC day, each event_id once, by time

An event that comes late goes to the file of its own day, which is written anew: readers see the old file or the new one.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from features import columns as c
from features.contract.tables import EVENTS, SQL_TYPES
from features.engine import private_connection, sql_name, sql_text
from features.files import staged_file
from features.settings import EngineSettings

LIVE_LOG: Final = "live_log"  # in a release store
_OWNER_ONLY: Final = 0o600
_OWNER_ENTERS: Final = 0o700  # so that whoever else rewrites a file in there shows it to nobody
_NAMES: Final = ", ".join(map(sql_name, EVENTS.column_names))
_ARROW_TYPES: Final = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", tz="UTC"),
}
SCHEMA: Final = pa.schema([(column.name, _ARROW_TYPES[SQL_TYPES[column.kind]]) for column in EVENTS.columns])

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LiveLog:
    """The archive.

    Args:
        directory: of day files; made by the first ``add``.
    """

    directory: Path

    @classmethod
    def of_store(cls, store: Path) -> LiveLog:
        """Return the archive of a release store."""
        return cls(directory=Path(store) / LIVE_LOG)

    def days(self) -> list[Path]:
        """Return the day files, oldest first."""
        return sorted(self.directory.glob("[0-9]*.parquet"))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other writers of this machine out: of two who read one day's file, one would lose its rows."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=_OWNER_ENTERS)
        with (self.directory / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def add(self, rows: Sequence[Mapping[str, Any]], *, engine: EngineSettings = EngineSettings()) -> int:
        """Add events; those that are there already count once. They are on disk when this returns.

        Args:
            rows: contract columns, ``ts`` as UTC microseconds; what is missing is unknown.
            engine: memory limit, threads, where to spill.

        Returns:
            How many were new.
        """
        table = pa.Table.from_pylist([_instants(row) for row in rows], schema=SCHEMA)
        with private_connection(engine, beside=self.directory) as connection:
            connection.register("fresh", table)
            days = connection.execute(
                f"SELECT DISTINCT strftime({c.TS}::TIMESTAMP, '%Y-%m-%d') FROM fresh ORDER BY 1"
            ).fetchall()
            added = sum(self._add_day(connection, day) for (day,) in days)
        logger.info("live log: %d events in, %d new, to %d days", len(rows), added, len(days))
        return added

    def _add_day(self, connection: duckdb.DuckDBPyConnection, day: str) -> int:
        path = self.directory / f"{day}.parquet"
        fresh = f"SELECT {_NAMES}, true AS is_fresh FROM fresh WHERE strftime({c.TS}::TIMESTAMP, '%Y-%m-%d') = '{day}'"
        held = f"UNION ALL SELECT {_NAMES}, false FROM read_parquet({sql_text(path)})" if path.exists() else ""
        connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE day AS
            SELECT * FROM ({fresh} {held})
            QUALIFY row_number() OVER (PARTITION BY {c.EVENT_ID} ORDER BY is_fresh, {c.TS}, {c.USER_ID}) = 1""")
        [[added]] = connection.execute("SELECT count(*) FROM day WHERE is_fresh").fetchall()
        if added:
            with staged_file(path, mode=_OWNER_ONLY) as aside:
                connection.execute(
                    f"COPY (SELECT {_NAMES} FROM day ORDER BY {c.TS}, {c.EVENT_ID}) "
                    f"TO {sql_text(aside)} (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"
                )
        return int(added)

    def rows_of(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return the events of some ids, oldest first: contract columns, ``ts`` as UTC microseconds."""
        if not ids:
            return []
        tables = [pq.read_table(path, filters=[(c.USER_ID, "in", list(ids))]) for path in self.days()]
        return [
            row
            for table in tables
            for row in table.set_column(
                table.schema.get_field_index(c.TS),
                c.TS,
                table[c.TS].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()),
            ).to_pylist()
        ]

    def prune(self, *, before: dt.date) -> int:
        """Delete the files of days before one; return how many there were."""
        gone = [path for path in self.days() if path.stem < before.isoformat()]
        for path in gone:
            path.unlink()
        return len(gone)


def _instants(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, c.TS: dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=row[c.TS])}
