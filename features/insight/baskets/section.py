"""The section about baskets: pairs and bundles that are bought together."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from features.insight.baskets.definition import BasketDefinition
from features.insight.baskets.rules import basket_rules
from features.insight.inputs import Inputs
from features.report.charts import bars
from features.report.page import number, percent
from features.report.sections import Definition, Drawn, Listed, NothingToShow, Section, records, short
from features.report.words import Words

_IN_FIGURE, _IN_TABLE = 10, 50
_LETTERS: Final = 12
_HEADS: Final = ("if", "then", "orders", "support", "confidence", "lift")


def sections(inputs: Inputs, words: Words) -> list[Section]:
    """Return what is bought together.

    Raises:
        NothingToShow: no two things are, beyond chance.
        ConfigError: the shop's definition does not fit.
    """
    definition = BasketDefinition.parse(inputs.definitions.get("baskets"), where="baskets")
    rules, bundles, total = basket_rules(inputs.rows, inputs.items, definition)
    rules, bundles = (frame[frame["customers"] >= inputs.minimum] for frame in (rules, bundles))
    listed = rules[rules["is_listed"] & (rules["lift_low"] > 1)]
    if listed.empty:
        raise NothingToShow(words("baskets.none"))
    named = _names(inputs, definition, listed, bundles)
    pairs = _each_once(listed)
    top = pairs.iloc[0]
    told = {"one": named(top["if"]), "other": named(top["then"]), "lift": f"{top['lift']:,.1f}",
            "low": f"{top['lift_low']:,.1f}", "high": f"{top['lift_high']:,.1f}", "orders": int(top["orders"]),
            "confidence": percent(float(top["confidence"]), 0)}  # fmt: skip
    return [
        Section(
            name="baskets",
            title=words("baskets.title", **told),
            text=words("baskets.text", orders=total, least=definition.min_orders, share=definition.false_share),
            finding=words("baskets.finding", **told),
            drawn=[_figure(pairs[:_IN_FIGURE], named, words)],
            listed=[_rules_listed(listed[:_IN_TABLE], named, words), *_bundles_listed(bundles, named, words)],
            defined=[
                Definition(name=words(f"baskets.{name}"), text=words(f"baskets.{name}_text"),
                           source=words("baskets.source") if name == "lift" else "")
                for name in ("support", "confidence", "lift", "chance")
            ],
            tables={"rules": rules, "bundles": bundles},
        )
    ]  # fmt: skip


def _each_once(rules: pd.DataFrame) -> pd.DataFrame:
    """Return each pair the way round that has the larger confidence."""
    both = rules[["if", "then"]].min(axis=1), rules[["if", "then"]].max(axis=1)
    kept = rules.assign(a=both[0], b=both[1]).sort_values("confidence", ascending=False, kind="stable")
    once = kept.drop_duplicates(["a", "b"]).drop(columns=["a", "b"])
    return once.sort_values(["lift_low", "if"], ascending=[False, True], ignore_index=True)


def _figure(top: pd.DataFrame, named: Any, words: Words) -> Drawn:
    title = words("baskets.figure")
    labels = [f"{_bare(named(row[0]))} →\n{_bare(named(row[1]))}" for row in top[["if", "then"]].to_numpy()]
    texts = [f"{row.lift:,.1f} ({row.lift_low:,.1f}–{row.lift_high:,.1f})" for row in records(top)]
    return Drawn(svg=bars(labels, top["lift"], texts, title=title, description=title), caption=title)


def _rules_listed(rules: pd.DataFrame, named: Any, words: Words) -> Listed:
    rows = [
        [named(row["if"]), named(row["then"]), number(row["orders"]), percent(row["support"], 2), percent(row["confidence"]),
         f"{row['lift']:,.1f} ({row['lift_low']:,.1f}–{row['lift_high']:,.1f})"]
        for _, row in rules.iterrows()
    ]  # fmt: skip
    return Listed(caption=words("baskets.rules"), columns=[words(f"baskets.{head}") for head in _HEADS], rows=rows)


def _bundles_listed(bundles: pd.DataFrame, named: Any, words: Words) -> list[Listed]:
    if bundles.empty:
        return []
    rows = [
        [*(named(row[f"thing_{x}"]) for x in "abc"), number(row["orders"]), percent(row["support"], 2), f"{row['lift']:,.1f}"]
        for _, row in bundles[:_IN_TABLE].iterrows()
    ]  # fmt: skip
    heads = [words("baskets.first"), words("baskets.second"), words("baskets.third"), words("baskets.orders"),
             words("baskets.support"), words("baskets.lift")]  # fmt: skip
    return [Listed(caption=words("baskets.bundles"), columns=heads, rows=rows)]


def _names(inputs: Inputs, definition: BasketDefinition, rules: pd.DataFrame, bundles: pd.DataFrame) -> Any:
    """Return what gives each thing its name: the title of an item."""
    if definition.of != "item":
        return str
    things = [*rules[:_IN_TABLE]["if"], *rules[:_IN_TABLE]["then"]]
    things += [thing for x in "abc" for thing in bundles[:_IN_TABLE][f"thing_{x}"]]
    titles = inputs.titles(things)
    return lambda thing: titles.get(thing, thing)


def _bare(name: str) -> str:
    """Return a name without its id, cut so that two of them fit beside a bar.

    >>> _bare("Lindora bold rice M (i000397)")
    'Lindora bol…'
    """
    return short(name.split(" (", maxsplit=1)[0], letters=_LETTERS)
