"""The tables of ``docs/scale.md``: what one event, customer, item and request cost, measured, and what a very large shop takes.

A table stands between two marks, ``<!-- begin: NAME -->`` and ``<!-- end: NAME -->``; prose around them is kept. Unit costs
come from the result files alone; what no file says is named as an assumption, with prices, in ``ASSUMED``: put your own there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

Result = dict[str, Any]
_DAY_S: Final = 86_400
_HOUR_S: Final = 3_600
_GB, _TB = 1e9, 1e12
_FLOAT_BYTES: Final = 4
_WIDTH: Final = 64

# What is not measured here: (value, in words). Prices are list prices of one large cloud, 2025, to be replaced by your own.
ASSUMED: Final[dict[str, tuple[float, str]]] = {
    "events_a_day": (1e9, "events a day"),
    "customers": (1e8, "customers"),
    "items": (1e8, "items"),
    "days": (90, "days of events that features are built of"),
    "peak": (3, "times the mean, in the busiest minutes"),
    "active": (0.2, "of the customers come on a day"),
    "screens": (20, "lists a customer asks for on such a day"),
    "recent_events": (50, "recent events kept a customer who came"),
    "recent_bytes": (120, "bytes each of them takes in Redis, keys included"),
    "message_bytes": (300, "bytes an event takes as a message of a broker"),
    "busy": (0.6, "of a core is used, so that the rest bears peaks and failures"),
    "core_hour": (0.05, "US dollars a core and hour with 4 GB (m7i.large, us-east-1, on demand, half of it)"),
    "store_month": (0.023, "US dollars a GB and month of object store (S3 standard, first 50 TB)"),
}


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One measured cost.

    Args:
        value: in ``unit``.
        unit: in words.
        source: the result file and row that it comes from.
    """

    value: float
    unit: str
    source: str


def fill(page: str, results: Iterable[Result]) -> str:
    """Return the page with today's tables between its marks."""
    units = unit_costs({result["benchmark"]: result for result in results})
    tables = {"units": _units_table(units), "assumed": _assumed_table(), "needs": _needs_table(units)}
    for name, table in tables.items():
        marks = re.compile(rf"(<!-- begin: {name} -->\n).*?(<!-- end: {name} -->)", re.DOTALL)
        page = marks.sub(lambda match, table=table: f"{match[1]}{table}\n{match[2]}", page)  # type: ignore[misc]
    return page


def unit_costs(results: dict[str, Result]) -> dict[str, Unit]:
    """Return every unit cost that a result file says, by name."""
    found: dict[str, Unit] = {}
    for name, unit, benchmark, read in _READ:
        if benchmark in results:
            value, row = read(results[benchmark]["results"])
            found[name] = Unit(value=value, unit=unit, source=f"{benchmark}: {row}")
    return found


Read = Callable[[list[dict[str, Any]]], tuple[float, str]]


def _of_features(key: str, of: str) -> Read:
    """Bytes of a file of the largest build, by what it holds."""

    def read(rows: list[dict[str, Any]]) -> tuple[float, str]:
        row = _largest(rows)
        return row["config"]["bytes"][key] / row["config"]["counts"][of], f"footfall, {row['surface']}"

    return read


def _largest(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return max((row for row in rows if row["model"] == "footfall"), key=lambda row: row["config"]["events"])


def _features_cpu(rows: list[dict[str, Any]]) -> tuple[float, str]:
    row = _largest(rows)
    return row["metrics"]["cpu_s"] / row["config"]["events"] * 1e6, f"footfall, {row['surface']}"


def _positions(rows: list[dict[str, Any]]) -> tuple[float, str]:
    row = max(
        (row for row in rows if row["model"] == "footfall"),
        key=lambda row: (row["config"]["items"], row["config"]["users"]),
    )
    return row["metrics"]["tokens_per_s"], f"{row['config']['items']:,} items, {row['config']['users']:,} customers"


def _request_cpu(rows: list[dict[str, Any]]) -> tuple[float, str]:
    wanted = {"habits": False, "by_id": True, "live_events": True, "exclude_seen": True}
    row = next(
        row
        for row in rows
        if row["model"] == "footfall" and row["connections"] == 32 and row["top_k"] == 20 and row["config"] == wanted
    )
    return row["metrics"]["server_cpu_us"], "top 20, 32 connections, live events and seen items left out"


def _live_events(rows: list[dict[str, Any]]) -> tuple[float, str]:
    name = "Redis, appendfsync everysec: 1 process(es), batch 100"
    return next(row["metrics"]["events_per_s"] for row in rows if row["model"] == name), name


_READ: Final[tuple[tuple[str, str, str, Read], ...]] = (
    ("event_cpu", "CPU-microseconds an event, all features", "scale", _features_cpu),
    ("raw_bytes", "bytes an event of the data directory", "scale", _of_features("events.parquet", "events")),
    ("log_bytes", "bytes an event of the event log", "scale", _of_features("event_log.parquet", "events")),
    ("sequence_bytes", "bytes an event of the sequences", "scale", _of_features("sequences", "sequence_events")),
    (
        "customer_bytes",
        "bytes a customer of the customer table",
        "scale",
        _of_features("customers.parquet", "customers"),
    ),
    ("positions", "events learned from, a CPU-second", "retrieval scale", _positions),
    ("request_cpu", "CPU-microseconds a recommend call", "serving", _request_cpu),
    ("live_events", "live events a second, one Redis", "live_state", _live_events),
)


def _needs(units: dict[str, Unit]) -> list[tuple[str, str, str]]:
    """Return what the large shop needs: what, by what sum, how much."""
    a = {name: value for name, (value, _) in ASSUMED.items()}
    u = {name: unit.value for name, unit in units.items()}
    a_second = a["events_a_day"] / _DAY_S
    events = a["events_a_day"] * a["days"]
    active = a["customers"] * a["active"]
    calls_a_second = active * a["screens"] / _DAY_S * a["peak"]
    build_hours = events * u["event_cpu"] / 1e6 / _HOUR_S
    call_cores = calls_a_second * u["request_cpu"] / 1e6 / a["busy"]
    return [
        ("events a second, at peak", "events a day / 86,400 s x peak", f"{a_second * a['peak']:,.0f}"),
        (
            "a broker's disk for three days, kept three times",
            "messages x bytes x 9",
            _bytes(a["events_a_day"] * a["message_bytes"] * 9),
        ),
        ("the log in an object store, a year", "events x bytes", _bytes(a["events_a_day"] * 365 * u["raw_bytes"])),
        (
            "... a month's price of it",
            "GB x price",
            _dollars(a["events_a_day"] * 365 * u["raw_bytes"] / _GB * a["store_month"]),
        ),
        (
            "all features anew",
            "events x CPU",
            f"{build_hours:,.0f} core-hours, {_dollars(build_hours * a['core_hour'])}",
        ),
        ("one day's events into them", "events a day x CPU", f"{build_hours / a['days']:,.0f} core-hours"),
        ("sequences, mapped from disk", "events x bytes", _bytes(events * u["sequence_bytes"])),
        ("customer table", "customers x bytes", _bytes(a["customers"] * u["customer_bytes"])),
        (
            "item table in training",
            "items x 64 x 4 bytes x (weights, two moments, average)",
            _bytes(a["items"] * _WIDTH * _FLOAT_BYTES * 4),
        ),
        (
            "one pass over the newest day",
            "events a day / speed",
            f"{a['events_a_day'] / u['positions'] / _HOUR_S:,.1f} core-hours",
        ),
        ("recommend calls a second, at peak", "customers x active x lists / 86,400 s x peak", f"{calls_a_second:,.0f}"),
        (
            "cores that answer them",
            "calls x CPU / busy",
            f"{call_cores:,.0f}, {_dollars(call_cores * a['core_hour'] * 24 * 30)} a month",
        ),
        (
            "recent events in Redis",
            "customers x active x events x bytes",
            _bytes(active * a["recent_events"] * a["recent_bytes"]),
        ),
        (
            "Redis servers by events a second",
            "events at peak / speed / busy",
            f"{a_second * a['peak'] / u['live_events'] / a['busy']:,.1f}",
        ),
    ]


def _units_table(units: dict[str, Unit]) -> str:
    lines = [_line("what", "measured", "by"), _line("---", "---:", "---")]
    return "\n".join([*lines, *(_line(unit.unit, _figure(unit.value), unit.source) for unit in units.values())])


def _assumed_table() -> str:
    lines = [_line("assumed", ""), _line("---:", "---")]
    return "\n".join(
        [*lines, *(_line(f"{value:,g}" if value < 1 else f"{value:,.0f}", words) for value, words in ASSUMED.values())]
    )


def _needs_table(units: dict[str, Unit]) -> str:
    if missing := [name for name, *_ in _READ if name not in units]:
        return f"Not all unit costs are on file yet: {', '.join(missing)}."
    lines = [_line("what", "sum", "result"), _line("---", "---", "---:")]
    return "\n".join([*lines, *(_line(*need) for need in _needs(units))])


def _bytes(value: float) -> str:
    return f"{value / _TB:,.1f} TB" if value >= _TB else f"{value / _GB:,.0f} GB"


def _dollars(value: float) -> str:
    return f"${value:,.0f}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
