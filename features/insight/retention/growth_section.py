"""The section about growth: where active customers come from, and who falls silent."""

from __future__ import annotations

import datetime as dt

import pandas as pd

from features.insight.inputs import Inputs
from features.insight.retention import periods
from features.insight.retention.growth import STATES, growth
from features.insight.retention.stickiness import stickiness
from features.insight.retention.wishes import RetentionWishes, until
from features.privacy.small_groups import suppress_small_groups
from features.report.charts import lines
from features.report.page import percent
from features.report.sections import Card, Definition, Drawn, Listed, Section, decimal, hidden_note, records, whole
from features.report.words import Words


def growth_section(inputs: Inputs, wishes: RetentionWishes, words: Words) -> Section:
    """Return growth accounting and stickiness of the period."""
    rows, period = until(inputs, inputs.period), inputs.period
    table = growth(rows, period=wishes.growth, last_day=period.last_day)
    table = table[table["period"] >= _first(wishes.growth, period.first_day)].reset_index(drop=True)
    sticky = stickiness(rows, last_day=period.last_day)
    sticky = sticky[sticky["day"] >= pd.Timestamp(period.first_day)]
    whole_ones = table[table["complete"]]
    last = records((whole_ones if len(whole_ones) else table).tail(1))[0]
    came, gone = int(last.new + last.resurrected), int(last.dormant)
    told = {"came": came, "gone": gone, "active": int(last.active), "day": words.day(last.period.date())}
    safe = suppress_small_groups(
        table, counts="active", minimum=inputs.minimum, measures=[*STATES, "silent", "change", "quick_ratio"]
    )
    unfinished = int((~table["complete"]).sum())
    figure = lines([words.day(day.date()) for day in table["period"]],
                   {words(f"retention.{state}"): table[state] for state in STATES}, unfinished=unfinished,
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
        cards=_sticky_cards(sticky, words),
        drawn=[Drawn(svg=figure, caption=words("retention.figure_growth"))],
        listed=[Listed(caption=words("retention.growth_table"), rows=listed, columns=[
            words(f"retention.{head}") for head in ("period", *heads, "quick_ratio")])],
        notes=hidden_note(words, safe, inputs.minimum),
        defined=[
            Definition(name=words("retention.accounting"), text=words("retention.accounting_text"),
                       source=words("retention.accounting_source")),
            Definition(name=words("retention.stickiness"), text=words("retention.stickiness_text")),
        ],
        tables={"growth": safe.frame, "stickiness": sticky},
    )  # fmt: skip


def _first(period: periods.Period, day: dt.date) -> pd.Timestamp:
    return pd.Timestamp(periods.first_days(period, [periods.place_of(period, day)])[0])


def _sticky_cards(sticky: pd.DataFrame, words: Words) -> list[Card]:
    known = sticky[sticky["whole_month"] & sticky["complete"]]
    if known.empty:
        return []
    means = known[["dau_wau", "dau_mau", "wau_mau"]].mean()
    return [Card(value=percent(float(means[name])), name=words(f"retention.{name}")) for name in means.index]
