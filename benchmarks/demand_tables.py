"""The further tables of a demand result: by class of demand, window by window, and service against stock."""

from __future__ import annotations

from typing import Any, Final

Row = dict[str, Any]

BY_CLASS: Final = ("wql", "pit80")
_SHOWN_LEVELS: Final = (0.8, 0.9, 0.95, 0.99)


def lines(result: dict[str, Any]) -> list[str]:
    """Return the lines of the tables that a result's rows hold; none for rows of before there were any."""
    rows = [row for row in result["results"] if "per_class" in row]
    if not rows:
        return []
    return [
        *_by_class(rows),
        *_by_window(rows),
        *_by_bin(rows),
        *_curves(rows),
    ]


def _by_class(rows: list[Row]) -> list[str]:
    classes = list(rows[0]["per_class"])
    sizes = {name: rows[0]["per_class"][name]["num_series"] for name in classes}
    names = [f"{metric}, {name} ({sizes[name]})" for metric in BY_CLASS for name in classes]
    found = [
        [row["model"], *(_figure(row["per_class"][name].get(metric)) for metric in BY_CLASS for name in classes)]
        for row in rows
    ]
    return _table("By class of demand (series in each)", names, found)


def _by_window(rows: list[Row]) -> list[str]:
    names = [f"wql, window {number}" for number, _ in enumerate(rows[0]["per_window"], start=1)]
    found = [[row["model"], *(_figure(window.get("wql")) for window in row["per_window"])] for row in rows]
    return _table("By window", names, found)


def _by_bin(rows: list[Row]) -> list[str]:
    bins = len(rows[0]["pit"])
    names = [f"to {(number + 1) / bins:g}" for number in range(bins)]
    found = [[row["model"], *(f"{share:.3f}" for share in row["pit"])] for row in rows]
    return _table("Share of randomised PIT values by tenth; 0.100 each where calibrated", names, found)


def _curves(rows: list[Row]) -> list[str]:
    names = [f"{what} at {level:g}" for level in _SHOWN_LEVELS for what in ("service", "stock")]
    found = []
    for row in rows:
        at = {round(point["level"], 6): point for point in row["service_curve"]}
        points = [at[level] for level in _SHOWN_LEVELS]
        figures = [figure for point in points for figure in (f"{point['service']:.3f}", f"{point['stock']:.2f}")]
        found.append([row["model"], *figures])
    return _table("Service against stock, by target level", names, found)


def _table(title: str, names: list[str], rows: list[list[str]]) -> list[str]:
    return [
        f"{title}:",
        "",
        _line(["model", *names]),
        _line(["---", *["---:"] * len(names)]),
        *(_line(row) for row in rows),
        "",
    ]


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
