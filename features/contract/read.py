"""A data directory's tables as views, checked against the contract's columns."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb

from features.contract.tables import ITEMS, SQL_TYPES, Table
from features.engine import sql_name, sql_text
from features.errors import DataError
from features.parquet import is_table, names_of


def define_table(connection: duckdb.DuckDBPyConnection, path: Path, table: Table, *, view: str) -> None:
    """Make a view over a table's file, or directory of files: the contract's columns, in the contract's order.

    Raises:
        DataError: the file is missing, is no Parquet, or lacks a column of the contract's type.
    """
    if not is_table(path):
        raise DataError(f"{path}: expected the table {table.name!r} of a data directory here, found no file.")
    try:
        relation = connection.read_parquet(names_of(path))
    except duckdb.Error as error:
        raise DataError(f"{path}: expected a Parquet file, found something else ({error}).") from None
    found = dict(zip(relation.columns, map(str, relation.types), strict=True))
    for column in table.columns:
        expected = SQL_TYPES[column.kind]
        if found.get(column.name) != expected:
            raise DataError(
                f"{path}: expected column {column.name!r} of type {expected}, found "
                f"{found.get(column.name, 'no such column')}; import the data again."
            )
    relation.select(*map(sql_name, table.column_names)).create_view(view)


def define_empty_table(connection: duckdb.DuckDBPyConnection, table: Table, *, view: str) -> None:
    """Make a view with the contract's columns and no rows, for a shop without that table."""
    columns = ", ".join(f"NULL::{SQL_TYPES[column.kind]} AS {sql_name(column.name)}" for column in table.columns)
    connection.execute(f"CREATE TEMP VIEW {view} AS SELECT {columns} WHERE false")


def copy_items(connection: duckdb.DuckDBPyConnection, source: Path, target: Path) -> None:
    """Copy the items table of a data directory; a shop without one gets an empty one.

    Raises:
        DataError: the file is no items table.
    """
    if source.is_file():
        _check_items(connection, source)
        shutil.copyfile(source, target)
        return
    columns = ", ".join(f"NULL::{SQL_TYPES[column.kind]} AS {sql_name(column.name)}" for column in ITEMS.columns)
    connection.execute(f"COPY (SELECT {columns} WHERE false) TO {sql_text(target)} (FORMAT parquet)")


def _check_items(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    try:
        found = connection.read_parquet(str(path)).columns
    except duckdb.Error as error:
        raise DataError(f"{path}: expected a Parquet file, found something else ({error}).") from None
    for name in ITEMS.column_names:
        if name not in found:
            raise DataError(f"{path}: expected column {name!r}, found {', '.join(found)}; import the data again.")
