"""Tables of what was measured of the service: many figures of few rows, or rows by connections and list length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

# Result files of the service, by what they measure.
BENCHMARKS: Final = frozenset(
    {"serving", "index", "soak", "overload", "live_state", "event_effect", "serving_start", "rules"}
)
_KEYS: Final = ("connections", "top_k")
_FEW: Final = 3


def lines(result: Mapping[str, Any]) -> list[str]:
    """Return the lines of a result's tables: rows as they are, or figures as rows where there are few; then ratios."""
    rows = result["results"]
    if len(rows) <= _FEW:
        return _table(["", *(row["model"] for row in rows)], list(_by_figure(rows)))
    rated = [row for row in rows if row.get("ratios")]
    tables = _by_row(rows, [_figures(row["metrics"]) for row in rows])
    return [*tables, "", *_by_row(rated, [_ratios(row) for row in rated])] if rated else tables


def _by_row(rows: Sequence[Mapping[str, Any]], figures: Sequence[Mapping[str, str]]) -> list[str]:
    keys = [name for name in _KEYS if any(name in row for row in rows)]
    names = list(dict.fromkeys(name for one in figures for name in one))
    body = [
        [row["model"], *(str(row.get(key, "")) for key in keys), *(one.get(name, "") for name in names), _note(row)]
        for row, one in zip(rows, figures, strict=True)
    ]
    return _table(["model", *keys, *names, "note"], body)


def _by_figure(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    held = [_figures(row["metrics"]) | _ratios(row) for row in rows]
    for name in dict.fromkeys(name for one in held for name in one):
        yield [name, *(one.get(name, "") for one in held)]
    if any(_note(row) for row in rows):
        yield ["note", *(_note(row) for row in rows)]


def _figures(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return figures by name, those of a figure with parts as ``name.part``."""
    return {name: _in_words(value) for name, value in _flat(metrics)}


def _ratios(row: Mapping[str, Any]) -> dict[str, str]:
    """Return a row's ratios, medians with their range over the rounds."""
    return {
        name: f"{_in_words(value['median'])} ({', '.join(_in_words(bound) for bound in value['range'])})"
        for name, value in (row.get("ratios") or {}).items()
    }


def _note(row: Mapping[str, Any]) -> str:
    """Return what is said of a row, and the settings that it was measured at."""
    held = {name: value for name, value in (row.get("config") or {}).items() if not isinstance(value, bool)}
    settings = [f"{name} {value}" for name, value in held.items() if isinstance(value, str | int)]
    return "; ".join(part for part in (row.get("note") or "", ", ".join(settings)) if part)


def _flat(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif not isinstance(value, list | tuple):  # series are for plots
            yield f"{prefix}{name}", value


def _in_words(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    return f"{value:,}" if isinstance(value, int) or abs(value) >= 1e4 else f"{value:.4g}"


def _table(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    rows = [header, ["---", *["---:"] * (len(header) - 1)], *body]
    return [f"| {' | '.join(row)} |" for row in rows]
