"""The tables of insight's benchmarks: what a row is about stands first, rows that measure the same stand together."""

from __future__ import annotations

import itertools
from typing import Any, Final

BENCHMARKS: Final = ("attribution", "campaign_effects", "experiments", "hillstrom", "insight")
_LARGE: Final = 1000  # counts and megabytes, shown whole


def lines(result: dict[str, Any]) -> list[str]:
    """Return a table for each run of rows with the same metrics."""
    found: list[str] = []
    for _, group in itertools.groupby(result["results"], key=_kind):
        found += [*_table(list(group)), ""]
    return found[:-1]


def _kind(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(row["metrics"]))


def _table(rows: list[dict[str, Any]]) -> list[str]:
    about = [_about(row) for row in rows]
    names = list(dict.fromkeys(name for one in about for name in one))
    told = [name for name in names if len(rows) > 1 and len({str(one.get(name)) for one in about}) > 1]
    same = {name: about[0][name] for name in names if name not in told and name in about[0]}
    metrics = list(rows[0]["metrics"])
    notes = [row.get("note", "") for row in rows]
    differ = len(set(notes)) > 1
    said = [*(f"{name} {_plain(value)}" for name, value in same.items()), *([] if differ else filter(None, notes[:1]))]
    cells = [
        [*(_plain(one.get(name, "")) for name in told), row["model"], *(_metric(row, name) for name in metrics)]
        for row, one in zip(rows, about, strict=True)
    ]
    return [
        *([f"{'; '.join(said)}.", ""] if said else []),
        _line([*told, "", *metrics, *["note"] * differ]),
        _line([*["---"] * (len(told) + 1), *["---:"] * len(metrics), *["---"] * differ]),
        *(_line([*row, *[note] * differ]) for row, note in zip(cells, notes, strict=True)),
    ]


def _about(row: dict[str, Any]) -> dict[str, Any]:
    surface = {"question": row["surface"]} if row.get("surface") else {}
    return surface | dict(row.get("config") or {})


def _metric(row: dict[str, Any], name: str) -> str:
    value = row["metrics"][name]
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    ends = (row.get("interval") or {}).get(name)
    return f"{_plain(value)} ({_plain(ends[0])}, {_plain(ends[1])})" if ends else _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or abs(value) >= _LARGE:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 0.001 else f"{value:.4f}".rstrip("0").rstrip(".") or "0"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
