"""The section about slots: what each earns for its place, and what should stand where."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from features.insight.collecting import collected
from features.insight.inputs import Inputs, Period
from features.insight.slots.allocation import Allocation, propose
from features.insight.slots.answers import impressions, slot_answers, slot_repeats
from features.insight.slots.definition import SlotDefinition
from features.insight.slots.position import PositionModel, position_model
from features.insight.slots.repeats import spread_of
from features.insight.slots.table import slot_table
from features.report.charts import bars
from features.report.page import number, percent
from features.report.sections import Definition, Drawn, Listed, NothingToShow, Section, records, share_text
from features.report.words import Words

_MOST_SLOTS: Final = 20
_UNIT: Final = {"clicks": "slots.unit_clicks", "purchases": "slots.unit_purchases", "revenue": "slots.unit_revenue"}


def sections(inputs: Inputs, words: Words) -> list[Section]:
    """Return what slots earn, and a proposal of what should stand in them.

    Raises:
        NothingToShow: nothing was shown in a slot, or nothing was clicked there.
        ConfigError: the shop's definition does not fit.
    """
    definition = SlotDefinition.parse(inputs.definitions.get("slots"), where="slots")
    answers, repeats = _answers(inputs, inputs.period, definition)
    if answers.empty:
        raise NothingToShow(words("slots.none_shown"))
    if not answers["clicked"].sum():
        raise NothingToShow(words("slots.none_clicked"))
    model = position_model(answers, spread=spread_of(answers, repeats))
    found = [_earned(slot_table(answers, model, repeats), _before(inputs, definition), model, inputs, words)]
    proposal = propose(model, answers, definition)
    if proposal is not None:
        found.append(_proposed(proposal, definition, inputs, words))
    return found


def _answers(inputs: Inputs, period: Period, definition: SlotDefinition) -> tuple[pd.DataFrame, pd.DataFrame]:
    shown = inputs.table("exposures")
    if shown is None:
        shown = impressions(inputs.log)
    first, last = inputs.instants(period)
    within = shown.filter(f"epoch_us(ts) >= {first} AND epoch_us(ts) < {last}")
    return collected(slot_answers(within, inputs.log, definition)), collected(
        slot_repeats(within, inputs.log, definition)
    )


def _before(inputs: Inputs, definition: SlotDefinition) -> pd.DataFrame | None:
    if inputs.compared is None:
        return None
    answers, repeats = _answers(inputs, inputs.compared, definition)
    if answers.empty or not answers["clicked"].sum():
        return None
    return slot_table(answers, position_model(answers, spread=spread_of(answers, repeats)), repeats)


def _earned(
    table: pd.DataFrame, before: pd.DataFrame | None, model: PositionModel, inputs: Inputs, words: Words
) -> Section:
    top = table[:_MOST_SLOTS]
    names = [str(name) for name in top["slot"]]
    looked = [
        f"{share_text(row.look, 0)} {words('slots.range', low=percent(row.look_low, 0), high=percent(row.look_high, 0))}"
        if row.look == row.look
        else words("slots.cannot_tell")
        for row in records(top)
    ]
    plain = [f"{percent(row.click_rate)} {words('slots.range', low=percent(row.click_rate_low), high=percent(row.click_rate_high))}"
             for row in records(top)]  # fmt: skip
    figures = [
        Drawn(svg=bars(names, values, texts, title=words(key), description=words(key)), caption=words(key))
        for key, values, texts in (
            ("slots.figure_look", top["look"], looked),
            ("slots.figure_clicks", top["click_rate"], plain),
        )
    ]
    least = top.dropna(subset=["look"]).iloc[-1]
    first = top.iloc[0]
    told: dict[str, Any] = {"best": first["slot"], "worst": least["slot"], "share": percent(float(least["look"]), 0)}
    return Section(
        name="slots",
        title=words("slots.title", **told),
        text=words("slots.text"),
        finding=words("slots.finding", **told, low=percent(float(least["look_low"]), 0),
                      high=percent(float(least["look_high"]), 0)),
        drawn=figures,
        listed=[_slots_listed(table, before, inputs, words)],
        notes=[words("slots.apart", slots=words.listing(list(model.apart)))] if model.apart else [],
        defined=[
            Definition(name=words("slots.look"), text=words("slots.look_text"), source=words("slots.look_source")),
            Definition(name=words("slots.appeal"), text=words("slots.appeal_text")),
            Definition(name=words("slots.click_rate"), text=words("slots.click_text")),
        ],
        tables={"slots": table, **({} if before is None else {"slots_before": before})},
    )  # fmt: skip


def _slots_listed(table: pd.DataFrame, before: pd.DataFrame | None, inputs: Inputs, words: Words) -> Listed:
    heads = ["slot", "shown", "click_rate", "look", "appeal", "purchase_rate", "per_thousand"]
    earlier = {} if before is None else before.set_index("slot")["click_rate"].to_dict()
    rows = [
        [
            str(row.slot),
            number(row.shown),
            share_text(row.click_rate),
            *([share_text(earlier.get(row.slot, float("nan")))] if before is not None else []),
            share_text(row.look, 0),
            share_text(row.appeal),
            share_text(row.purchase_rate),
            inputs.money(row.revenue_per_thousand),
        ]
        for row in records(table)
    ]
    if before is not None:
        heads.insert(3, "click_rate_before")
    return Listed(caption=words("slots.table"), columns=[words(f"slots.{head}") for head in heads], rows=rows)


def _proposed(proposal: Allocation, definition: SlotDefinition, inputs: Inputs, words: Words) -> Section:
    titles = inputs.titles(proposal.frame["item_id"])

    def written(value: float) -> str:
        return inputs.money(value) if definition.goal == "revenue" else f"{value:,.1f}"

    rows = [
        [str(row.slot), titles.get(str(row.item_id), str(row.item_id)), share_text(row.look, 0), written(row.now),
         written(row.expected)]
        for row in records(proposal.frame)
    ]  # fmt: skip
    goal = words(_UNIT[definition.goal])
    told = {"gain": percent(proposal.gain, 0), "low": percent(proposal.low, 0), "high": percent(proposal.high, 0)}
    heads = ["slot", "item", "look", "now", "expected"]
    return Section(
        name="allocation",
        title=words("slots.allocation_title", goal=goal, **told),
        text=words("slots.allocation_text"),
        finding=words("slots.allocation_finding", goal=goal, **told),
        listed=[
            Listed(caption=words("slots.allocation_table", goal=goal), rows=rows, open=True,
                   columns=[words(f"slots.{head}") for head in heads])
        ],
        notes=[words("slots.allocation_note")],
        defined=[Definition(name=words("slots.expected"), text=words("slots.expected_text"))],
        tables={"allocation": proposal.frame},
    )  # fmt: skip
