"""The demand page: how far off the forecasts are, beside baselines, and what lies ahead."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.report import demand_figures as figures
from training.report.page import number, write_page

Row = Mapping[str, Any]


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
    ours = models.pop(report["ours"])["metrics"]["wql"]
    name, best = min(((name, row["metrics"]["wql"]) for name, row in models.items()), key=lambda pair: pair[1])
    if ours < best:
        return f"The demand model's forecasts are {100 * (1 - ours / best):.0f}% closer to what sold than {name}"
    return f"The demand model's forecasts are {100 * (ours / best - 1):.0f}% further from what sold than {name}"


def _summary(report: Mapping[str, Any]) -> str:
    facts = report["protocol"]
    return (
        f"Measured by the weighted quantile loss (WQL) of {number(facts['num_items'])} items over "
        f"{facts['num_windows']} windows of {facts['horizon']} {facts['period']}s that the scored model had not seen."
    )
