"""What lists are like beside being right, as columns of a table with bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from features.report.page import percent, points

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Quality:
    """One column.

    Args:
        key: of the metric in a report.
        name: heading.
        reading: which way it points, in a few words.
        text: how a value is written.
        barred: whether a bar from 0 makes sense.
    """

    key: str
    name: str
    reading: str
    text: Callable[[float], str]
    barred: bool = True


QUALITIES: Final = (
    Quality(key="coverage@20", name="Coverage", reading="of the catalogue", text=percent),
    Quality(key="gini@20", name="Gini", reading="0 even, 1 few items take all", text="{:.2f}".format),
    Quality(key="novelty@20", name="Novelty", reading="bits; higher is less obvious", text="{:.1f}".format),
    Quality(key="diversity@20", name="Diversity", reading="within a list; 1 nothing alike", text="{:.2f}".format),
    Quality(
        key="popularity_lift@20",
        name="Popularity lift",
        reading="over the customer’s own history",
        text=lambda value: f"{points(value, 0)}%",
        barred=False,
    ),
    Quality(
        key="calibration_kl@20", name="Miscalibration", reading="0 has the customer’s categories", text="{:.2f}".format
    ),
)


def list_qualities(table: Row) -> dict[str, Any] | None:
    """Return the columns and rows of a table of list qualities, those that every model has.

    Returns:
        ``columns`` (``name, reading``) and ``rows`` (``model``, and ``cells`` of ``text`` and ``share``, the length of
        the bar, or none); nothing where a report holds no such metric.
    """
    known = [quality for quality in QUALITIES if all(quality.key in row["lists"] for row in table["rows"])]
    if not known:
        return None
    most = {quality.key: max(abs(float(row["lists"][quality.key])) for row in table["rows"]) for quality in known}
    return {
        "columns": [{"name": quality.name, "reading": quality.reading} for quality in known],
        "rows": [
            {"model": row["model"], "cells": [_cell(quality, row, most[quality.key]) for quality in known]}
            for row in table["rows"]
        ],
    }


def _cell(quality: Quality, row: Row, most: float) -> dict[str, Any]:
    value = float(row["lists"][quality.key])
    share = max(value, 0.0) / most if quality.barred and most > 0 else None
    return {"text": quality.text(value), "share": share}
