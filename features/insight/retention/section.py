"""The sections about who comes back: cohorts, growth by period, and buying again."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
import pandas as pd

from features.insight.inputs import Inputs, Period
from features.insight.intervals import difference_of_shares
from features.insight.retention.definition import RetentionDefinition
from features.insight.retention.growth_section import growth_section
from features.insight.retention.periods import place_of
from features.insight.retention.repurchase_section import repurchase_section
from features.insight.retention.table import retention, retention_curve, with_rates
from features.insight.retention.wishes import RetentionWishes, until, watched
from features.privacy.small_groups import suppress_small_groups
from features.report.charts import heat, lines
from features.report.page import percent, points
from features.report.sections import (
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
)
from features.report.words import Words

_MOST_PERIODS: Final = 12
_MOST_COHORTS: Final = 16


def sections(inputs: Inputs, words: Words) -> list[Section]:
    """Return who comes back, where active customers come from, and who buys again.

    Raises:
        NothingToShow: nobody did anything in the shop before the last week of the period, or too few customers did.
        ConfigError: the shop's definitions do not fit.
    """
    wishes = RetentionWishes.parse(inputs.definitions.get("retention"), where="retention")
    definition = _followed(wishes.table, inputs)
    table = _table(inputs, inputs.period, definition, words)
    if table.empty or not table["observed"].sum():
        raise NothingToShow(words("retention.none"))
    made = (
        _cohorts(table, inputs, definition, words),
        growth_section(inputs, wishes, words),
        repurchase_section(inputs, wishes.repurchase, words),
    )
    found = [section for section in made if section is not None]
    if not found:
        raise NothingToShow(words("retention.few", minimum=inputs.minimum))
    return found


def _followed(definition: RetentionDefinition, inputs: Inputs) -> RetentionDefinition:
    """Return a definition that follows all cohorts for as long: for half of the page's periods where it leaves it open."""
    if definition.mode != "unbounded" or definition.follow_up:
        return definition
    first, last = (place_of(definition.clock, day) for day in (inputs.period.first_day, inputs.period.last_day))
    return dataclasses.replace(definition, num_periods=min(max((last - first) // 2, 1), _MOST_PERIODS))


def _table(inputs: Inputs, period: Period, definition: RetentionDefinition, words: Words) -> pd.DataFrame:
    since = definition.since or period.first_day
    asked = dataclasses.replace(definition, since=max(since, period.first_day))
    last_day, is_over = watched(inputs, period)
    table = retention(until(inputs, period), asked, last_day=last_day, is_over=is_over)
    return _without_small_names(table, asked, inputs.minimum, words)


def _without_small_names(
    table: pd.DataFrame, definition: RetentionDefinition, minimum: int, words: Words
) -> pd.DataFrame:
    """Take values of fewer than the minimum of customers together: their names alone would tell of these."""
    if not definition.by or table.empty:
        return table
    each = ["value", "cohort"]
    sizes = table.drop_duplicates(each)[[*each, "customers"]]  # before any are taken together: each has its own periods
    of_value = sizes.groupby("value")["customers"].sum()
    small = dict.fromkeys(of_value.index[of_value < minimum], words("retention.other"))
    table, sizes = (frame.assign(value=frame["value"].replace(small)) for frame in (table, sizes))
    sums = table.groupby([*each, "period"], as_index=False)[["observed", "returned", "so_far"]].sum()
    return with_rates(sums.merge(sizes.groupby(each, as_index=False)["customers"].sum(), on=each), definition)


def _cohorts(table: pd.DataFrame, inputs: Inputs, definition: RetentionDefinition, words: Words) -> Section | None:
    """Return the section about cohorts; nothing where those observed are too few in each period."""
    curve = _curve(table, inputs.minimum)
    known = curve.dropna(subset=["observed"])
    if known.empty:
        return None
    before = None
    if inputs.compared is not None:
        before = _curve(_table(inputs, inputs.compared, definition, words), inputs.minimum)
    first = records(known)[0]
    told = {"share": percent(first.rate), "low": percent(first.low), "high": percent(first.high)}
    span = words(f"retention.next_{'bracket' if definition.brackets else definition.period}")
    sizes = table.drop_duplicates(["value", "cohort"])[["value", "cohort", "customers"]]
    shown = suppress_small_groups(sizes, counts="customers", minimum=inputs.minimum)
    safe = _masked(table, sizes, shown.hidden)
    followed = [words("retention.followed", number=definition.follow_up)] if definition.follow_up else []
    return Section(
        name="retention",
        title=words(f"retention.title_{definition.mode}", share=capital(words.fraction(first.rate)), span=span),
        text=words("retention.text"),
        finding=words("retention.finding", **told, number=int(first.observed), span=span),
        drawn=[Drawn(svg=_curve_figure(known, before, definition, words), caption=words("retention.figure_curve")),
               *_triangle(safe, definition, words)],
        listed=[_cohorts_listed(safe, definition, words)],
        notes=[*_compared(first, before, words), *followed, words("retention.first_note"),
               *hidden_note(words, shown, inputs.minimum)],
        defined=[
            Definition(name=words(f"retention.mode_{definition.mode}"), text=words(f"retention.mode_{definition.mode}_text"),
                       source=words("retention.mode_source")),
            Definition(name=words("retention.complete"), text=words("retention.complete_text")),
            Definition(name=words("retention.interval"), text=words("retention.interval_text"), source="Wilson 1927"),
        ],
        tables={"cohorts": safe, "curve": curve},
    )  # fmt: skip


def _curve(table: pd.DataFrame, minimum: int) -> pd.DataFrame:
    """Return all cohorts and values together; figures of periods in which too few were observed are missing."""
    curve = retention_curve(table.assign(value=""))
    few = (curve["observed"] < max(minimum, 1)).to_numpy(bool)
    for name in ("observed", "returned", "rate", "low", "high"):
        curve[name] = curve[name].convert_dtypes().mask(few)
    return curve


def _compared(first: Any, before: pd.DataFrame | None, words: Words) -> list[str]:
    """Return the difference of a period's rate to that of the days before."""
    then = None if before is None else before[(before["period"] == first.period) & before["observed"].notna()]
    if then is None or then.empty:
        return []
    row = records(then)[0]
    low, high = difference_of_shares(first.returned, first.observed, row.returned, row.observed)
    return [words("retention.compared", before=percent(row.rate), difference=points(first.rate - row.rate),
                  low=points(float(low)), high=points(float(high)))]  # fmt: skip


_FIGURES: Final = ["customers", "observed", "returned", "rate", "low", "high", "so_far"]


def _masked(table: pd.DataFrame, sizes: pd.DataFrame, hidden: Any) -> pd.DataFrame:
    """Return the table without the figures of cohorts that are hidden."""
    small = table.merge(sizes.assign(hidden=hidden)[["value", "cohort", "hidden"]], on=["value", "cohort"], how="left")
    safe = table.copy()
    for name in _FIGURES:
        safe[name] = safe[name].convert_dtypes().mask(small["hidden"].to_numpy(bool))
    return safe


def _places(numbers: pd.Series, definition: RetentionDefinition, words: Words) -> list[str]:
    if definition.brackets:
        edges = definition.brackets
        return [words("retention.days", first=edges[k - 1], last=edges[k] - 1) for k in numbers]
    return [str(number) for number in numbers]


def _curve_figure(
    curve: pd.DataFrame, before: pd.DataFrame | None, definition: RetentionDefinition, words: Words
) -> Any:
    shown = curve.head(_MOST_PERIODS)
    drawn = {words("retention.now"): shown}
    if before is not None:
        drawn[words("retention.before")] = before.set_index("period").reindex(shown["period"])
    series = {name: numbers(one["rate"]) for name, one in drawn.items()}
    bands = {name: (numbers(one["low"]), numbers(one["high"])) for name, one in drawn.items()}
    return lines(_places(shown["period"], definition, words), series, bands=bands, as_share=True,
                 title=words("retention.figure_curve"), description=words("retention.figure_curve"))  # fmt: skip


def _triangle(table: pd.DataFrame, definition: RetentionDefinition, words: Words) -> list[Drawn]:
    """Return the rates of cohorts and periods as a heat map; nothing where all are hidden or not over."""
    shown = table[(table["period"] <= _MOST_PERIODS) & (table["value"] == table["value"].iloc[0])]
    wide = shown.assign(rate=shown["rate"].astype("Float64")).pivot_table(
        index="cohort", columns="period", values="rate", aggfunc="first", dropna=False
    )
    wide = wide.dropna(how="all").tail(_MOST_COHORTS)
    if wide.empty:
        return []
    rates = wide.to_numpy(float, na_value=float("nan"))
    svg = heat(
        rates / max(np.nanmax(rates), 1e-9),
        rows=[words.day(day.date()) for day in wide.index],
        columns=_places(pd.Series(wide.columns), definition, words),
        texts=[["" if np.isnan(rate) else f"{100 * rate:.0f}" for rate in row] for row in rates],
        title=words("retention.figure_cohorts"),
        description=words("retention.figure_cohorts"),
        cell_inches=0.3,
        warm=False,
    )
    return [Drawn(svg=svg, caption=words("retention.figure_cohorts"))]


def _cohorts_listed(table: pd.DataFrame, definition: RetentionDefinition, words: Words) -> Listed:
    rows = [
        [
            words.day(row.cohort.date()) + (f" · {row.value}" if row.value else ""),
            place,
            whole(row.customers),
            whole(row.observed),
            whole(row.returned),
            share_text(row.rate),
            "" if pd.isna(row.low) else words("retention.range", low=percent(row.low), high=percent(row.high)),
            words("retention.is_over") if row.complete else words("retention.not_over"),
        ]
        for row, place in zip(records(table), _places(table["period"], definition, words), strict=True)
    ]
    heads = ["cohort", "period", "customers", "observed", "returned", "rate", "interval", "complete"]
    return Listed(caption=words("retention.table"), columns=[words(f"retention.{head}") for head in heads], rows=rows)
