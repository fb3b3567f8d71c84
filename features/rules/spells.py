"""Spells: from when to when something held, for each key; and the one sweep that everything is made of.

A level starts at 0, changes at instants, and holds while it lies within bounds:

    changes   +1 at 1, +1 at 5, -1 at 9, -1 at 13        three views' windows, two deep
    level     1 from 1, 2 from 5, 1 from 9, 0 from 13
    >= 2      spell 5 .. 9                               start counts, end does not

Windowed counts, sums, "all of", "any of" and "not" are levels of this kind, so one function answers all of them, with
the instant since which, and the instant until which, it holds without further events.

Keys are ``user_id``, or ``user_id`` and ``item_id``. Frames are Narwhals': pandas, DuckDB and PySpark agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import narwhals as nw

from features.rules.rows import AT_US
from features.tables.expressions import marks

Frame = nw.LazyFrame[Any]

START_US: Final = "start_us"
END_US: Final = "end_us"
CHANGE: Final = "change"
# The contract's instants lie before 2200.
FOREVER: Final = 7_258_118_400_000_000


def spells(changes: Frame, by: Sequence[str], *, low: int | None, high: int | None) -> Frame:
    """Return the spells in which the level lies from ``low`` to ``high``.

    Args:
        changes: the key's columns, at_us, change; whole numbers, in any order.
        by: the key's columns.
        low: least level that counts; a level before any change does not.
        high: greatest.

    Returns:
        the key's columns, start_us, end_us (``FOREVER`` where it stays); of one key apart and in any order.
    """
    steps = changes.group_by(*by, AT_US).agg(nw.col(CHANGE).sum())
    level = nw.col(CHANGE).cum_sum().over(*by, order_by=AT_US)
    within = nw.lit(True)
    if low is not None:
        within = within & (nw.col("level") >= low)
    if high is not None:
        within = within & (nw.col("level") <= high)
    steps = steps.with_columns(level.alias("level")).with_columns(marks(within).alias("holds"))
    before = nw.col("holds").shift(1).over(*by, order_by=AT_US).fill_null(0).cast(nw.Int64)
    edges = steps.with_columns(before.alias("held")).filter(nw.col("holds") != nw.col("held"))
    end = nw.col(AT_US).shift(-1).over(*by, order_by=AT_US).fill_null(FOREVER).cast(nw.Int64)
    ended = edges.with_columns(end.alias(END_US)).filter(nw.col("holds") == 1)
    return ended.select(*by, nw.col(AT_US).alias(START_US), END_US)


def changes_of(spans: Frame, by: Sequence[str], weight: nw.Expr | None = None) -> Frame:
    """Return what spans do to a level: up by ``weight`` (1 where left out) at their start, down at their end."""
    weight = nw.lit(1).cast(nw.Int64) if weight is None else weight
    ups = spans.select(*by, nw.col(START_US).alias(AT_US), weight.alias(CHANGE))
    ending = spans.filter(nw.col(END_US) < FOREVER)
    downs = ending.select(*by, nw.col(END_US).alias(AT_US), (weight * -1).cast(nw.Int64).alias(CHANGE))
    return stacked([ups, downs])


def beginnings(universe: Frame, by: Sequence[str], change: int) -> Frame:
    """Return one change of every key at its beginning, so that a level of 0 can hold from there on.

    Args:
        universe: the key's columns and start_us, one row a key.
        by: the key's columns.
        change: the level to begin with.
    """
    return universe.select(
        *by, nw.col(START_US).cast(nw.Int64).alias(AT_US), nw.lit(change).cast(nw.Int64).alias(CHANGE)
    )


def all_of(parts: Sequence[Frame], by: Sequence[str]) -> Frame:
    """Return the spells in which every part holds."""
    return parts[0] if len(parts) == 1 else spells(_together(parts, by), by, low=len(parts), high=None)


def any_of(parts: Sequence[Frame], by: Sequence[str]) -> Frame:
    """Return the spells in which at least one part holds."""
    return parts[0] if len(parts) == 1 else spells(_together(parts, by), by, low=1, high=None)


def none_of(part: Frame, universe: Frame, by: Sequence[str]) -> Frame:
    """Return the spells, from each key's beginning on, in which a part does not hold."""
    falls = changes_of(part, by, nw.lit(-1).cast(nw.Int64))
    return spells(stacked([beginnings(universe, by, 1), falls]), by, low=1, high=None)


def at_instant(frame: Frame, at_us: int) -> Frame:
    """Return the spells that an instant lies in."""
    return frame.filter((nw.col(START_US) <= at_us) & (nw.col(END_US) > at_us))


def stacked(frames: Sequence[Frame]) -> Frame:
    """Return the rows of all frames, which have the same columns."""
    return nw.concat(list(frames), how="vertical")


def _together(parts: Sequence[Frame], by: Sequence[str]) -> Frame:
    return stacked([changes_of(part, by) for part in parts])
