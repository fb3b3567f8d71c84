"""A shop's own files into a data directory, by a mapping: CSV, Parquet or JSON lines."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import duckdb

from features.asides import scratch_directory
from features.contract.data_directory import write_data_directory
from features.engine import memory_explained, private_connection, sql_name, sql_text
from features.errors import ConfigError, DataError
from features.settings import EngineSettings, ShopSettings
from features.sources.mapping import Format, TableMapping, load_mapping
from features.sources.mapping_sql import REJECTED_LINES, UNREADABLE, Source, rows_sql, scan_sql

EXTENSIONS: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
}

log = logging.getLogger(__name__)


def import_source(
    src: Path, out: Path, *, mapping: str, shop: ShopSettings, engine: EngineSettings | None = None
) -> dict[str, Any]:
    """Write the files at ``src`` as a data directory, column by column as the mapping says.

    A row the contract refuses is set aside with its reason: an event name that the mapping does not
    know, a price that is no number, a line that cannot be read.

    Args:
        src: one file, or a directory of files. CSV and JSON lines may be compressed (``.gz``).
        out: a directory that does not exist yet.
        mapping: ``ga4``, ``segment``, ``taobao``, ``retailrocket``, or the path of a YAML file.
        shop: its ``minor_units`` turn major money into minor.
        engine: where tables are computed.

    Raises:
        ConfigError: the mapping is unknown or wrong.
        DataError: files or columns that the mapping names are missing, or no event passed.
    """
    engine = engine or EngineSettings()
    rules = load_mapping(mapping)
    if not src.exists():
        raise DataError(f"{src}: expected a file or a directory, found none.")
    _one_file_serves_all(src, rules.tables)
    with (
        scratch_directory(out.parent, f"{out.name}.import") as scratch,
        memory_explained(engine),
        private_connection(engine, beside=scratch) as connection,
    ):
        tables = {
            rule.table.name: _map_table(connection, src, rule, scratch, minor_units=shop.minor_units)
            for rule in rules.tables
        }
        return write_data_directory(
            out, tables, shop=shop, source=rules.description, warning=rules.warning, engine=engine
        )


def _one_file_serves_all(src: Path, rules: tuple[TableMapping, ...]) -> None:
    if src.is_file() and len({rule.files for rule in rules}) > 1:
        names = ", ".join(sorted(rule.files for rule in rules))
        raise ConfigError(f"{src}: expected a directory with the mapping's files {names}, found a file.")


def _map_table(
    connection: duckdb.DuckDBPyConnection, src: Path, rule: TableMapping, scratch: Path, *, minor_units: int
) -> duckdb.DuckDBPyRelation:
    """Read the source once, and give back the mapped rows with the lines that could not be read."""
    name, files = rule.table.name, _files(src, rule)
    source = _open(connection, files, rule)
    mapped = f"{scratch / name}.parquet"
    _forget_rejected_lines(connection)
    query = f"COPY ({rows_sql(source, rule, minor_units=minor_units)}) TO {sql_text(mapped)} (FORMAT parquet)"
    num_rows = connection.execute(query).fetchall()[0][0]
    log.info("%s: %d rows mapped from %d files", name, num_rows, len(files))
    if source.format == "csv" and not rule.one_per:
        return _with_rejected_lines(connection, mapped, name)
    if source.format == "json" and not rule.one_per:
        return _without_empty_column(connection, mapped)
    return connection.sql(f"SELECT * FROM read_parquet({sql_text(mapped)})")


def _open(connection: duckdb.DuckDBPyConnection, files: list[Path], rule: TableMapping) -> Source:
    file_format = _format(files, rule)
    scan = scan_sql(files, rule, format=file_format)
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()
    except duckdb.Error as error:
        raise DataError(
            f"{files[0]}: expected a readable {file_format} file, found something else ({error})."
        ) from None
    return Source(scan=scan, format=file_format, types={row[0]: row[1] for row in described})


def _forget_rejected_lines(connection: duckdb.DuckDBPyConnection) -> None:
    for table in (REJECTED_LINES, "reject_scans"):
        connection.execute(f"DROP TABLE IF EXISTS {table}")


def _with_rejected_lines(connection: duckdb.DuckDBPyConnection, mapped: str, name: str) -> duckdb.DuckDBPyRelation:
    """Add the lines that DuckDB's CSV reader could not read in its latest scan, each once."""
    rows, lines = f"SELECT * FROM read_parquet({sql_text(mapped)})", sql_name(f"unreadable {name}")
    connection.execute(f"""
        CREATE TEMP TABLE {lines} AS SELECT any_value(csv_line) AS {sql_name(UNREADABLE)} FROM {REJECTED_LINES}
        WHERE scan_id = (SELECT max(scan_id) FROM {REJECTED_LINES}) GROUP BY file_id, line ORDER BY file_id, line
    """)
    if not connection.execute(f"SELECT count(*) FROM {lines}").fetchall()[0][0]:
        return connection.sql(rows)
    return connection.sql(f"{rows} UNION ALL BY NAME SELECT * FROM {lines}")


def _without_empty_column(connection: duckdb.DuckDBPyConnection, mapped: str) -> duckdb.DuckDBPyRelation:
    scan, name = f"read_parquet({sql_text(mapped)})", sql_name(UNREADABLE)
    num_lines = connection.execute(f"SELECT count({name}) FROM {scan}").fetchall()[0][0]
    return connection.sql(f"SELECT * FROM {scan}" if num_lines else f"SELECT * EXCLUDE ({name}) FROM {scan}")


def _files(src: Path, rule: TableMapping) -> list[Path]:
    if src.is_file():
        return [src]
    pattern = rule.files or "*"
    files = [path for path in sorted(src.glob(pattern)) if path.is_file() and (rule.files or _extension(path))]
    if not files:
        known = ", ".join(EXTENSIONS)
        raise DataError(
            f"{src}: expected files that match {pattern!r} ({known}) for the table {rule.table.name}, found none."
        )
    return files


def _format(files: list[Path], rule: TableMapping) -> Format:
    if rule.format is not None:
        return rule.format
    found = {_extension(path) for path in files}
    if len(found) > 1 or None in found:
        names = ", ".join(path.name for path in files[:5])
        raise DataError(
            f"Expected files of one format ({', '.join(EXTENSIONS)}), found {names}. Say `files` or `format`."
        )
    return next(iter(found)) or "csv"


def _extension(path: Path) -> Format | None:
    """Return the format that a file name tells: ``events.csv.gz`` -> ``csv``."""
    name = path.name.removesuffix(".gz")
    return EXTENSIONS.get(Path(name).suffix.lower())
