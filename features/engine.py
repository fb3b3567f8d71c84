"""The connection that tables are computed on: DuckDB, out of core, within a memory limit."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import duckdb

from features.asides import scratch_directory
from features.errors import ConfigError
from features.query_progress import watched
from features.settings import EngineSettings

# Of the memory limit: the rest is for ids, catalogue and batches in Python, and for what DuckDB does not count of its own,
# 0.5 GB beside 8 GB in a sort of 100 million events.
_DUCKDB_SHARE: Final = 0.75
_SIZE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")
_DAY_US: Final = 86_400_000_000


@contextlib.contextmanager
def private_connection(settings: EngineSettings, *, beside: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection that spills into a directory of its own, for its owner alone, which is removed afterwards.

    What is spilled are rows of the tables: personal data.

    Args:
        settings: memory limit, threads, and where to spill.
        beside: directory to spill in when ``settings.temp_directory`` is empty.

    Raises:
        ConfigError: the memory limit or the number of threads is not one DuckDB understands.
    """
    with scratch_directory(Path(settings.temp_directory or beside), "spill") as spill:
        own = dataclasses.replace(settings, temp_directory=str(spill))
        with contextlib.closing(connect(own, spill=spill)) as connection, watched(connection):
            yield connection


def connect(settings: EngineSettings, *, spill: Path) -> duckdb.DuckDBPyConnection:
    """Return an in-memory connection that spills to disk at its part of ``settings.memory_limit``.

    Sessions run in UTC, rows keep their order, and no extension is ever fetched from the network.
    Hand instants to Python as text, epoch microseconds or a data frame: ``fetchall`` of a zoned
    instant would need ``pytz``.

    Args:
        settings: memory limit, threads, and where to spill.
        spill: where to spill when ``settings.temp_directory`` is empty; DuckDB makes it where missing.

    Raises:
        ConfigError: the memory limit or the number of threads is not one DuckDB understands.
    """
    directory = str(settings.temp_directory or spill)
    try:
        connection = duckdb.connect(":memory:", config=_options(settings, directory=directory))
    except duckdb.Error as error:
        raise ConfigError(
            f"memory_limit: expected a size such as '4GB' or '512MB', found {settings.memory_limit!r} ({error})."
        ) from None
    # With a sample of 0, object columns of a pandas frame arrive as text instead of a guessed type.
    connection.execute("SET TimeZone = 'UTC'; SET pandas_analyze_sample = 0; SET enable_progress_bar = false")
    return connection


@contextlib.contextmanager
def memory_explained(settings: EngineSettings) -> Iterator[None]:
    """Turn DuckDB's out-of-memory error inside the block into one that names the setting to change.

    Raises:
        ConfigError: the work in the block needs more than ``settings.memory_limit``, even with spilling.
    """
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise ConfigError(
            f"memory_limit: expected enough for this table, found {settings.memory_limit!r} with "
            f"{settings.threads or os.cpu_count()} threads. Raise memory_limit or lower threads ({str(error).splitlines()[0]})."
        ) from None


def sql_text(value: str | Path) -> str:
    """Return ``value`` as an SQL string literal.

    >>> sql_text("l'eau")
    "'l''eau'"
    """
    return "'" + str(value).replace("'", "''") + "'"


def sql_name(name: str) -> str:
    """Return ``name`` as a quoted SQL identifier.

    >>> sql_name('a"b')
    '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def utc_day(instant: str) -> str:
    """Return SQL of the UTC day of an instant, counted from 1970-01-01.

    >>> utc_day("ts")
    '(epoch_us(ts) // 86400000000)::INT'
    """
    return f"(epoch_us({instant}) // {_DAY_US})::INT"


def duckdb_memory(memory_limit: str) -> str:
    """Return DuckDB's part of a process's memory limit.

    >>> duckdb_memory("8GB")
    '6GB'
    """
    size = _SIZE.fullmatch(memory_limit)
    return f"{float(size[1]) * _DUCKDB_SHARE:.12g}{size[2]}" if size else memory_limit


def _options(settings: EngineSettings, *, directory: str) -> dict[str, str | bool | int | float | list[str]]:
    if settings.name != "duckdb":
        raise ConfigError(
            f"engine.name: expected 'duckdb' for this, found {settings.name!r}; on a cluster run `footfall features` alone, "
            "which writes what all other commands read."
        )
    if settings.memory_limit.strip().startswith("-"):
        raise ConfigError(f"memory_limit: expected a size such as '4GB', found {settings.memory_limit!r}.")
    if settings.threads < 0:
        raise ConfigError(f"threads: expected 0 (one per core) or more, found {settings.threads}.")
    return {
        "memory_limit": duckdb_memory(settings.memory_limit),
        "threads": settings.threads or os.cpu_count() or 1,
        "temp_directory": directory,
        "preserve_insertion_order": True,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
