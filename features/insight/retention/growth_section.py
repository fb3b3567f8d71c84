"""The section about growth: where active customers come from, and who falls silent."""

from __future__ import annotations

import datetime as dt
import itertools

import pandas as pd

from features.insight.inputs import Inputs
from features.insight.retention import periods
from features.insight.retention.growth import STATES, growth
from features.insight.retention.stickiness import stickiness
from features.insight.retention.wishes import RetentionWishes, until, watched
from features.privacy.small_groups import suppress_small_groups
from features.report.charts import lines
from features.report.page import percent
from features.report.sections import (
    Card,
    Definition,
    Drawn,
    Listed,
    Section,
    decimal,
    hidden_note,
    numbers,
    records,
    whole,
)
from features.report.words import Words


def growth_section(inputs: Inputs, wishes: RetentionWishes, words: Words) -> Section | None:
    """Return growth accounting and stickiness of the period; nothing where no part of it had customers enough."""
    rows, period = until(inputs, inputs.period), inputs.period
    last_day, is_over = watched(inputs, period)
    table = growth(rows, period=wishes.growth, last_day=last_day, is_over=is_over)
    table = table[table["period"] >= _first(wishes.growth, period.first_day)].reset_index(drop=True)
    sticky = stickiness(rows, last_day=last_day, is_over=is_over)
    sticky = sticky[sticky["day"] >= pd.Timestamp(period.first_day)]
    safe = suppress_small_groups(
        table, counts="active", minimum=inputs.minimum, measures=[*STATES, "silent", "change", "quick_ratio"]
    )
    enough = table[~safe.hidden & (table["active"] > 0).to_numpy(bool)]
    if enough.empty:
        return None
    whole_ones = enough[enough["complete"]]
    last = records((whole_ones if len(whole_ones) else enough).tail(1))[0]
    came, gone = int(last.new + last.resurrected), int(last.dormant)
    told = {"came": came, "gone": gone, "active": int(last.active), "day": words.day(last.period.date())}
    unfinished = int((~table["complete"]).sum())
    figure = lines([words.day(day.date()) for day in table["period"]],
                   {words(f"retention.{state}"): numbers(safe.frame[state]) for state in STATES}, unfinished=unfinished,
                   title=words("retention.figure_growth"), description=words("retention.figure_growth"))  # fmt: skip
    heads = ["active", *STATES, "silent"]
    listed = [
        [words.day(row.period.date()), *(whole(getattr(row, name)) for name in heads), decimal(row.quick_ratio, 2)]
        for row in records(safe.frame)
    ]
    return Section(
        name="growth",
        title=words(f"retention.growth_{'up' if came >= gone else 'down'}", **told),
        text=words("retention.growth_text"),
        finding=words("retention.growth_finding", **told),
        cards=_sticky_cards(sticky, inputs.minimum, words),
        drawn=[Drawn(svg=figure, caption=words("retention.figure_growth"))],
        listed=[Listed(caption=words("retention.growth_table"), rows=listed, columns=[
            words(f"retention.{head}") for head in ("period", *heads, "quick_ratio")])],
        notes=hidden_note(words, safe, inputs.minimum),
        defined=[
            Definition(name=words("retention.accounting"), text=words("retention.accounting_text"),
                       source=words("retention.accounting_source")),
            Definition(name=words("retention.stickiness"), text=words("retention.stickiness_text")),
        ],
        tables={"growth": safe.frame, "stickiness": _safe(sticky, inputs.minimum)},
    )  # fmt: skip


def _first(period: periods.Period, day: dt.date) -> pd.Timestamp:
    return pd.Timestamp(periods.first_days(period, [periods.place_of(period, day)])[0])


def _safe(sticky: pd.DataFrame, minimum: int) -> pd.DataFrame:
    """Return stickiness without the counts of few customers, and without the ratios that would give them back."""
    shown = sticky.copy()
    small = {name: ((sticky[name] > 0) & (sticky[name] < minimum)).to_numpy(bool) for name in ("dau", "wau", "mau")}
    for name, few in small.items():
        shown[name] = sticky[name].convert_dtypes().mask(few)
    for part, of in itertools.combinations(small, 2):
        for end in ("", "_low", "_high"):
            name = f"{part}_{of}{end}"
            shown[name] = sticky[name].convert_dtypes().mask(small[part] | small[of])
    return shown


def _sticky_cards(sticky: pd.DataFrame, minimum: int, words: Words) -> list[Card]:
    known = sticky[sticky["whole_month"] & sticky["complete"] & (sticky["mau"] >= minimum)]
    if known.empty:
        return []
    means = known[["dau_wau", "dau_mau", "wau_mau"]].mean()
    return [Card(value=percent(float(means[name])), name=words(f"retention.{name}")) for name in means.index]
