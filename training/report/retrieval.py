"""The retrieval page: what was found, how sure that is, what it costs, where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from features.report.figures import Look, looks
from features.report.page import percent, write_page
from training.report import retrieval_figures as figures
from training.report.list_qualities import list_qualities
from training.report.metric_names import metric_name
from training.report.retrieval_words import (
    ASKED,
    CHAMPION,
    FEW_CUSTOMERS,
    METRIC,
    by_model,
    for_whom,
    in_short,
    kind_of,
    lead_of,
    mean_of,
    page_title,
    rivals,
    summary,
)

Row = Mapping[str, Any]
_TEMPLATE: Final = Path(__file__).with_name("retrieval.html")
_TITLES: Final = {
    "new": ("Items new to the customer", "Neither lists nor answers hold anything that the customer had met before."),
    "all": ("Everything, repeats counted", "Lists may repeat what the customer knows, and repeats count as answers."),
}
# More lines than these in one cut cannot be read; the table beneath has them all.
_DRAWN_IN_CUTS: Final = 4
_PROMINENT: Final = ("for_you", "two-tower", CHAMPION, "personal frequency", "popularity")


def write_retrieval_page(path: Path, report: Mapping[str, Any]) -> None:
    """Write the page of a report that ``evaluate_retrieval`` made."""
    write_page(
        path,
        _TEMPLATE,
        report=report,
        metric_name=metric_name,
        title=page_title(report),
        summary=summary(report),
        in_short=in_short(report),
        sections=_sections(report),
        oracle=[_oracle_sentence(found, report) for found in report["oracle"]],
        learning=[_learning(curve) for curve in report["learning_curve"]],
        training=report.get("training"),
        costs=_costs(report["tables"]),
        models=models_of(report["tables"]),
    )


def _sections(report: Row) -> list[dict[str, Any]]:
    styles = looks(by_prominence(models_of(report["tables"])))
    return [
        {
            "title": _TITLES[table["name"]][0],
            "text": _TITLES[table["name"]][1],
            "table": table,
            "lead": lead_of(report, table),
            "kinds": {row["model"]: kind_of(row["difference"][METRIC]) for row in table["rows"] if row["difference"]},
            "for_whom": for_whom(report, table) if number else [],  # the first table's stand at the top of the page
            "figures": _figures(table, styles),
            "qualities": list_qualities(table),
            "cuts": _cuts(report, table, styles),
            "few": FEW_CUSTOMERS if any(part["num_users"] < FEW_CUSTOMERS for part in table["slices"]) else None,
        }
        for number, table in enumerate(report["tables"])
    ]


def _figures(table: Row, styles: Mapping[str, Look]) -> list[dict[str, Any]]:
    rows = table["rows"]
    return [
        {
            "svg": figures.forest(rows, styles, asked=ASKED[table["name"]]),
            "caption": "How much each model finds in 20 suggestions.",
        },
        {
            "svg": figures.accuracy_and_coverage(rows, styles),
            "caption": "Up finds more, right shows more of the catalogue: top right is best.",
        },
        {
            "svg": figures.recall_curves(rows, styles),
            "caption": "Longer lists find more; the distance between the lines is the gain.",
        },
    ]


def _cuts(report: Row, table: Row, styles: Mapping[str, Look]) -> list[dict[str, Any]]:
    drawn = drawn_in_cuts(report, table)
    shown = [part for part in table["slices"] if part["num_users"] >= FEW_CUSTOMERS]
    groups = dict.fromkeys(part["group"] for part in shown)
    parts = {group: [part for part in shown if part["group"] == group] for group in groups}
    return [
        {"svg": figures.slices(cuts, styles, drawn), "caption": f"The same lists, cut by {_within(group)}."}
        for group, cuts in parts.items()
    ]


def _within(title: str) -> str:
    """Return a title as it stands within a sentence: "Growth stage" small, "RFM segment" as it is."""
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def drawn_in_cuts(report: Row, table: Row) -> list[str]:
    """Return the models that figures of cuts show: ours, the champion, the best baseline and popularity."""
    rows = by_model(table)
    if lead_of(report, table) is None:
        return sorted(rows, key=lambda name: -mean_of(rows[name]))[:_DRAWN_IN_CUTS]
    others = sorted(rivals(report, table), key=lambda name: -mean_of(rows[name]))
    wanted = [lead_of(report, table), CHAMPION, report["ours"], *others[:1], "popularity", *others]
    return [name for name in dict.fromkeys(wanted) if name in rows][:_DRAWN_IN_CUTS]


def _learning(curve: Row) -> dict[str, Any]:
    measured = curve["metric"] != "loss"
    svg = figures.learning_curve(
        [(int(step), float(value)) for step, value in curve["points"]],
        metric=metric_name(curve["metric"]) if measured else "training loss",
        validated=measured,
    )
    caption = "On the validation window, which the test window does not touch." if measured else "On training batches."
    return {"svg": svg, "caption": caption}


def _costs(tables: Sequence[Row]) -> list[dict[str, Any]]:
    """Return what each model took, fastest answers first; nothing where reports hold no costs."""
    table = tables[-1]
    found = [
        {
            "model": row["model"],
            "fit_cpu_s": row["cost"]["fit_cpu_s"],
            "fit_wall_s": row["cost"]["fit_wall_s"],
            "answer_ms": 1000 * row["cost"]["answer_wall_s"] / table["num_users"],
        }
        for row in table["rows"]
        if row.get("cost") and row["cost"].get("answer_wall_s") is not None
    ]
    return sorted(found, key=lambda row: float(row["answer_ms"]))


def _oracle_sentence(found: Row, report: Row) -> str:
    table = next(table for table in report["tables"] if table["name"] == found["name"])
    shares = ", ".join(
        f"{name} {percent(share['mean'], 0)} ({percent(share['low'], 0)} to {percent(share['high'], 0)})"
        for name, share in found["share_of_oracle"].items()
        if name in drawn_in_cuts(report, table)
    )
    return (
        f"Of {ASKED[found['name']]}, the oracle finds {percent(found[METRIC])} (Recall@20). Shares of that: {shares}."
    )


def by_prominence(models: Sequence[str]) -> list[str]:
    """Return models with those first that figures of cuts show, so that colours, which run out, tell them apart.

    >>> by_prominence(["two-tower", "EASE", "popularity", "for_you"])
    ['for_you', 'two-tower', 'popularity', 'EASE']
    """
    return sorted(models, key=lambda name: _PROMINENT.index(name) if name in _PROMINENT else len(_PROMINENT))


def models_of(tables: Sequence[Row]) -> list[str]:
    """Return the models of all tables, each once, in order."""
    return list(dict.fromkeys(row["model"] for table in tables for row in table["rows"]))
