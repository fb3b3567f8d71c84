"""Instants as whole numbers: what Narwhals cannot say of DuckDB and PySpark, behind one signature."""

from __future__ import annotations

from typing import Any, Final, TypeVar, cast

import duckdb
import narwhals as nw

from features import columns as c

EPOCH_US: Final = "epoch_us"  # microseconds since 1970, UTC
FrameT = TypeVar("FrameT")


def with_epoch_us(events: FrameT) -> FrameT:
    """Return ``events`` with ``epoch_us``, microseconds since 1970-01-01 UTC, int64.

    Args:
        events: a frame of any engine with a column ``ts``.
    """
    engine = nw.from_native(cast(Any, events)).implementation
    if engine.is_duckdb():
        relation = cast(duckdb.DuckDBPyRelation, events)
        return cast(FrameT, relation.project(f"*, epoch_us({c.TS}) AS {EPOCH_US}"))
    if engine.is_pyspark():
        return cast(FrameT, cast(Any, events).selectExpr("*", f"unix_micros({c.TS}) AS {EPOCH_US}"))
    frame = nw.from_native(cast(Any, events))
    return cast(FrameT, frame.with_columns(nw.col(c.TS).dt.timestamp("us").alias(EPOCH_US)).to_native())
