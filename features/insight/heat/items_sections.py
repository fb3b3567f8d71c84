"""The sections about what rises and falls, and about price bands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from features.insight.heat.movers import MoversDefinition, movers
from features.insight.heat.popular import HeatDefinition, heat
from features.insight.heat.price_bands import price_band_shares
from features.insight.heat.wishes import HeatWishes, Past
from features.insight.inputs import Inputs
from features.privacy.small_groups import suppress_small_groups
from features.report.charts import bars, lines
from features.report.page import percent, points
from features.report.sections import (
    Definition,
    Drawn,
    Listed,
    Section,
    decimal,
    numbers,
    records,
    share_text,
    short,
    whole,
)
from features.report.words import Words

_MOST_ROWS = 20
_BARS = 12
_LETTERS = 32  # of a name beside a bar


def movers_section(inputs: Inputs, words: Words) -> Section | None:
    """Return what is hot, and what rises and falls by more than chance; nothing where there is too little of it.

    Both look back beyond the period's first day: a period of four weeks is held against the four before it.
    """
    wishes = HeatWishes.parse(inputs.definitions.get("heat"), where="heat")
    past = Past.of(inputs)
    if past is None:
        return None
    moving, warm = wishes.movers, _warm(past, wishes.hot, inputs)
    table = _moving(past, moving, inputs)
    if warm.empty or (table is not None and table.empty):
        return None
    told: dict[str, Any] = {"days": moving.period_days, "needed": 2 * moving.period_days}
    defined = [Definition(name=words("heat.heat"), text=words("heat.heat_text", days=wishes.hot.half_life_days))]
    names = _names(inputs, warm, wishes.hot.by)
    hottest, hot = _hottest(warm, names, words), _hot(warm, names, words)
    if table is None:
        return Section(
            name="movers",
            title=words("heat.movers_short", **told),
            text=words("heat.movers_short_text", **told),
            drawn=[hottest],
            listed=[hot],
            defined=defined,
            tables={"hot": warm},
        )
    rising, falling = (table[table["verdict"] == name] for name in ("mover", "faller"))
    told |= {"rising": len(rising), "falling": len(falling), "number": len(table)}
    moved = table[table["verdict"] != ""]
    return Section(
        name="movers",
        title=words("heat.movers_title" if len(moved) else "heat.movers_none", **told),
        text=words("heat.movers_text", **told),
        finding=words("heat.movers_finding", **told),
        drawn=[hottest],
        listed=[_moved(moved, _names(inputs, moved, moving.by), words), hot] if len(moved) else [hot],
        defined=[
            Definition(name=words("heat.chance"), text=words("heat.chance_text", level=percent(moving.level, 0)),
                       source="Robinson, Smyth 2008; Lund et al. 2012; Benjamini, Hochberg 1995"),
            *defined,
        ],
        tables={"movers": table, "hot": warm},
    )  # fmt: skip


def _moving(past: Past, definition: MoversDefinition, inputs: Inputs) -> pd.DataFrame | None:
    """Return what rises and falls; nothing at all where the log begins within the earlier of the two periods."""
    if not past.has(2 * definition.period_days):
        return None
    table = movers(past.rows, definition, as_of=past.as_of, items=inputs.items)
    return table[table["num_customers"] >= inputs.minimum]


def _warm(past: Past, definition: HeatDefinition, inputs: Inputs) -> pd.DataFrame:
    """Return what is hot, without trends where the log begins within the days that they are held against."""
    table = heat(past.rows, definition, as_of=past.as_of, items=inputs.items)
    if not past.has(2 * definition.trend_days):
        table = table.assign(change=np.nan, low=np.nan, high=np.nan, trend="")
    return table[table["num_customers"] >= inputs.minimum]


def _names(inputs: Inputs, table: pd.DataFrame, by: str) -> dict[str, str]:
    """Return what items are called; nothing for categories, which are their own names."""
    return inputs.titles(table["value"].head(_MOST_ROWS)) if by == "item" else {}


def _hottest(warm: pd.DataFrame, titles: dict[str, str], words: Words) -> Drawn:
    top = warm.head(_BARS)
    names = [short(titles.get(value, value), letters=_LETTERS, item_id=value) for value in top["value"]]
    trends = [words(f"heat.trend_{trend}") if trend else "" for trend in top["trend"]]
    svg = bars(names, top["heat"], trends, title=words("heat.figure_hot"), description=words("heat.figure_hot"))
    return Drawn(svg=svg, caption=words("heat.figure_hot"))


def _moved(moved: pd.DataFrame, titles: dict[str, str], words: Words) -> Listed:
    rows = [
        [
            titles.get(row.value, row.value),
            words(f"heat.{row.verdict}"),
            whole(row.before),
            whole(row.now),
            f"×{row.change:.2f}",
            words("heat.range", low=f"{row.low:.2f}", high=f"{row.high:.2f}"),
            decimal(row.q, 4),
        ]
        for row in records(moved.head(_MOST_ROWS))
    ]
    heads = ["of", "verdict", "before", "now", "change", "interval", "q"]
    return Listed(
        caption=words("heat.movers_table"), columns=[words(f"heat.{head}") for head in heads], rows=rows, open=True
    )


def _hot(warm: pd.DataFrame, titles: dict[str, str], words: Words) -> Listed:
    rows = [
        [
            titles.get(row.value, row.value),
            decimal(row.heat, 1),
            "" if pd.isna(row.change) else f"×{row.change:.2f}",
            "" if pd.isna(row.low) else words("heat.range", low=f"{row.low:.2f}", high=f"{row.high:.2f}"),
            words(f"heat.trend_{row.trend}") if row.trend else "",
        ]
        for row in records(warm.head(_MOST_ROWS))
    ]
    heads = ["of", "heat", "change", "interval", "trend"]
    return Listed(caption=words("heat.hot_table"), columns=[words(f"heat.{head}") for head in heads], rows=rows)


def prices_section(inputs: Inputs, words: Words) -> Section | None:
    """Return price bands browsed against price bands bought; nothing where nothing was looked at, or bought."""
    table = price_band_shares(inputs.rows, inputs.items, num_bands=inputs.shop.num_price_bands)
    if table.empty or not table["looked"].sum() or not table["bought"].sum():
        return None
    measures = ["looked", "bought", "browsed_share", "bought_share", "difference", "low", "high"]
    shown = suppress_small_groups(table, counts="num_customers", minimum=inputs.minimum, measures=measures).frame
    known = shown.dropna(subset=["difference"])
    if known.empty:
        return None
    most = records(known.loc[[known["difference"].astype(float).abs().idxmax()]])[0]
    told = {"band": int(most.band), "bands": inputs.shop.num_price_bands, "browsed": percent(most.browsed_share),
            "bought": percent(most.bought_share), "low": points(most.low), "high": points(most.high)}  # fmt: skip
    names = [words("heat.band_name", band=int(band)) for band in known["band"]]
    figure = lines(names, {words(f"heat.{name}"): numbers(known[name]) for name in ("browsed_share", "bought_share")},
                   as_share=True, title=words("heat.figure_bands"), description=words("heat.figure_bands"))  # fmt: skip
    rows = [
        [words("heat.band_name", band=int(row.band)), share_text(row.browsed_share), share_text(row.bought_share),
         points(row.difference), words("heat.range", low=points(row.low), high=points(row.high))]
        for row in records(known)
    ]  # fmt: skip
    same = most.low <= 0 <= most.high
    side = "more" if most.difference > 0 else "less"
    return Section(
        name="prices",
        title=words("heat.prices_same" if same else f"heat.prices_{side}", **told),
        text=words("heat.prices_text", **told),
        finding=words("heat.prices_finding", **told),
        drawn=[Drawn(svg=figure, caption=words("heat.figure_bands"))],
        listed=[Listed(caption=words("heat.prices_table"), rows=rows, columns=[
            words(f"heat.{head}") for head in ("band", "browsed_share", "bought_share", "difference", "interval")])],
        notes=[words("heat.untimed")] if not table["timed"].sum() else [],
        defined=[Definition(name=words("heat.band"), text=words("heat.band_text"))],
        tables={"bands": shown},
    )  # fmt: skip
