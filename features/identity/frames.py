"""What the linking of ids asks of an engine beyond Narwhals: to keep a result, to count it, to stack two."""

from __future__ import annotations

import itertools
from typing import Any, Final, cast

import narwhals as nw

from features.tables.expressions import frame_of

Frame = nw.LazyFrame[Any]
_FEW: Final = 20_000  # rows
_numbers: Final = itertools.count()


def kept(frame: Frame) -> Frame:
    """Return ``frame`` computed once: what follows reads the result, instead of computing it again.

    On DuckDB rows that its client holds in memory where they are few, as each new table makes it bind every relation again;
    else a table, which spills, and of which the planner knows how long it is (of held rows it does not: joins of 100,000
    links took 20 times as long). A local checkpoint on PySpark. All cut the plan that an iteration would grow.
    """
    native = cast(Any, nw.to_native(frame))
    engine = frame.implementation
    if engine.is_duckdb():
        held = native.materialize()
        if len(held) <= _FEW:
            return frame_of(held)
        name = f"kept_{next(_numbers)}"
        held.create(name)
        return frame_of(native.query("computed_already", f"FROM {name}"))
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
