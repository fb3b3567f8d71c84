"""The section about bestsellers: what goes with buying them."""

from __future__ import annotations

from typing import Any

import pandas as pd

from features.insight.bestsellers.definition import BestsellerDefinition
from features.insight.bestsellers.ratios import sign_ratios
from features.insight.bestsellers.signs import SECTION, visit_signs
from features.insight.collecting import collected
from features.insight.inputs import Inputs
from features.report.charts import bars
from features.report.page import number, percent
from features.report.sections import Definition, Drawn, Listed, NothingToShow, Section, records
from features.report.words import Words

_IN_FIGURE, _IN_TABLE = 10, 60


def sections(inputs: Inputs, words: Words) -> list[Section]:
    """Return what visits that buy a bestseller show more often than those that only look at it.

    Raises:
        NothingToShow: no bestseller was looked at often enough, or nothing goes with buying it.
        ConfigError: the shop's definition does not fit.
    """
    definition = BestsellerDefinition.parse(inputs.definitions.get("bestsellers"), where="bestsellers")
    counted = collected(visit_signs(inputs.rows, definition))
    by_item, together = sign_ratios(counted[counted["customers"] >= inputs.minimum], definition)
    listed = together[together["is_listed"]]
    if listed.empty:
        raise NothingToShow(words("bestsellers.none"))
    top = listed.iloc[0]
    told = {"sign": _sign(top, words), "ratio": f"{top['ratio']:.1f}", "low": f"{top['low']:.1f}",
            "high": f"{top['high']:.1f}"}  # fmt: skip
    titles = inputs.titles(by_item.loc[by_item["is_listed"], "item_id"])
    return [
        Section(
            name="bestsellers",
            title=words("bestsellers.title", **told),
            text=words("bestsellers.text", top=definition.top),
            finding=words("bestsellers.finding", **told),
            drawn=[_figure(listed[:_IN_FIGURE], words)],
            listed=[_together(together, words), _by_item(by_item[by_item["is_listed"]], titles, words)],
            notes=[words("bestsellers.note")],
            defined=[
                Definition(name=words("bestsellers.ratio"), text=words("bestsellers.ratio_text"),
                           source=words("bestsellers.source")),
                Definition(name=words("bestsellers.signs"),
                           text=words("bestsellers.signs_text", percent=definition.discount_percent)),
            ],
            tables={"together": together, "by_item": by_item},
        )
    ]  # fmt: skip


def _figure(listed: pd.DataFrame, words: Words) -> Drawn:
    title = words("bestsellers.figure")
    names = [_sign(row, words) for _, row in listed.iterrows()]
    texts = [f"{row.ratio:.2f} ({row.low:.2f}–{row.high:.2f})" for row in records(listed)]
    svg = bars(names, listed["ratio"], texts, title=title, description=title, reference=1.0)
    return Drawn(svg=svg, caption=title)


def _together(together: pd.DataFrame, words: Words) -> Listed:
    rows = [
        [_sign(row, words), number(row["items"]), number(row["with_sign"]), f"{row['ratio']:.2f}", _range(row)]
        for _, row in together[:_IN_TABLE].iterrows()
    ]
    heads = [words(f"bestsellers.{head}") for head in ("sign", "items", "visits", "ratio", "interval")]
    return Listed(caption=words("bestsellers.all"), columns=heads, rows=rows)


def _by_item(listed: pd.DataFrame, titles: Any, words: Words) -> Listed:
    rows = [
        [
            titles.get(row["item_id"], row["item_id"]),
            _sign(row, words),
            percent(row["rate_with"]),
            percent(row["rate_without"]),
            f"{row['ratio']:.2f}",
            _range(row),
        ]
        for _, row in listed[:_IN_TABLE].iterrows()
    ]
    heads = [words(f"bestsellers.{head}") for head in ("item", "sign", "with", "without", "ratio", "interval")]
    return Listed(caption=words("bestsellers.by_item"), columns=heads, rows=rows)


def _sign(row: Any, words: Words) -> str:
    if row["sign"] == SECTION:
        return words("bestsellers.section", section=row["section"])
    return words(f"bestsellers.{row['sign']}")


def _range(row: Any) -> str:
    return "" if pd.isna(row["low"]) else f"{row['low']:.2f}–{row['high']:.2f}"
