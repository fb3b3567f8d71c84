"""One SQL text that pandas, DuckDB and Spark run alike, for what table expressions cannot say on every engine.

    run("SELECT user_id, count(*) AS n FROM {events} GROUP BY user_id", events=frame)  ->  a frame of the same engine

The text is what DuckDB and Spark both understand: ``CAST(sum(n) AS BIGINT)`` (a sum is wider in DuckDB), ``max_by``,
``count(*) FILTER (WHERE ...)``, window functions without ``IGNORE NULLS`` or ``QUALIFY``, and Spark's functions named in
``_SPARK_FUNCTIONS``, which DuckDB is taught. A window's order ends in a unique key. A pandas frame goes through DuckDB.
"""

from __future__ import annotations

import itertools
import re
import tempfile
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import duckdb
import narwhals as nw
import pandas as pd

from features.engine import connect
from features.errors import ConfigError
from features.settings import EngineSettings
from features.tables.local_time import SPARK_FUNCTIONS

# For sessions that run in UTC, as ours and our Spark sessions do. Text arguments of ours never hold a lone brace.
_SPARK_FUNCTIONS: Final = (
    SPARK_FUNCTIONS,
    "CREATE OR REPLACE TEMP MACRO unix_micros(ts) AS epoch_us(ts)",
    "CREATE OR REPLACE TEMP MACRO unix_date(day) AS (CAST(day AS DATE) - DATE '1970-01-01')",
    "CREATE OR REPLACE TEMP MACRO date_from_unix_date(number) AS (DATE '1970-01-01' + CAST(number AS INT))",
    "CREATE OR REPLACE TEMP MACRO shiftright(number, bits) AS (number >> bits)",
    "CREATE OR REPLACE TEMP MACRO percentile(x, share) AS quantile_cont(x, share)",  # exact, between ranks
    "CREATE OR REPLACE TEMP MACRO struct(a, b) AS row(a, b)",  # an order by two columns, for min_by and max_by
    "CREATE OR REPLACE TEMP MACRO collect_list(x) AS list(x)",  # without NULLs, which Spark leaves out
    "CREATE OR REPLACE TEMP MACRO array_sort(xs) AS list_sort(xs)",
    "CREATE OR REPLACE TEMP MACRO array_join(xs, between) AS array_to_string(xs, between)",
)
_BY_NAME: Final = {function.split(" MACRO ")[1].split("(")[0]: function for function in _SPARK_FUNCTIONS}
_NAME: Final = re.compile(r"\{(\w+)\}")
_numbers: Final = itertools.count()
FrameT = TypeVar("FrameT")


def run(text: str, **frames: FrameT) -> FrameT:
    """Return the result of a query as a frame of the engine that its frames are of; lazy where the engine is.

    Args:
        text: SQL in which ``{name}`` stands for the frame of that name.
        frames: pandas frames, DuckDB relations of one connection, or PySpark frames of one session.

    Raises:
        ConfigError: the frames are of another engine, or of several.
    """
    engines = {nw.from_native(cast(Any, frame)).implementation for frame in frames.values()}
    engine = next(iter(engines))
    if len(engines) > 1 or not (engine.is_pandas() or engine.is_duckdb() or engine.is_pyspark()):
        found = ", ".join(f"{name}: {type(frame).__name__}" for name, frame in frames.items())
        raise ConfigError(f"expected frames of one engine, pandas, DuckDB or PySpark, found {found}.")
    if engine.is_duckdb():
        return cast(FrameT, _in_duckdb(text, cast("dict[str, duckdb.DuckDBPyRelation]", frames)))
    if engine.is_pyspark():
        return cast(Any, next(iter(frames.values()))).sparkSession.sql(text, **frames)
    return cast(FrameT, _in_memory(text, cast("dict[str, pd.DataFrame]", frames)))


def once(frame: FrameT) -> FrameT:
    """Return a frame that PySpark computes once, however often queries name it; other engines' as they are.

    DuckDB keeps what a ``WITH`` names twice; Spark works it out for each time, down to the log.
    """
    if nw.from_native(cast(Any, frame)).implementation.is_pyspark():
        return cast(FrameT, cast(Any, frame).localCheckpoint(eager=False))
    return frame


def _in_duckdb(text: str, relations: dict[str, duckdb.DuckDBPyRelation]) -> duckdb.DuckDBPyRelation:
    number = next(_numbers)  # a relation that is still lazy goes on reading the views of its own query
    views = {name: f"{name}_{number}" for name in relations}
    for name, relation in relations.items():
        relation.create_view(views[name], replace=True)
    first = next(iter(relations.values()))
    for name, function in _BY_NAME.items():
        if name in text:  # teaching it costs milliseconds of binding
            first.query("functions", function)
    return cast(duckdb.DuckDBPyRelation, first.query("one_of_them", _NAME.sub(lambda found: views[found[1]], text)))


def _in_memory(text: str, frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as spill, connect(EngineSettings(), spill=Path(spill)) as connection:
        relations = {name: connection.from_df(frame) for name, frame in frames.items()}
        return cast(pd.DataFrame, _in_duckdb(text, relations).to_arrow_table().to_pandas(date_as_object=False))
