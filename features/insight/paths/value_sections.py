"""The sections about what pages and searches lead to."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from features import columns as c
from features.insight.collecting import collected
from features.insight.inputs import Inputs
from features.insight.paths.definition import NodeDefinition, PathDefinition
from features.insight.paths.rates import shares
from features.insight.paths.search import OUTCOME, TERM, search_counts, search_terms
from features.insight.paths.steps import AUDIENCE, NODE
from features.insight.paths.value import ALL_VISITS, node_values, value_counts
from features.insight.paths.wording import interval, step_name
from features.report.charts import bars
from features.report.sections import Definition, Drawn, Listed, Section, capital, greatest, records, share_text, whole
from features.report.words import Words

_BY: Final = ("section", c.SLOT, c.EVENT_TYPE)  # the first that the log has
_MOST: Final = 12


def pages_section(inputs: Inputs, words: Words) -> Section | None:
    """Return what visits brought after each page, slot or kind of event; nothing where nobody bought."""
    by = next(name for name in _BY if inputs.rows.filter(f"{name} IS NOT NULL").project(name).limit(1).fetchall())
    definition = PathDefinition(node=NodeDefinition(by=(by,)))
    found = node_values(collected(value_counts(inputs.rows, definition))).drop(columns=AUDIENCE)
    found = found[found["users"] >= inputs.minimum].reset_index(drop=True)
    nodes = found[found[NODE] != ALL_VISITS].sort_values("revenue_per_visit", ascending=False, kind="stable")
    if nodes.empty or not nodes["revenue"].sum() or len(nodes) == len(found):
        return None
    # The largest of many means is large by chance, too: the one whose interval lies highest is spoken of.
    total, top, shown = records(found[found[NODE] == ALL_VISITS])[0], greatest(nodes, "revenue_low"), nodes[:_MOST]
    key = "title" if top.revenue_low > total.revenue_per_visit else "title_plain"
    kind = words(f"paths.by_{by}")
    told = {"node": step_name(top.node, words), "kind": kind, "money": inputs.money(top.revenue_per_visit),
            "all": inputs.money(total.revenue_per_visit)}  # fmt: skip
    svg = bars([step_name(name, words) for name in shown[NODE]], shown["revenue_per_visit"],
               [inputs.money(one) for one in shown["revenue_per_visit"]], title=words("paths.value_figure", kind=kind),
               description=words("paths.value_figure", kind=kind), reference=float(total.revenue_per_visit))  # fmt: skip
    return Section(
        name="paths_value",
        title=words(f"paths.value_{key}", **told),
        text=words("paths.value_text", kind=kind),
        finding=words(
            "paths.value_finding", **told, low=inputs.money(top.revenue_low), high=inputs.money(top.revenue_high)
        ),
        drawn=[Drawn(svg=svg, caption=words("paths.value_figure", kind=kind))],
        listed=[_values_listed(found, inputs, words)],
        notes=[words("paths.value_note")],
        defined=[
            Definition(name=words("paths.value"), text=words("paths.value_defined"), source=words("paths.value_source"))
        ],
        tables={"pages": found},
    )


def _values_listed(found: pd.DataFrame, inputs: Inputs, words: Words) -> Listed:
    money = inputs.money
    rows = [
        [step_name(row.node, words), whole(row.visits), interval(row.conversion, row.conversion_low, row.conversion_high, words),
         words("paths.between", share=money(row.revenue_per_visit), low=money(row.revenue_low), high=money(row.revenue_high))]
        for row in records(found)
    ]  # fmt: skip
    heads = [words(f"paths.{name}") for name in ("node", "visits", "conversion", "per_visit")]
    return Listed(caption=words("paths.value_table"), columns=heads, rows=rows)


def search_section(inputs: Inputs, words: Words) -> Section | None:
    """Return what follows searches; nothing where nobody searched with words."""
    counts = collected(search_counts(inputs.rows))
    if counts.empty:
        return None
    total = _all_terms(counts)
    terms = search_terms(counts)
    terms = terms[terms["users"] >= inputs.minimum].drop(columns=AUDIENCE).reset_index(drop=True)
    if terms.empty:
        return None
    shown, told = terms[:_MOST], {one.outcome: one for one in records(total)}
    svg = bars(list(shown[TERM]), shown["bought"], [share_text(one, 0) for one in shown["bought"]],
               title=words("paths.search_figure"), description=words("paths.search_figure"))  # fmt: skip
    names = ("viewed", "carted", "bought", "refined", "nothing")
    rows = [
        [row.term, whole(row.searches), *(share_text(getattr(row, name)) for name in names)] for row in records(terms)
    ]
    nothing, bought = told["nothing"], told["bought"]
    title = words("paths.search_title", share=words.fraction(float(bought.share)))
    return Section(
        name="paths_search",
        title=capital(title),
        text=words("paths.search_text"),
        finding=words("paths.search_finding", nothing=interval(nothing.share, nothing.low, nothing.high, words),
                      bought=interval(bought.share, bought.low, bought.high, words)),
        drawn=[Drawn(svg=svg, caption=words("paths.search_figure"))],
        listed=[Listed(caption=words("paths.search_table"), rows=rows,
                       columns=[words("paths.term"), words("paths.searches"), *(words(f"paths.{name}") for name in names)])],
        notes=[words("paths.search_note")],
        defined=[Definition(name=words("paths.search"), text=words("paths.search_defined"))],
        tables={"searches": terms},
    )  # fmt: skip


def _all_terms(counts: pd.DataFrame) -> Any:
    """All searches together; a customer's terms count as independent visits of it."""
    return shares(counts.drop(columns=[TERM, AUDIENCE]).groupby(OUTCOME, as_index=False).sum())
