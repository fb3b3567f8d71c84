"""The section about attribution: which channel earns its place, by model, and what its spend brought back."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from features.errors import DataError
from features.insight.attribution.counts import JourneyCounts
from features.insight.attribution.credits import Credits, attribute, credit_table
from features.insight.attribution.definition import DIRECT, AttributionDefinition
from features.insight.attribution.journeys import Days
from features.insight.attribution.spend import SPEND_COLUMNS, returns, spend_by_touch
from features.insight.inputs import Inputs, Period
from features.privacy.small_groups import Suppressed, suppress_small_groups
from features.report.charts import bars
from features.report.page import percent
from features.report.sections import (
    Definition,
    Drawn,
    Listed,
    NothingToShow,
    Section,
    amount,
    decimal,
    hidden_note,
    numbers,
    records,
    share_text,
    whole,
)
from features.report.words import Words

# Shown first, where asked for: what came nearest to the truth of the simulated shop.
_LEADING: Final = ("shapley", "markov", "time_decay", "linear", "position", "last_non_direct", "last", "first")
_MOST_TOUCHES: Final = 12
_WORTH_SAYING: Final = 0.01  # of all orders: what the last touch must be off by to stand in the title
_MOST_PATHS: Final = 10
_LARGE_SPEND: Final = 0.02  # of all that was spent
_MEASURES: Final = (
    *(f"{name}{end}" for name in ("conversions", "revenue")
      for end in ("", "_low", "_high", "_share", "_share_low", "_share_high")),
    "sampling_error",
)  # fmt: skip
_RETURNS: Final = tuple(
    f"{name}{end}" for name in ("cost_per_conversion", "return_on_spend") for end in ("", "_low", "_high")
)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Found:
    """What the section is made from: journeys of the period, and each model's credit."""

    counts: JourneyCounts
    credit: dict[str, Credits]
    days: Days

    @property
    def leading(self) -> Credits:
        return self.credit[next(model for model in _LEADING if model in self.credit)]


def sections(inputs: Inputs, words: Words) -> list[Section]:
    """Return how much of the period's conversions each touch is credited with.

    Raises:
        NothingToShow: no event says how customers came, nothing was converted, or too few customers were.
        ConfigError: the shop's definition does not fit.
    """
    definition = AttributionDefinition.parse(inputs.definitions.get("attribution"), where="attribution")
    found = _found(inputs, definition, inputs.period)
    if found is None or len(found.counts.touches) < 2 or not found.counts.total[0]:
        raise NothingToShow(words("attribution.nothing"))
    table = credit_table(list(found.credit.values()))
    table["customers"] = np.tile(found.counts.customers, len(found.credit))
    shown = suppress_small_groups(
        table, counts="customers", minimum=inputs.minimum, measures=_MEASURES, within=["model"]
    )
    own = shown.frame[shown.frame["model"] == found.leading.model]
    if own["conversions"].isna().all():
        raise NothingToShow(words("attribution.few"))
    own = own.sort_values("conversions", ascending=False, kind="stable")
    paths = _paths(found.counts, inputs)
    tables = {"credit": shown.frame, "paths": paths.frame}
    spent = _spent(inputs, definition, found, own)
    listed = [_models_listed(shown.frame, own, words), _credit_listed(own, inputs, words)]
    drawn = [_credit_drawn(own, found, words)]
    if spent is not None:
        tables["spend"] = spent
        listed.append(_spend_listed(spent, inputs, words))
        drawn += _spend_drawn(spent, words)
    compared = _compared(inputs, definition, found, own, words)
    return [
        Section(
            name="attribution",
            title=_title(shown.frame, own, found, words),
            text=words("attribution.text", days=definition.lookback_days),
            finding=_finding(own, found, words),
            drawn=drawn,
            listed=[*listed, *compared, _paths_listed(paths.frame, inputs, words)],
            notes=[words("attribution.not_cause"), *hidden_note(words, shown, inputs.minimum)],
            defined=_defined(definition, found, words),
            tables=tables,
        )
    ]


def _found(inputs: Inputs, definition: AttributionDefinition, period: Period) -> _Found | None:
    """Return the journeys to the conversions of a period, looking back before its first day."""
    since = period.first_day - dt.timedelta(days=definition.lookback_days + 1)
    rows = inputs.rows_of(Period(first_day=since, last_day=period.last_day))
    days = (period.first_day, period.last_day)
    try:
        counts = JourneyCounts.of_events(rows, definition, days=days)
    except DataError:
        return None
    return _Found(counts=counts, credit=attribute(counts, definition), days=days)


def _title(table: pd.DataFrame, own: pd.DataFrame, found: _Found, words: Words) -> str:
    """Return where the last touch misleads most, or how far models are apart about the touch that leads."""
    shares = table.pivot(index="touch", columns="model", values="conversions_share").astype("Float64")
    told = shares.drop(index=DIRECT, errors="ignore").dropna()
    if "last" in shares and len(told):
        gap = (told[found.leading.model] - told["last"]).round(6).sort_values(ascending=False)
        if gap.abs().max() >= _WORTH_SAYING:
            touch = str(gap.abs().idxmax())  # of equals the one that the last touch leaves out
            share, last = (percent(float(told[model][touch]), 0) for model in (found.leading.model, "last"))
            model = words(f"attribution.model_{found.leading.model}")
            return words("attribution.title", touch=touch, share=share, last=last, model=model)
    touch = records(own)[0].touch
    low, high = (percent(float(end), 0) for end in (shares.loc[touch].min(), shares.loc[touch].max()))
    if low == high:
        return words("attribution.title_agree", touch=touch, share=low)
    return words("attribution.title_range", touch=touch, low=low, high=high)


def _finding(own: pd.DataFrame, found: _Found, words: Words) -> str:
    first = records(own)[0]
    return words(
        "attribution.finding",
        model=words(f"attribution.model_{found.leading.model}"),
        touch=first.touch,
        share=share_text(first.conversions_share),
        low=share_text(first.conversions_share_low),
        high=share_text(first.conversions_share_high),
        total=round(float(found.counts.total[0])),
    )


def _credit_drawn(own: pd.DataFrame, found: _Found, words: Words) -> Drawn:
    rows = [row for row in records(own.head(_MOST_TOUCHES)) if not pd.isna(row.conversions)]
    title = words("attribution.figure", model=words(f"attribution.model_{found.leading.model}"))
    svg = bars(
        [row.touch for row in rows],
        [max(float(row.conversions_share), 0.0) for row in rows],
        [_range(row.conversions_share, row.conversions_share_low, row.conversions_share_high, words) for row in rows],
        title=title,
        description=title,
    )  # fmt: skip
    return Drawn(svg=svg, caption=title)


def _range(value: Any, low: Any, high: Any, words: Words) -> str:
    return words("attribution.range", value=share_text(value, 0), low=share_text(low, 0), high=share_text(high, 0))


def _models_listed(table: pd.DataFrame, own: pd.DataFrame, words: Words) -> Listed:
    shares = table.pivot(index="touch", columns="model", values="conversions_share").reindex(own["touch"])
    models = list(table["model"].unique())
    rows = [
        [str(touch), *(share_text(shares.loc[touch, model]) for model in models)]
        for touch in shares.index[:_MOST_TOUCHES]
    ]
    names = [words(f"attribution.model_{model}") for model in models]
    return Listed(
        caption=words("attribution.models_table"),
        columns=[words("attribution.head_touch"), *names],
        rows=rows,
        open=True,
    )


def _credit_listed(own: pd.DataFrame, inputs: Inputs, words: Words) -> Listed:
    rows = [
        [
            row.touch,
            decimal(row.conversions, 1),
            *(decimal(end, 1) for end in (row.conversions_low, row.conversions_high)),
            *(amount(worth, inputs.money) for worth in (row.revenue, row.revenue_low, row.revenue_high)),
        ]
        for row in records(own)
    ]
    heads = ("touch", "conversions", "low", "high", "revenue", "low", "high")
    return Listed(
        caption=words("attribution.credit_table"),
        columns=[words(f"attribution.head_{head}") for head in heads],
        rows=rows,
    )


def _spent(inputs: Inputs, definition: AttributionDefinition, found: _Found, own: pd.DataFrame) -> pd.DataFrame | None:
    """Return cost beside credit, figures of hidden touches left out; nothing where the shop states no spend."""
    spend = inputs.table("spend")
    if spend is None or definition.touch not in SPEND_COLUMNS:
        return None
    table = returns(found.leading, spend_by_touch(spend, definition, days=found.days))
    table = table[table["cost"].notna()].reset_index(drop=True)
    hidden = set(own.loc[own["conversions"].isna(), "touch"])
    table.loc[table["touch"].isin(hidden), ["conversions", "revenue", *_RETURNS]] = np.nan
    return None if table.empty else table.sort_values("cost", ascending=False, kind="stable", ignore_index=True)


def _spend_listed(spent: pd.DataFrame, inputs: Inputs, words: Words) -> Listed:
    rows = [
        [
            row.touch,
            amount(row.cost, inputs.money),
            *(
                amount(cost, inputs.money)
                for cost in (row.cost_per_conversion, row.cost_per_conversion_low, row.cost_per_conversion_high)
            ),
            *(decimal(back, 2) for back in (row.return_on_spend, row.return_on_spend_low, row.return_on_spend_high)),
        ]
        for row in records(spent)
    ]
    heads = ("touch", "cost", "cost_per_conversion", "low", "high", "return", "low", "high")
    return Listed(
        caption=words("attribution.spend_table"),
        columns=[words(f"attribution.head_{head}") for head in heads],
        rows=rows,
    )


def _spend_drawn(spent: pd.DataFrame, words: Words) -> list[Drawn]:
    # What hardly costs anything returns many times over, and would leave no room for the others.
    large = spent["cost"] >= _LARGE_SPEND * spent["cost"].sum()
    known = records(spent[large & spent["return_on_spend"].notna()].head(_MOST_TOUCHES))
    if not known:
        return []
    title = words("attribution.figure_return")
    texts = [
        words(
            "attribution.range",
            value=decimal(row.return_on_spend, 2),
            low=decimal(row.return_on_spend_low, 2),
            high=decimal(row.return_on_spend_high, 2),
        )
        for row in known
    ]
    lengths = [max(float(row.return_on_spend), 0.0) for row in known]
    svg = bars([row.touch for row in known], lengths, texts, title=title, description=title, reference=1.0)
    return [Drawn(svg=svg, caption=title)]


def _compared(
    inputs: Inputs, definition: AttributionDefinition, found: _Found, own: pd.DataFrame, words: Words
) -> list[Listed]:
    """Return the shares of both periods and their difference, with the interval of independent samples of users."""
    other = None if inputs.compared is None else _found(inputs, definition, inputs.compared)
    if other is None or not other.counts.total[0]:
        return []
    shares = _share_samples(found.leading)
    before = _share_samples(other.credit[found.leading.model])
    few = {
        touch for touch, customers in zip(other.counts.touches, other.counts.customers, strict=True)
        if customers < inputs.minimum
    } | set(own.loc[own["conversions"].isna(), "touch"])  # fmt: skip
    rows = []
    for touch in own["touch"]:
        if touch in few or touch not in before:
            continue
        (now, samples), (then, earlier) = shares[touch], before[touch]
        low, high = np.quantile(samples - earlier, [0.025, 0.975])
        change = words(
            "attribution.change",
            points=f"{100 * (now - then):+.1f}",
            low=f"{100 * low:+.1f}",
            high=f"{100 * high:+.1f}",
        )
        rows.append([touch, share_text(now), share_text(then), change])
    heads = [words(f"attribution.head_{head}") for head in ("touch", "period", "compared", "change")]
    return [Listed(caption=words("attribution.compared_table"), columns=heads, rows=rows, open=True)] if rows else []


def _share_samples(credit: Credits) -> dict[str, tuple[float, Any]]:
    shares = credit.found[:, 0] / credit.found[:, 0].sum()
    samples = credit.samples[:, :, 0] / credit.samples[:, :, 0].sum(axis=1, keepdims=True)
    return {touch: (float(shares[place]), samples[:, place]) for place, touch in enumerate(credit.touches)}


def _paths(counts: JourneyCounts, inputs: Inputs) -> Suppressed:
    """Return the most frequent paths, those of few customers left out."""
    top = counts.paths(top=_MOST_PATHS)
    top = top[top["customers"] >= inputs.minimum].reset_index(drop=True)
    return suppress_small_groups(top, counts="customers", minimum=inputs.minimum)


def _paths_listed(paths: pd.DataFrame, inputs: Inputs, words: Words) -> Listed:
    rates = numbers(paths["num_conversions"]) / numbers(paths["num_journeys"])
    rows = [
        [
            row.path,
            whole(row.num_conversions),
            whole(row.num_journeys),
            share_text(rate),
            amount(row.revenue, inputs.money),
        ]
        for row, rate in zip(records(paths), rates, strict=True)
    ]
    heads = [words(f"attribution.head_{head}") for head in ("path", "conversions", "journeys", "rate", "revenue")]
    return Listed(caption=words("attribution.paths_table"), columns=heads, rows=rows)


def _defined(definition: AttributionDefinition, found: _Found, words: Words) -> list[Definition]:
    values = {"days": definition.lookback_days, "half_life": definition.half_life_days}
    names = ("journey", "rules", *(model for model in ("markov", "shapley") if model in found.credit), "interval")
    return [
        Definition(
            name=words(f"attribution.defined_{name}"),
            text=words(f"attribution.defined_{name}_text", **values),
            source=words(f"attribution.defined_{name}_source")
            if words.has(f"attribution.defined_{name}_source")
            else "",
        )
        for name in names
    ]
