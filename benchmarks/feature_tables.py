"""Two feature directories, table by table: integers and texts exactly, floats to 1e-9 relative, rows in the same order."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb
import numpy as np

from features.engine import private_connection, sql_name
from features.files import read_json
from features.manifest import MANIFEST_FILE
from features.parquet import is_table, scan
from features.refresh.sources import SOURCES_FILE
from features.settings import EngineSettings

_RELATIVE: Final = 1e-9
_ABOUT: Final = (MANIFEST_FILE, SOURCES_FILE)  # of the build, not of the tables


def compared(one: Path, other: Path, *, engine: EngineSettings) -> list[str]:
    """Return the names of all tables, arrays and files that two feature directories hold, once they are equal.

    Raises:
        AssertionError: they are not; the text says where.
    """
    names = sorted({_part(path.relative_to(top)) for top in (one, other) for path in top.rglob("*") if path.is_file()})
    names = [name for name in names if name not in _ABOUT]
    with private_connection(engine, beside=one.parent) as connection:
        for name in names:
            _expect_equal(connection, one / name, other / name)
    return names


def _part(path: Path) -> str:
    """The table that a file is of, which may be a directory of files; else the file."""
    table = next((parent for parent in path.parents if parent.suffix == ".parquet"), path)
    return table.as_posix()


def _expect_equal(connection: duckdb.DuckDBPyConnection, one: Path, other: Path) -> None:
    assert (one.exists(), other.exists()) == (True, True), f"{one.name} is in one of them alone"
    if is_table(one) and one.suffix == ".parquet":
        _expect_equal_tables(connection, one, other)
    elif one.suffix == ".npy":
        _expect_equal_arrays(one, other)
    elif one.suffix == ".json":
        assert read_json(one) == read_json(other), one.name
    else:
        assert one.read_bytes() == other.read_bytes(), one.name


def _expect_equal_arrays(one: Path, other: Path) -> None:
    left, right = (np.load(path, mmap_mode="r", allow_pickle=False) for path in (one, other))
    assert left.dtype == right.dtype, one.name
    if left.dtype.kind == "f":
        np.testing.assert_allclose(left, right, rtol=_RELATIVE, atol=0, err_msg=one.name)
    else:
        np.testing.assert_array_equal(left, right, err_msg=one.name)


def _expect_equal_tables(connection: duckdb.DuckDBPyConnection, one: Path, other: Path) -> None:
    left, right = (connection.sql(f"FROM {scan(path)}") for path in (one, other))
    kinds = [dict(zip(table.columns, map(str, table.types), strict=True)) for table in (left, right)]
    assert kinds[0] == kinds[1], f"{one.name}: {kinds[0]} and {kinds[1]}"
    differing = ", ".join(f"count(*) FILTER (WHERE {_differs(name, kind)})" for name, kind in kinds[0].items())
    # A row without a partner has NULLs beside it, in columns that are never NULL too.
    counts = connection.execute(f"SELECT {differing} FROM {scan(one)} a POSITIONAL JOIN {scan(other)} b").fetchall()[0]
    found = {name: count for name, count in zip(kinds[0], counts, strict=True) if count}
    assert not found, f"{one.name}: rows that differ, by column: {found}"
    assert left.count("*").fetchall() == right.count("*").fetchall(), f"{one.name}: numbers of rows"


def _differs(name: str, kind: str) -> str:
    a, b = f"a.{sql_name(name)}", f"b.{sql_name(name)}"
    if kind == "DOUBLE":
        return f"(({a} IS NULL) <> ({b} IS NULL) OR {_far(a, b)})"
    if kind == "DOUBLE[]":
        pairs = f"list_transform(list_zip({a}, {b}), lambda pair: {_far('pair[1]', 'pair[2]')})"
        return f"(len({a}) IS DISTINCT FROM len({b}) OR list_bool_or({pairs}))"
    return f"{a} IS DISTINCT FROM {b}"


def _far(a: str, b: str) -> str:
    return f"coalesce(abs({a} - {b}) > {_RELATIVE} * greatest(abs({a}), abs({b})), false)"
