"""The data directory: contract-clean tables, what was set aside, and where it all came from.

OUT/events.parquet          one file a table, every contract column in contract order
OUT/rejects/events.parquet  rows set aside: row (from 1), reason, content (JSON)
OUT/shop.yaml               the shop's settings
OUT/about.json              source, warning, counts
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from features import files
from features.contract.check import TableCheck, parquet
from features.contract.tables import TABLES, Table
from features.engine import memory_explained, private_connection, sql_name, sql_text
from features.errors import DataError, did_you_mean
from features.settings import EngineSettings, ShopSettings

ABOUT_FILE = "about.json"
REJECTS = "rejects"

Rows = pd.DataFrame | duckdb.DuckDBPyRelation

log = logging.getLogger(__name__)


def write_data_directory(
    out: Path,
    tables: Mapping[str, Rows],
    *,
    shop: ShopSettings,
    source: str,
    warning: str = "",
    notes: Mapping[str, Any] | None = None,
    engine: EngineSettings | None = None,
    extra: Callable[[Path], None] | None = None,
) -> dict[str, Any]:
    """Check each table against the contract and write what passed, what did not, and what it is.

    The directory appears whole or not at all. Rows keep the source's order. Of rows with the same
    key (``event_id`` for events) the first one stays; the others are set aside as duplicates.

    Args:
        out: a directory that does not exist yet.
        tables: rows by table name; relations run on their own connection, once, in their order.
        shop: written to ``shop.yaml``.
        source: where the rows come from, in words.
        warning: what a reader of results must know about the source.
        notes: further facts for ``about.json``, such as assumptions.
        engine: the memory limit and threads of the check.
        extra: writes further files, given the directory before it is put in place.

    Returns:
        What ``about.json`` says: ``source``, ``warning``, ``tables`` (by name: ``accepted``,
        ``rejected``, ``duplicates``, ``ignored`` columns, ``reasons`` by column), and the notes.

    Raises:
        DataError: ``out`` exists, a table or a required column is unknown, or no event passed.
        ConfigError: the memory limit is too low for a table.
    """
    for name in tables:
        if name not in TABLES:
            raise DataError(
                f"Expected one of the tables {', '.join(TABLES)}, found {name!r}.{did_you_mean(name, TABLES)}"
            )
    engine = engine or EngineSettings()
    with files.staged_directory(out) as staging, memory_explained(engine):
        scratch = staging / ".scratch"
        (staging / REJECTS).mkdir()
        with private_connection(engine, beside=scratch) as connection:
            writer = _Writer(connection, staging=staging, scratch=scratch)
            counts = {name: writer.write(TABLES[name], rows) for name, rows in tables.items()}
        shutil.rmtree(scratch, ignore_errors=True)
        about = {"source": source, "warning": warning, "tables": counts, **(notes or {})}
        shop.save(staging)
        files.write_json(staging / ABOUT_FILE, about)
        if extra is not None:
            extra(staging)
    return about


class _Writer:
    """Checks one table after another on one connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, *, staging: Path, scratch: Path) -> None:
        self.connection = connection
        self.staging = staging
        self.scratch = scratch

    def write(self, table: Table, rows: Rows) -> dict[str, Any]:
        """Write ``{table}.parquet`` and its rejects; return the counts."""
        self.scratch.mkdir(exist_ok=True)
        source = self.scratch / f"{table.name}.parquet"
        self._copy_source(table, rows, source)
        check = TableCheck(table=table, types=self._types(source))
        self.connection.execute(f"CREATE OR REPLACE TEMP VIEW checked AS {check.query(str(source))}")
        duplicates = self._find_duplicates(table, check)
        accepted = self._copy_accepted(table, check, without_duplicates=duplicates > 0)
        set_aside = self._copy_rejects(table, check, source)
        source.unlink()
        return self._report(table, check, accepted, set_aside - duplicates, duplicates)

    def _copy_source(self, table: Table, rows: Rows, path: Path) -> None:
        """Run the source once, so that every pass below sees the same rows under the same numbers."""
        if not len(rows.columns):
            raise DataError(f"{table.name}: expected the columns {', '.join(table.column_names)}, found none.")
        if isinstance(rows, duckdb.DuckDBPyRelation):
            rows.write_parquet(str(path))
            return
        self.connection.register("source_rows", rows)
        self._copy("SELECT * FROM source_rows", path)
        self.connection.unregister("source_rows")

    def _types(self, source: Path) -> dict[str, str]:
        described = self.connection.execute(f"DESCRIBE SELECT * FROM read_parquet({sql_text(source)})").fetchall()
        return {row[0]: row[1] for row in described}

    def _find_duplicates(self, table: Table, check: TableCheck) -> int:
        """Fill ``duplicates`` with (row, first); a missing ``event_id`` is nobody's duplicate, any other NULL is a value."""
        self.connection.execute("CREATE OR REPLACE TEMP TABLE duplicates (row BIGINT, first BIGINT)")
        if not any(name in check.types for name in table.key):
            return 0
        keys = ", ".join(map(sql_name, table.key))
        valid = "reason IS NULL" + (f" AND {sql_name(table.key[0])} IS NOT NULL" if len(table.key) == 1 else "")
        same = " AND ".join(f"a.{sql_name(name)} IS NOT DISTINCT FROM b.{sql_name(name)}" for name in table.key)
        return self._count(f"""
            INSERT INTO duplicates
            SELECT a.row, b.first
            FROM (SELECT row, {keys} FROM checked WHERE {valid}) a
            JOIN (SELECT {keys}, min(row) AS first FROM checked WHERE {valid} GROUP BY {keys} HAVING count(*) > 1) b
            ON {same} AND a.row > b.first
        """)

    def _copy_accepted(self, table: Table, check: TableCheck, *, without_duplicates: bool) -> int:
        names = ", ".join(sql_name(column.name) for column in check.columns)
        first_only = "AND row NOT IN (SELECT row FROM duplicates)" if without_duplicates else ""
        query = f"SELECT {names} FROM checked WHERE reason IS NULL {first_only}"
        return self._copy(query, self.staging / f"{table.name}.parquet")

    def _copy_rejects(self, table: Table, check: TableCheck, source: Path) -> int:
        query = f"""
            SELECT rejects.row, reason, CAST({check.content()} AS VARCHAR) AS content
            FROM {parquet(str(source))} AS source
            JOIN (
                SELECT row, reason FROM checked WHERE reason IS NOT NULL
                UNION ALL
                SELECT row, 'duplicate of row ' || first FROM duplicates
            ) AS rejects ON source.file_row_number + 1 = rejects.row
            ORDER BY rejects.row
        """
        return self._copy(query, self._rejects(table))

    def _report(self, table: Table, check: TableCheck, accepted: int, rejected: int, duplicates: int) -> dict[str, Any]:
        num_rows = accepted + rejected + duplicates
        log.info(
            "%s: %d rows in, %d accepted, %d rejected, %d duplicates",
            table.name,
            num_rows,
            accepted,
            rejected,
            duplicates,
        )
        if check.ignored:
            log.info("%s: columns outside the contract kept out: %s", table.name, ", ".join(check.ignored))
        if table.name == "events" and num_rows and not accepted:
            raise DataError(
                f"events: expected rows that keep the contract, found none in {num_rows}. {self._example(table)}"
            )
        counts = {"accepted": accepted, "rejected": rejected, "duplicates": duplicates}
        return {**counts, "ignored": check.ignored, "reasons": self._reasons(table)}

    def _reasons(self, table: Table) -> dict[str, int]:
        """Return how many rejects name each column first."""
        query = f"""
            SELECT split_part(reason, ':', 1) AS name, count(*) FROM read_parquet({sql_text(self._rejects(table))})
            WHERE reason NOT LIKE 'duplicate of row %' GROUP BY name ORDER BY name
        """
        return dict(self.connection.execute(query).fetchall())

    def _example(self, table: Table) -> str:
        query = f"SELECT row, reason FROM read_parquet({sql_text(self._rejects(table))}) ORDER BY row LIMIT 1"
        row, reason = self.connection.execute(query).fetchall()[0]
        return f"Row {row}: {reason}."

    def _rejects(self, table: Table) -> Path:
        return self.staging / REJECTS / f"{table.name}.parquet"

    def _copy(self, query: str, path: Path) -> int:
        return self._count(f"COPY ({query}) TO {sql_text(path)} (FORMAT parquet, COMPRESSION zstd)")

    def _count(self, statement: str) -> int:
        return int(self.connection.execute(statement).fetchall()[0][0])
