"""The off-policy page: what another policy would have earned in a slot, and whether to believe it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from features.report.figures import drawing, looks, to_svg
from features.report.page import per_thousand, write_page

Row = Mapping[str, Any]
_TEMPLATE: Final = Path(__file__).with_name("policy.html")
HEADLINE: Final = "doubly_robust"
NAMES: Final = {
    "doubly_robust": "Doubly robust",
    "snips": "SNIPS",
    "ips": "IPS",
    "clipped_ips": "IPS, clipped",
    "direct_method": "Direct method",
}
_MANY: Final = {"click": "clicks", "purchase": "purchases"}
# Below this share of its exposures a log tells about the policy through a handful of them.
_FEW: Final = 0.02
_LOGGED: Final = "the slot as it was"


def write_policy_page(path: Path, report: Mapping[str, Any]) -> None:
    """Write the page of a report that ``evaluate_policy`` made."""
    write_page(
        path,
        _TEMPLATE,
        report=report,
        title=page_title(report),
        names=NAMES,
        headline=HEADLINE,
        many=_MANY[report["reward"]],
        notes=[note for row in report["policies"] for note in warnings_of(row)],
        forest=_forest(report),
        estimators=_estimators(report),
    )


def page_title(report: Mapping[str, Any]) -> str:
    """Return the answer in one sentence: what ours would have earned beside what the slot did."""
    row, many = report["policies"][0], _MANY[report["reward"]]
    lead, name = row["lead"][HEADLINE], f"The {row['policy']}"
    beside = f"{per_thousand(row['value'][HEADLINE]['mean'])} {many} per 1,000 showings; it got {per_thousand(report['logged']['mean'])}"
    if not row["checks"]["balanced"]:
        return f"This log cannot tell what the {row['policy']} would have earned in slot {report['slot']}"
    if lead["low"] <= 0 <= lead["high"]:
        return f"{name} cannot be told apart from what slot {report['slot']} showed: an estimated {beside}"
    return f"{name} would {'raise' if lead['low'] > 0 else 'lower'} what slot {report['slot']} earns, to an estimated {beside}"


def warnings_of(row: Row) -> list[str]:
    """Return what a reader must know before using a policy's estimates, a sentence each."""
    checks, found = row["checks"], []
    if not checks["balanced"]:
        found.append(f"{row['policy']}: {checks['verdict']}")
    if checks["unsupported"] >= 0.005:
        found.append(
            f"{row['policy']}: {100 * checks['unsupported']:.1f}% of its showings would go to items that this slot never "
            "showed. The log says nothing about them; IPS and SNIPS leave them out, the doubly robust estimate guesses."
        )
    if checks["effective_sample_size"] < _FEW * checks["num_exposures"]:
        found.append(
            f"{row['policy']}: its {checks['num_exposures']:,} exposures tell as much as "
            f"{checks['effective_sample_size']:,.0f} would from a test of its own; intervals may be too narrow."
        )
    return found


def _forest(report: Mapping[str, Any]) -> Markup:
    """Draw the headline estimate of each policy beside what the slot earned."""
    rows = [(row["policy"], row["value"][HEADLINE]) for row in report["policies"]]
    rows = sorted([*rows, (_LOGGED, report["logged"])], key=lambda pair: float(pair[1]["mean"]))
    styles = looks([*[row["policy"] for row in report["policies"]], _LOGGED])
    with drawing(0.7 + 0.42 * len(rows)) as (figure, axes):
        for height, (name, found) in enumerate(rows):
            low, mean, high = (1000 * found[key] for key in ("low", "mean", "high"))
            look = styles[name]
            axes.plot([low, high], [height, height], color=look.color, linewidth=3, alpha=0.55)
            axes.plot(mean, height, look.marker, color=look.color, markersize=8)
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlim(left=min(0.0, *(1000 * found["low"] for _, found in rows)))
        axes.set_xlabel(f"{_MANY[report['reward']]} per 1,000 showings")
        axes.grid(visible=False, axis="y")
    best, value = rows[-1]
    text = f"{best} is highest with {per_thousand(value['mean'])} per 1,000."
    return to_svg(figure, title="Estimated value by policy", description=text)


def _estimators(report: Mapping[str, Any]) -> Markup:
    """Draw all estimators of our policy: where they disagree, the log or the reward model is doubtful."""
    row = report["policies"][0]
    ordered = list(reversed(NAMES))
    with drawing(0.7 + 0.42 * len(ordered)) as (figure, axes):
        for height, key in enumerate(ordered):
            low, mean, high = (1000 * row["value"][key][part] for part in ("low", "mean", "high"))
            axes.plot([low, high], [height, height], color="#0072B2", linewidth=3, alpha=0.55)
            axes.plot(mean, height, "o", color="#0072B2", markersize=8)
        axes.axvline(1000 * report["logged"]["mean"], color="#040506", linestyle="--", linewidth=1.2)
        axes.set_yticks(range(len(ordered)), [NAMES[key] for key in ordered])
        axes.set_ylim(-0.6, len(ordered) - 0.4)
        axes.set_xlim(left=min(0.0, *(1000 * row["value"][key]["low"] for key in ordered)))
        axes.set_xlabel(f"{_MANY[report['reward']]} per 1,000 showings")
        axes.grid(visible=False, axis="y")
    ends = ", ".join(f"{NAMES[key]} {per_thousand(row['value'][key]['mean'])}" for key in NAMES)
    return to_svg(figure, title=f"Estimates of the {row['policy']}", description=f"Per 1,000 showings: {ends}.")
