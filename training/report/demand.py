"""The demand page: how far off the forecasts are, beside baselines, and what lies ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from features.report.page import number, percent, write_page
from training.report import demand_figures as figures

Row = Mapping[str, Any]
_TEMPLATE: Final = Path(__file__).with_name("demand.html")
_NUM_EFFECTS: Final = 12
_KINDS: Final = {
    "reorder_now": "Order now",
    "protect": "Protect: bestsellers about to run out",
    "slow_mover": "Slow movers",
    "riser": "Rising",
}
_IN_WORDS: Final = {
    "empirical quantiles": "each item's own past spread (empirical quantiles)",
    "seasonal naive": "repeating the last season (seasonal naive)",
}


def write_demand_page(path: Path, report: Mapping[str, Any]) -> None:
    """Write the page of a report that ``evaluate_demand`` made."""
    write_page(
        path,
        _TEMPLATE,
        report=report,
        title=page_title(report),
        summary=_summary(report),
        forest=figures.wql_forest(report["models"]) if report["models"] else None,
        pit=figures.pit_histogram(report["pit"]) if report["pit"] else None,
        service=_service_figure(report),
        along=_along(report),
        effects=_effect_figure(report["effects"]["rows"]),
        misses=[{"svg": figures.fan(miss), "item": miss} for miss in report["misses"]],
        kinds=_KINDS,
        totals=[{"svg": figures.fan(total), "title": total["title"]} for total in report["totals"]],
        fans=[{"svg": figures.fan(item), "item": item} for item in report["items"]],
    )


def _service_figure(report: Mapping[str, Any]) -> Markup | None:
    targets = [float(level) / 100 for level in report["service_levels"]]
    curves = report["service_curves"]
    return figures.service_curve(curves, targets, report["ours"]) if curves and targets else None


def _along(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the figures of error along windows and along steps, where there is more than one of each."""
    period, windows, steps = report["protocol"]["period"], report["windows"], report["steps"]
    num_steps = max(map(len, steps.values()), default=0)
    found = []
    if len(windows["starts"]) > 1:
        svg = figures.wql_lines(windows["wql"], windows["starts"], title="WQL by window", axis="window that begins on")
        found.append({"svg": svg, "caption": "Each window's error; a line that jumps says which weeks were hard."})
    if num_steps > 1:
        labels = [str(step) for step in range(1, num_steps + 1)]
        svg = figures.wql_lines(steps, labels, title="WQL by step", axis=f"{period}s ahead")
        found.append({"svg": svg, "caption": f"Error by how many {period}s ahead a forecast looks."})
    return found


def _effect_figure(rows: Sequence[Row]) -> Markup | None:
    known = [row for row in rows if row["uplift"] is not None][:_NUM_EFFECTS]
    return figures.effect_forest(known) if known else None


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
