"""The tables of ``docs/retrieval.md``: ours beside published figures, both protocols, and what each choice is worth.

A table stands between two marks, ``<!-- begin: NAME -->`` and ``<!-- end: NAME -->``; prose around them is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

PUBLISHED: Final = Path(__file__).with_name("published.json")
KEYS: Final = ("recall@10", "ndcg@10")
Result = dict[str, Any]


def fill(page: str, results: Iterable[Result]) -> str:
    """Return the page with today's tables between its marks."""
    found = list(results)
    tables = {
        "published": published_table(found),
        "protocols": protocol_table(found),
        "ablations": ablation_table(found),
    }
    for name, table in tables.items():
        marks = re.compile(rf"(<!-- begin: {name} -->\n).*?(<!-- end: {name} -->)", re.DOTALL)
        page = marks.sub(lambda match, table=table: f"{match[1]}{table}\n{match[2]}", page)  # type: ignore[misc]
    return page


def published_table(results: list[Result]) -> str:
    """Return ours and what others published, set by set, with a verdict on each."""
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    lines = [
        _line("data", "model", *KEYS, "footfall is, by each", "source"),
        _line("---", "---", "---:", "---:", "---", "---"),
    ]
    for result in sorted((r for r in results if r["benchmark"] == "retrieval"), key=lambda r: str(r["data"])):
        ours = result["results"][0]["metrics"]
        for row in result["results"]:
            num_seeds = len(row["per_seed_about"])
            note = f"measured, {num_seeds} seed{'s' if num_seeds > 1 else ''}"
            lines.append(_line(result["data"], row["model"], *_figures(row["metrics"]), _beyond(row), note))
        for row in published["rows"]:
            if row["data"] == result["data"]:
                verdict = ", ".join(_verdict(ours[key] - row[key], published["standard_error"]) for key in KEYS)
                lines.append(_line(result["data"], row["model"], *_figures(row), verdict, row["source"]))
    return "\n".join(lines)


def protocol_table(results: list[Result]) -> str:
    """Return each model under both protocols, shop by shop and question by question."""
    key = "recall@20"
    lines = [
        _line("data", "counted", "model", f"{key}, time split", f"{key}, leave-one-out"),
        _line("---", "---", "---", "---:", "---:"),
    ]
    for result in sorted((r for r in results if r["benchmark"] == "protocols"), key=lambda r: str(r["data"])):
        figures: dict[tuple[str, str], dict[str, str]] = {}
        for row in result["results"]:
            counted = row["note"].split("; ")[1]
            low, high = row["interval"][key]
            figure = f"{row['metrics'][key]:.4f} ({low:.4f}, {high:.4f})"
            figures.setdefault((counted, row["model"]), {})[row["protocol"]] = figure
        shop = re.split(r"[,(]", result["data"])[0].strip()
        lines += [
            _line(shop, *which, found["global_temporal"], found["leave_one_out"]) for which, found in figures.items()
        ]
    return "\n".join(lines)


def ablation_table(results: list[Result]) -> str:
    """Return every variant beside the reference, on validation; a sentence where no run is on file."""
    if not any(result["benchmark"] == "retrieval ablations" for result in results):
        return "No result of `benchmarks/ablations.py` is on file yet; the trials that led here are in decision 9."
    lines = [
        _line("data", "seed", "variant", *KEYS, "less the reference, ndcg@10", "CPU s"),
        _line("---", "---:", "---", *["---:"] * 4),
    ]
    runs = (result for result in results if result["benchmark"] == "retrieval ablations")
    for result in sorted(runs, key=lambda run: (str(run["data"]), run["seeds"])):
        seed = ", ".join(map(str, result["seeds"]))
        lines += [
            _line(result["data"], seed, row["model"], *_figures(row["metrics"]), _less(row), f"{row['fit_cpu_s']:.0f}")
            for row in result["results"]
        ]
    return "\n".join(lines)


def _beyond(row: Result) -> str:
    """Say by how much footfall is above a measured row, beyond the paired interval or not."""
    difference = (row.get("difference") or {}).get("ndcg@10")
    if difference is None:
        return ""
    return f"{difference['mean']:+.4f} ({difference['low']:+.4f}, {difference['high']:+.4f}) ndcg@10"


def _less(row: Result) -> str:
    difference = (row.get("difference") or {}).get("ndcg@10")
    if difference is None:
        return ""
    return f"{-difference['mean']:+.4f} ({-difference['high']:+.4f}, {-difference['low']:+.4f})"


def _verdict(difference: float, standard_error: float) -> str:
    if abs(difference) <= standard_error:
        return "level"
    return "above" if difference > 0 else "below"


def _figures(values: dict[str, Any]) -> list[str]:
    return [f"{values[key]:.4f}" for key in KEYS]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
