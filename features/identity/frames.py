"""What the linking of ids asks of an engine beyond Narwhals: to keep a result, to count it, to stack two."""

from __future__ import annotations

from typing import Any, cast

import narwhals as nw

from features.tables.expressions import frame_of

Frame = nw.LazyFrame[Any]


def kept(frame: Frame) -> Frame:
    """Return ``frame`` computed once: what follows reads the result, instead of computing it again.

    Rows held in memory on DuckDB, which links are few enough for (a table would do too, but each new one makes DuckDB's
    client bind every relation again); a local checkpoint on PySpark. Both cut the plan that an iteration would grow.
    """
    native = cast(Any, nw.to_native(frame))
    engine = frame.implementation
    if engine.is_duckdb():
        return frame_of(native.materialize())
    if engine.is_pyspark():
        return frame_of(native.localCheckpoint())
    return frame


def num_rows(frame: Frame) -> int:
    """Return how many rows a frame has."""
    counted = cast(Any, frame.select(nw.len().alias("n")))
    counted = counted.collect() if isinstance(counted, nw.LazyFrame) else counted
    return int(counted.item(0, "n"))


def stacked(*frames: Frame) -> Frame:
    """Return the rows of frames of the same columns."""
    return nw.concat(list(frames), how="vertical")


def strings(*names: str) -> list[nw.Expr]:
    """Return columns as text; a pandas column without any row has forgotten its type."""
    return [nw.col(name).cast(nw.String) for name in names]
