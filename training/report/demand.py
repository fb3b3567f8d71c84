"""The demand page: how far off the forecasts are, beside baselines, and what lies ahead."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from training.report import demand_figures as figures
from training.report.page import number, percent, write_page

Row = Mapping[str, Any]
_IN_WORDS: Final = {
    "empirical quantiles": "each item's own past spread (empirical quantiles)",
    "seasonal naive": "repeating the last season (seasonal naive)",
}


def write_demand_page(path: Path, report: Mapping[str, Any]) -> None:
    """Write the page of a report that ``evaluate_demand`` made."""
    write_page(
        path,
        "demand.html",
        report=report,
        title=page_title(report),
        summary=_summary(report),
        forest=figures.wql_forest(report["models"]) if report["models"] else None,
        pit=figures.pit_histogram(report["pit"]) if report["pit"] else None,
        fans=[{"svg": figures.fan(item), "item": item} for item in report["items"]],
    )


def page_title(report: Mapping[str, Any]) -> str:
    """Return the answer in one sentence: our error beside the best baseline's."""
    models = {row["model"]: row for row in report["models"]}
    if report["ours"] not in models:
        return f"Demand of {len(report['items'])} items ahead; no window was held out to score it on"
    row = models.pop(report["ours"])
    ours = row["metrics"]["wql"]
    name, best = min(((name, other["metrics"]["wql"]) for name, other in models.items()), key=lambda pair: pair[1])
    if name == report["gate"] and row["less_gate"] and row["less_gate"][1] <= 0 <= row["less_gate"][2]:
        return f"The demand model's forecasts cannot be told apart from {_IN_WORDS.get(name, name)} (WQL {ours:.3f} and {best:.3f})"
    share, word = (1 - ours / best, "closer to") if ours < best else (ours / best - 1, "further from")
    return f"The demand model's forecasts are {percent(share, 0)} {word} what sold than {_IN_WORDS.get(name, name)}"


def _summary(report: Mapping[str, Any]) -> str:
    facts = report["protocol"]
    return (
        f"Measured by the weighted quantile loss (WQL) of {number(facts['num_items'])} items over "
        f"{facts['num_windows']} windows of {facts['horizon']} {facts['period']}s that the scored model had not seen."
    )
