"""The section about items: which are looked at and then left."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from features import columns as c
from features.insight.funnels.items import ITEM_FUNNEL, item_funnels
from features.insight.funnels.wording import interval_text
from features.insight.inputs import Inputs
from features.privacy.small_groups import suppress_small_groups
from features.report.charts import bars
from features.report.page import percent
from features.report.sections import Definition, Drawn, Listed, Section, numbers, records, share_text, short, whole
from features.report.words import Words

_DRAWN: Final = 8
_LISTED: Final = 20
_LETTERS: Final = 28  # of a name, in a figure


def item_section(inputs: Inputs, words: Words) -> Section | None:
    """Return items that lose most customers on their way from being looked at to being bought.

    What an item loses is how many more would have bought it, had it sold as all items do: its viewers x (the rate of
    all - its shrunk rate). Nothing where too few items are looked at.
    """
    table = item_funnels(inputs.rows)
    known = table[table["num_view"] >= max(inputs.minimum, 1)].reset_index(drop=True)
    if len(known) < 3 or not known["num_purchase"].sum():
        return None
    usual = known["num_purchase"].sum() / known["num_view"].sum()
    known["lost"] = known["num_view"] * (usual - known["overall_shrunk"])
    titles = inputs.titles(known[c.ITEM_ID])
    known["title"] = [titles.get(item_id, item_id) for item_id in known[c.ITEM_ID]]
    shown = _hidden(known, inputs.minimum)
    told = known[shown["overall_rate"].notna()]  # a shrunk rate would give a hidden count away
    below = told[told["overall_rate_high"] < usual]
    worst = (below if len(below) else told).sort_values(["lost", c.ITEM_ID], ascending=[False, True])
    if not len(worst):
        return None
    return Section(
        name="items",
        title=_title(worst, below, words),
        text=words("funnels.items_text"),
        finding=words("funnels.items_finding", count=len(below), items=len(told), rate=percent(usual)),
        drawn=[_bars(worst[:_DRAWN], usual, words)],
        listed=[_listed(shown.loc[worst.index[:_LISTED]], words)],
        defined=_defined(words),
        tables={"funnels": shown},
    )


def _hidden(table: pd.DataFrame, minimum: int) -> pd.DataFrame:
    """Hide what would tell of few customers; an item's numbers add up to no total that is shown."""
    shown = table.drop(columns="lost")
    # A rate tells both its counts.
    for name, rates in (("cart", ("cart", "purchase")), ("purchase", ("purchase", "overall"))):
        measures = [f"{one}{end}" for one in rates for end in ("_rate", "_rate_low", "_rate_high", "_shrunk")]
        measures += ["total_seconds_p50"] if name == "purchase" else []
        shown = suppress_small_groups(
            shown, counts=f"num_{name}", minimum=minimum, measures=measures, within=[c.ITEM_ID]
        ).frame  # fmt: skip
    return shown


def _title(worst: pd.DataFrame, below: pd.DataFrame, words: Words) -> str:
    if not len(below):
        return words("funnels.items_title_none")
    return words("funnels.items_title", item=records(worst[:1])[0].title)


def _bars(worst: pd.DataFrame, usual: float, words: Words) -> Drawn:
    names = [short(row.title, letters=_LETTERS, item_id=row.item_id) for row in records(worst)]
    texts = [
        words("funnels.items_bar", rate=share_text(row.overall_shrunk), viewers=int(row.num_view))
        for row in records(worst)
    ]
    title = words("funnels.figure_items", rate=percent(usual))
    svg = bars(names, numbers(worst["overall_shrunk"]), texts, title=title, description=title, reference=usual)
    return Drawn(svg=svg, caption=title)


def _listed(table: pd.DataFrame, words: Words) -> Listed:
    def cells(row: Any) -> list[str]:
        return [
            str(row.title),
            *(whole(getattr(row, f"num_{name}")) for name in ITEM_FUNNEL.names),
            interval_text(row.cart_rate, row.cart_rate_low, row.cart_rate_high, words),
            interval_text(row.purchase_rate, row.purchase_rate_low, row.purchase_rate_high, words),
            interval_text(row.overall_rate, row.overall_rate_low, row.overall_rate_high, words),
            share_text(row.overall_shrunk),
        ]

    heads = ("item", "viewed", "carted", "bought", "cart_rate", "purchase_rate", "overall_rate", "shrunk")
    return Listed(
        caption=words("funnels.items_table"),
        columns=[words(f"funnels.head_{one}") for one in heads],
        rows=[cells(row) for row in records(table)],
    )


def _defined(words: Words) -> list[Definition]:
    return [
        Definition(
            name=words("funnels.head_shrunk"),
            text=words("funnels.defined_shrunk"),
            source="Kleinman 1973, J. Am. Stat. Assoc. 68",
        )
    ]
