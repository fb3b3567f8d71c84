"""The sections about funnels: where customers drop out, which items lose them, and what they leave in the cart."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import duckdb
import numpy as np
import pandas as pd

from features import columns as c
from features.errors import ConfigError
from features.insight.funnels.attempts import funnel
from features.insight.funnels.breakdown import Breakdown, with_breakdowns
from features.insight.funnels.cart_section import cart_section
from features.insight.funnels.definition import FunnelDefinition
from features.insight.funnels.item_section import item_section
from features.insight.funnels.steps import Step
from features.insight.funnels.table import step_table
from features.insight.funnels.trend import PERIOD_DAY, Every, trend
from features.insight.funnels.wording import change_text, duration, interval_text, step_name, window_text
from features.insight.inputs import Inputs, Period
from features.privacy.small_groups import suppress_small_groups
from features.report.charts import bars, lines
from features.report.page import percent
from features.report.sections import (
    HIDDEN,
    Definition,
    Drawn,
    Listed,
    NothingToShow,
    Section,
    capital,
    hidden_note,
    numbers,
    records,
    share_text,
    whole,
)  # fmt: skip
from features.report.words import Words

_SHOPPING: Final = (c.VIEW, c.CART, c.CHECKOUT, c.PURCHASE)
_MEASURES: Final = (
    *(
        "num_base",
        "step_worth",
        "overall_worth",
        "num_open",
        "num_excluded",
        "step_rate",
        "step_rate_low",
        "step_rate_high",
    ),
    *("overall_rate", "overall_rate_low", "overall_rate_high"),
)
_numbers: Final = itertools.count()


def sections(inputs: Inputs, words: Words) -> list[Section]:
    """Return the shop's funnels, or the one from a look to an order, then items and carts.

    Raises:
        NothingToShow: there are no two steps to go, or too few customers went any; and too few items or carts. Where
            there is something to show, a note says what there is not.
        ConfigError: the shop's definitions do not fit.
    """
    found, reasons = [], []
    definitions = _definitions(inputs)
    if not definitions:
        reasons.append(NothingToShow(words("funnels.no_steps")))
    for name, definition in definitions.items():
        title = "" if name == c.PURCHASE else name
        try:
            found.append(funnel_section(inputs, definition, words, name=f"funnel_{name}", title=title))
        except NothingToShow as reason:
            reasons.append(reason)
    more = (item_section(inputs, words), cart_section(inputs, words))
    found += [one for one in more if one is not None]
    if not found:
        raise reasons[0]
    return [_with_reasons(found[0], reasons, words), *found[1:]]


def _with_reasons(section: Section, reasons: Sequence[NothingToShow], words: Words) -> Section:
    """Say beside a section what there is nothing to show of."""
    told = [words("funnels.missing", reason=str(reason)) for reason in reasons]
    return dataclasses.replace(section, notes=[*section.notes, *told])


def funnel_section(
    inputs: Inputs, definition: FunnelDefinition, words: Words, *, name: str, title: str = ""
) -> Section:
    """Return a section about one funnel.

    Args:
        inputs: rows of the period are what is counted; what had not happened by its end may still.
        definition: the funnel.
        words: of the page.
        name: of the section's anchor and tables.
        title: what the funnel is called; the answer stands behind it.

    Raises:
        NothingToShow: fewer units entered than may be shown.
    """
    rows, last_at_us = inputs.rows, inputs.known_until_us(inputs.period)
    with _stored(funnel(rows, definition, inputs.items), inputs) as attempts:
        table = step_table(attempts, definition, last_at_us=last_at_us)
        if table["num_units"].max() < max(inputs.minimum, 1):
            raise NothingToShow(words("funnels.too_few", name=title or _way(definition, words)))
        apart = _by_channel(attempts, definition, inputs, last_at_us)
    moves = trend(rows, definition, inputs.items, last_at_us=last_at_us, every=_every(inputs.period))
    before = _before(inputs, definition)
    shown = suppress_small_groups(
        table, counts="num_units", minimum=inputs.minimum, measures=_MEASURES + _times(table), within=["step"]
    )
    by_period = suppress_small_groups(
        moves, counts="num_entered", minimum=inputs.minimum, within=[PERIOD_DAY],
        measures=["num_reached", "num_open", "rate", "rate_low", "rate_high"],
    )  # fmt: skip
    tables = {"steps": shown.frame, "trend": by_period.frame}
    listed = [_steps_listed(shown.frame, before, definition, words)]
    notes = hidden_note(words, shown, inputs.minimum)
    if apart is not None:
        hidden = suppress_small_groups(
            apart, counts="num_units", minimum=inputs.minimum, measures=_MEASURES + _times(apart), within=["step"]
        )
        tables["channels"] = hidden.frame
        listed.append(_channels_listed(hidden.frame, definition, words))
        notes += hidden_note(words, hidden, inputs.minimum)
    if table["num_open"].sum():
        notes.append(words("funnels.open_note", days=window_text(definition.window_days, words)))
    answer = _answer(table, definition, words)
    return Section(
        name=name,
        title=words("funnels.named", name=title, answer=answer) if title else capital(answer),
        text=words("funnels.text"),
        finding=_finding(table, definition, words, title),
        drawn=[_bars(shown.frame, definition, words), *_lines(by_period.frame, _every(inputs.period), words)],
        listed=listed,
        notes=list(dict.fromkeys(notes)),
        defined=_defined(definition, words),
        tables=tables,
    )


def shopping_funnel(log: duckdb.DuckDBPyRelation) -> FunnelDefinition | None:
    """Return the funnel from a look to an order, of the steps that the log knows; nothing of fewer than two."""
    kinds = {row[0] for row in log.select(c.EVENT_TYPE).distinct().fetchall()}
    steps = tuple(Step(name=name, events=(name,), optional=name == c.CHECKOUT) for name in _SHOPPING if name in kinds)
    return FunnelDefinition(steps=steps) if len(steps) > 1 and steps[-1].name == c.PURCHASE else None


def _definitions(inputs: Inputs) -> dict[str, FunnelDefinition]:
    given = inputs.definitions.get("funnels")
    if given is None:
        usual = shopping_funnel(inputs.rows)
        return {} if usual is None else {c.PURCHASE: usual}
    if not isinstance(given, Mapping):
        raise ConfigError(f"funnels: expected a mapping of names to funnels, found {given!r}.")
    units = inputs.shop.minor_units
    return {
        str(name): FunnelDefinition.parse(one, where=f"funnels.{name}", minor_units=units)
        for name, one in given.items()
    }


@contextmanager
def _stored(relation: Any, inputs: Inputs) -> Iterator[duckdb.DuckDBPyRelation]:
    """Compute a relation once, for the tables that are made of it."""
    name = f"funnel_attempts_{next(_numbers)}"
    relation.create(name)
    try:
        yield inputs.connection.table(name)
    finally:
        inputs.connection.execute(f"DROP TABLE {name}")


def _before(inputs: Inputs, definition: FunnelDefinition) -> pd.DataFrame | None:
    if inputs.compared is None:
        return None
    attempts = funnel(inputs.rows_of(inputs.compared), definition, inputs.items)
    table = step_table(attempts, definition, last_at_us=inputs.known_until_us(inputs.compared))
    return table if table["num_units"].max() >= max(inputs.minimum, 1) else None


def _by_channel(attempts: Any, definition: FunnelDefinition, inputs: Inputs, last_at_us: int) -> pd.DataFrame | None:
    """The table by the channel of the first touch, where the log knows more than one."""
    known = inputs.rows.filter(f"{c.CHANNEL} IS NOT NULL").aggregate(f"count(DISTINCT {c.CHANNEL})").fetchall()[0][0]
    if known < 2:
        return None
    touch = Breakdown(field=c.CHANNEL)
    apart = with_breakdowns(attempts, inputs.rows, definition, [touch], inputs.items)
    table = step_table(apart, definition, last_at_us=last_at_us, by=[touch.column])
    return table.rename(columns={touch.column: c.CHANNEL})


def _every(period: Period) -> Every:
    return "day" if period.num_days <= 21 else "week" if period.num_days <= 200 else "month"


def _times(table: pd.DataFrame) -> tuple[str, ...]:
    return tuple(str(name) for name in table if "seconds_p" in str(name))


def _way(definition: FunnelDefinition, words: Words) -> str:
    first, last = (step_name(definition.steps[place], words) for place in (0, -1))
    return words("funnels.way", first=first, last=last)


def _answer(table: pd.DataFrame, definition: FunnelDefinition, words: Words) -> str:
    """Where most are lost, as a sentence."""
    later = table[(table["step"] > 1) & ~table["optional"] & (table["num_base"] > 0)]
    worst = records(later.sort_values("step_rate", kind="stable")[:1])[0]
    lost = words.fraction(1 - worst.step_rate)
    if definition.mode == "any":
        return words("funnels.answer_any", share=lost, count=int(worst.step) - 1)
    step = definition.steps[int(worst.step) - 1]
    base = definition.steps[definition.base[int(worst.step) - 1]]
    return words(
        "funnels.answer", share=capital(lost), base=step_name(base, words), step=step_name(step, words)
    )  # fmt: skip


def _finding(table: pd.DataFrame, definition: FunnelDefinition, words: Words, title: str) -> str:
    entered, last = int(table["num_units"].iloc[0]), records(table[-1:])[0]
    return words(
        "funnels.finding", name=title or capital(_way(definition, words)), rate=percent(last.overall_rate), entered=entered,
        low=percent(last.overall_rate_low), high=percent(last.overall_rate_high),
        unit=words(f"funnels.unit_{definition.unit}"), days=window_text(definition.window_days, words),
    )  # fmt: skip


def _bars(table: pd.DataFrame, definition: FunnelDefinition, words: Words) -> Drawn:
    names = [_row_name(row, definition, words) for row in records(table)]
    texts = [
        f"{whole(row.num_units)}  {share_text(row.overall_rate)}" if not pd.isna(row.num_units) else HIDDEN
        for row in records(table)
    ]
    title = words("funnels.figure_steps", unit=words(f"funnels.unit_{definition.unit}"))
    return Drawn(svg=bars(names, numbers(table["num_units"]), texts, title=title, description=title), caption=title)


def _lines(table: pd.DataFrame, every: Every, words: Words) -> list[Drawn]:
    if len(table) < 3:
        return []
    days = [words.day(day.date()) for day in table[PERIOD_DAY]]
    rate, low, high = (numbers(table[name]) for name in ("rate", "rate_low", "rate_high"))
    immature = table["immature"].to_numpy(bool)
    unfinished = len(table) - int(np.argmax(immature)) if immature.any() else 0
    title = words(f"funnels.figure_trend_{every}")
    name = words("funnels.rate")
    svg = lines(
        days, {name: rate}, bands={name: (low, high)}, title=title, description=title, as_share=True,
        unfinished=min(unfinished, len(table) - 1),
    )  # fmt: skip
    caption = words("funnels.immature", title=title) if unfinished else title
    return [Drawn(svg=svg, caption=caption)]


def _row_name(row: Any, definition: FunnelDefinition, words: Words) -> str:
    if definition.mode == "any":
        return words("funnels.any_row", count=int(row.step), of=len(definition.steps))
    name = step_name(definition.steps[int(row.step) - 1], words)
    return words("funnels.optional", name=name) if row.optional else name


def _steps_listed(
    table: pd.DataFrame, before: pd.DataFrame | None, definition: FunnelDefinition, words: Words
) -> Listed:
    heads = ["step", "units", "step_rate", "overall_rate", "time", "open"]
    rows = []
    for place, row in enumerate(records(table)):
        first = row.step == 1
        cells = [
            _row_name(row, definition, words),
            whole(row.num_units),
            "" if first else interval_text(row.step_rate, row.step_rate_low, row.step_rate_high, words),
            "" if first else interval_text(row.overall_rate, row.overall_rate_low, row.overall_rate_high, words),
            "" if first else duration(row.seconds_p50, words),
            "" if first else whole(row.num_open),
        ]
        if before is not None:
            cells += ["", ""] if first else change_text(row, before.iloc[place], "step_rate", words)
        rows.append(cells)
    if before is not None:
        heads += ["before", "change"]
    return Listed(
        caption=words("funnels.steps_table"),
        columns=[words(f"funnels.head_{one}") for one in heads],
        rows=rows,
        open=True,
    )


def _channels_listed(table: pd.DataFrame, definition: FunnelDefinition, words: Words) -> Listed:
    first = table[table["step"] == 1].reset_index(drop=True)
    last = table[table["step"] == len(definition.steps)].reset_index(drop=True)
    order = first["num_units"].astype("Float64").fillna(-1).sort_values(ascending=False, kind="stable").index
    rows = []
    for entered, reached in zip(records(first.loc[order]), records(last.loc[order]), strict=True):
        channel = words("funnels.none") if pd.isna(entered.channel) else str(entered.channel)
        rate = interval_text(reached.overall_rate, reached.overall_rate_low, reached.overall_rate_high, words)
        rows.append([channel, whole(entered.num_units), whole(reached.num_units), rate])
    heads = [words(f"funnels.head_{one}") for one in ("channel", "entered", "reached", "overall_rate")]
    return Listed(caption=words("funnels.channels_table"), columns=heads, rows=rows)


def _defined(definition: FunnelDefinition, words: Words) -> list[Definition]:
    days = window_text(definition.window_days, words)
    steps = words.listing([step_name(step, words) for step in definition.steps])
    return [
        Definition(
            name=words("funnels.defined_attempt"),
            text=words(f"funnels.defined_{definition.mode}", days=days, steps=steps),
            source="PostHog, Funnels (posthog.com/docs/product-analytics/funnels)",
        ),
        Definition(
            name=words("funnels.head_step_rate"),
            text=words("funnels.defined_rates"),
            source="Wilson 1927, J. Am. Stat. Assoc. 22; Newcombe 1998, Stat. Med. 17",
        ),
    ]
