"""Local day and hour of an instant: what Narwhals cannot say on every engine, as one SQL text.

DuckDB and Spark run the same text; DuckDB is taught Spark's one function that it lacks.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar, cast

import duckdb
import narwhals as nw

from features import columns as c
from features.engine import sql_text
from features.errors import ConfigError

# For sessions that run in UTC, as ours and our Spark sessions do.
SPARK_FUNCTIONS: Final = "CREATE OR REPLACE TEMP MACRO from_utc_timestamp(ts, zone) AS timezone(zone, ts)"
FrameT = TypeVar("FrameT")


def local_time_columns(time_zone: str) -> str:
    """Return the SQL of ``local_day`` DATE and ``local_hour`` INT for a table with a column ``ts``."""
    local = f"from_utc_timestamp({c.TS}, {sql_text(time_zone)})"
    return f"CAST({local} AS DATE) AS {c.LOCAL_DAY}, CAST(hour({local}) AS INT) AS {c.LOCAL_HOUR}"


def with_local_time(events: FrameT, *, time_zone: str) -> FrameT:
    """Return ``events`` with ``local_day`` and ``local_hour`` in the shop's zone.

    Args:
        events: a DuckDB relation or a PySpark frame with a column ``ts``, in a session that runs in UTC.
        time_zone: IANA name.

    Raises:
        ConfigError: the frame is of another engine.
    """
    text = f"SELECT *, {local_time_columns(time_zone)} FROM "
    engine = nw.from_native(cast(Any, events)).implementation
    if engine.is_duckdb():
        relation = cast(duckdb.DuckDBPyRelation, events)
        relation.query("functions", SPARK_FUNCTIONS)
        return cast(FrameT, relation.query("events_in", f"{text} events_in"))
    if engine.is_pyspark():
        frame = cast(Any, events)
        return cast(FrameT, frame.sparkSession.sql(f"{text} {{events_in}}", events_in=frame))
    raise ConfigError(f"with_local_time: expected a DuckDB relation or a PySpark frame, found {type(events).__name__}.")
