"""The retrieval page: what was found, how sure that is, where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from training.report import retrieval_figures as figures
from training.report.figures import Look, looks
from training.report.page import digits_for, metric_name, percent, points, write_page

Row = Mapping[str, Any]
_METRIC: Final = "recall@20"
_TITLES: Final = {
    "new": ("Items new to the customer", "Neither lists nor answers hold anything that the customer had met before."),
    "all": ("Everything, repeats counted", "Lists may repeat what the customer knows, and repeats count as answers."),
}
_ASKED: Final = {
    "new": "what customers choose next that is new to them",
    "all": "what customers choose next, repeats counted",
}


def write_retrieval_page(path: Path, report: Mapping[str, Any]) -> None:
    """Write the page of a report that ``evaluate_retrieval`` made."""
    write_page(
        path,
        "retrieval.html",
        report=report,
        title=page_title(report),
        summary=_summary(report),
        verdicts=verdicts(report),
        sections=_sections(report),
        oracle=_oracle(report),
        learning=[_learning(curve) for curve in report["learning_curve"]],
    )


def page_title(report: Mapping[str, Any]) -> str:
    """Return the answer in one sentence: what our model, or the best baseline, finds beside popularity."""
    table = report["tables"][0]
    rows = {row["model"]: row for row in table["rows"]}
    lead = report["ours"] or max(rows, key=lambda name: _mean(rows[name]))
    first = f"{f'The {lead}' if report['ours'] else lead.capitalize()} finds {_percent(rows[lead])} of {_ASKED[table['name']]}"
    if "popularity" not in rows or lead == "popularity":
        return first
    found = rows["popularity"]["difference"]
    if found is not None and found[_METRIC]["low"] <= 0 <= found[_METRIC]["high"]:
        return f"{first}, which cannot be told apart from popularity ({_percent(rows['popularity'])})"
    return f"{first}; popularity finds {_percent(rows['popularity'])}"


def verdicts(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return one line a baseline and table: better, worse, or not to be told apart."""
    if report["ours"] is None:
        return []
    return [
        _verdict(table["name"], row)
        for table in report["tables"]
        for row in table["rows"]
        if row["difference"] is not None
    ]


def _verdict(task: str, row: Row) -> dict[str, str]:
    found = row["difference"][_METRIC]
    where = "new items" if task == "new" else "repeats counted"
    size = f"{points(found['mean'], digits_for(abs(found['mean'])))} points against {row['model']}, {where}"
    if found["low"] > 0:
        return {"kind": "better", "text": f"Better: {size}"}
    if found["high"] < 0:
        return {"kind": "worse", "text": f"Worse: {size}"}
    return {"kind": "even", "text": f"Not told apart: {size}"}


def _summary(report: Mapping[str, Any]) -> str:
    table = report["tables"][0]
    return (
        f"Recall@20 over {table['num_users']:,} customers: of all items that a customer chose in the test window, "
        "the share that stood among 20 suggestions made from the history before it. Every model ranks the same "
        f"{report['protocol']['num_candidates']:,} items."
    )


def _sections(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    styles = looks(models_of(report["tables"]))
    return [
        {
            "title": _TITLES[table["name"]][0],
            "text": _TITLES[table["name"]][1],
            "table": table,
            "figures": _figures(table, styles),
        }
        for table in report["tables"]
    ]


def _figures(table: Row, styles: Mapping[str, Look]) -> list[dict[str, Any]]:
    rows = table["rows"]
    shown = [
        (figures.forest(rows, styles, asked=_ASKED[table["name"]]), "How much each model finds in 20 suggestions."),
        (figures.recall_curves(rows, styles), "Longer lists find more; the distance between the lines is the gain."),
        (
            figures.accuracy_and_coverage(rows, styles),
            "Up finds more, right shows more of the catalogue: top right is best.",
        ),
    ]
    models = [row["model"] for row in rows]
    for group in dict.fromkeys(part["group"] for part in table["slices"]):
        parts = [part for part in table["slices"] if part["group"] == group]
        shown.append((figures.slices(parts, styles, models), f"The same lists, cut by {group.lower()}."))
    return [{"svg": svg, "caption": caption} for svg, caption in shown]


def _learning(curve: Row) -> dict[str, Any]:
    svg = figures.learning_curve(
        [(int(step), float(value)) for step, value in curve["points"]], metric=metric_name(curve["metric"])
    )
    return {"svg": svg, "caption": "On the validation window, which the test window does not touch."}


def _oracle(report: Mapping[str, Any]) -> list[str]:
    return [_oracle_sentence(found) for found in report["oracle"]]


def _oracle_sentence(found: Row) -> str:
    shares = ", ".join(
        f"{name} {percent(share['mean'], 0)} ({percent(share['low'], 0)} to {percent(share['high'], 0)})"
        for name, share in found["share_of_oracle"].items()
    )
    return (
        f"Of {_ASKED[found['name']]}, the oracle finds {percent(found[_METRIC])} (Recall@20). Shares of that: {shares}."
    )


def _mean(row: Row) -> float:
    return float(row["metrics"][_METRIC]["mean"])


def _percent(row: Row) -> str:
    return percent(_mean(row), digits_for(_mean(row)))


def models_of(tables: Sequence[Row]) -> list[str]:
    """Return the models of all tables, each once, in order."""
    return list(dict.fromkeys(row["model"] for table in tables for row in table["rows"]))
