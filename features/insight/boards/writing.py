"""How a board's figures and groups are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from features import columns as c
from features.insight.boards.hiding import SMALL
from features.insight.boards.metrics import Metric, Unit
from features.report.page import percent, points, signed
from features.report.sections import HIDDEN
from features.report.words import Money, Words


def written(value: Any, unit: Unit, money: Money) -> str:
    """Return a figure as its unit has it, a dot where it is hidden or unknown."""
    if pd.isna(value):
        return HIDDEN
    if unit == "money":
        return money(float(value))
    if unit == "share":
        return percent(float(value))
    return f"{float(value):,.2f}" if unit == "number" else f"{round(float(value)):,}"


def interval(low: Any, high: Any, metric: Metric, money: Money, words: Words) -> str:
    """Return an interval, nothing where there is none."""
    if not metric.over or pd.isna(low) or pd.isna(high):
        return ""
    return words("boards.interval", low=written(low, metric.unit, money), high=written(high, metric.unit, money))


def growth(now: float, before: float, words: Words) -> str:
    """Return by how much a sum grew; nothing where there was nothing."""
    if not before or math.isnan(before) or math.isnan(now):
        return ""
    return words("boards.growth", change=f"{signed(100 * (now / before - 1), 1)}%")


def difference(found: Sequence[float], metric: Metric, money: Money, words: Words) -> str:
    """Return a ratio's difference with its interval."""
    if any(map(math.isnan, found)):
        return ""
    if metric.unit == "share":
        texts = [points(one) for one in found]
        return words("boards.points", change=texts[0], low=texts[1], high=texts[2])
    scale = money.minor_units if metric.unit == "money" else 1
    texts = [signed(one / scale, 2) for one in found]
    return words("boards.difference", change=texts[0], low=texts[1], high=texts[2])


def group_name(value: Any, dimension: str, words: Words) -> str:
    """Return what a group is called."""
    if value is None or pd.isna(value):
        return words("boards.unknown")
    if value == SMALL:
        return words("boards.small")
    if dimension in ("day", "week", "month"):
        day = pd.Timestamp(value).date()
        return words.month_of(day) if dimension == "month" else words.day(day)
    if dimension == "weekday":
        return words.weekday(int(value))
    if dimension == "hour":
        return words.hour(int(value))
    return words.term("event" if dimension == c.EVENT_TYPE else dimension, str(value))


def cut_name(dimension: str, words: Words) -> str:
    """Return what a dimension is called; a column of the shop's own by its name."""
    key = f"boards.cut_{dimension}"
    return words(key) if words.has(key) else dimension.replace("_", " ")
