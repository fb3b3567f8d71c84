"""What each campaign brought: the section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import pandas as pd

from features import columns as c
from features.insight.campaigns.before_after import CAUSES
from features.insight.campaigns.judge import Judgements, judged_table
from features.insight.experiments.chart import forest
from features.insight.inputs import Inputs
from features.privacy.small_groups import Suppressed, suppress_small_groups
from features.report.page import signed
from features.report.sections import (
    HIDDEN,
    Definition,
    Drawn,
    Listed,
    Section,
    amount,
    capital,
    hidden_note,
    records,
    share_text,
    short,
    whole,
)
from features.report.words import Words

_IN_FIGURE: Final = 12
_LETTERS: Final = 14  # of a name beside a bar
_BY_CHANCE: Final = 0.05
_MEASURES: Final = (
    "compared", "p", "q", "lift", "low", "high", "revenue", "revenue_low", "revenue_high", "on_spend", "on_spend_low",
    "on_spend_high", "trend_p", "trend_bias", "change", "change_low", "change_high", "overlap", "others", "written",
    "trend_alike", *(f"{cause}_{part}" for cause in CAUSES for part in ("change", "low", "high")),
)  # fmt: skip
_BROUGHT: Final = ("campaign", "first_day", "written", "claim", "lift", "revenue", "on_spend")
_BESIDE: Final = ("campaign", "trend", "overlap", "change", *(f"cause_{cause}" for cause in CAUSES))
_DEFINED: Final = ("holdout", "differences", "before_after", "causes", "trend_check", "on_spend", "chance")


def effects_section(judged: Judgements, inputs: Inputs, words: Words) -> Section | None:
    """Return the section, nothing where no campaign could be judged."""
    table = judged_table(judged.campaigns)
    if table.empty:
        return None
    hidden = _suppressed(table, minimum=inputs.minimum)
    left_out = suppress_small_groups(
        judged.left_out, counts="customers", minimum=inputs.minimum, within=[c.CAMPAIGN_ID]
    )
    told = table[~hidden.hidden & table["lift"].notna()].sort_values("lift", ascending=False, kind="stable")
    return Section(
        name="campaigns",
        title=_title(told, words),
        text=words("campaigns.text", count=len(table)),
        finding=_finding(told, inputs, words),
        drawn=[_figure(told, words)] if len(told) else [],
        listed=_listed(hidden.frame, inputs, words),
        notes=[*_notes(told, judged.left_out, words), *hidden_note(words, hidden, inputs.minimum)],
        defined=[
            Definition(
                name=words(f"campaigns.{name}"),
                text=words(f"campaigns.{name}_text"),
                source=words(f"campaigns.{name}_source") if words.has(f"campaigns.{name}_source") else "",
            )
            for name in _DEFINED
        ],
        tables={"effects": hidden.frame, "left_out": left_out.frame},
    )


def _suppressed(table: pd.DataFrame, *, minimum: int) -> Suppressed:
    """Return the table without figures that rest on few: written to, or compared, or beside whom these were held."""
    groups = table[["written", "compared", "others"]].astype(float)
    counted = table.assign(smallest=groups.where(groups > 0).min(axis=1).fillna(0).astype(int))
    found = suppress_small_groups(
        counted, counts="smallest", minimum=minimum, measures=_MEASURES, within=[c.CAMPAIGN_ID]
    )
    return replace(found, frame=found.frame.drop(columns="smallest"))


def _beyond_chance(told: pd.DataFrame) -> pd.DataFrame:
    """Return the campaigns with an effect, largest first, false discoveries held down; none that a trend may explain."""
    return told[(told["q"] < _BY_CHANCE) & ~told["trend_alike"].eq(False)]


def _best(found: pd.DataFrame) -> Any:
    """Return the one with the largest effect, of those that held customers out if there are any."""
    causal = found[found["claim"] == "causal"]
    ranked = causal if len(causal) else found
    return records(ranked)[0] if ranked["lift"].iloc[0] > 0 else records(ranked)[-1]


def _title(told: pd.DataFrame, words: Words) -> str:
    found = _beyond_chance(told)
    if found.empty:
        return words("campaigns.title_none")
    best = _best(found)
    key = f"{best.claim}_{'more' if best.lift > 0 else 'less'}"
    return words(f"campaigns.title_{key}", campaign=best.campaign_id, lift=share_text(abs(best.lift), 0))


def _finding(told: pd.DataFrame, inputs: Inputs, words: Words) -> str:
    if told.empty:
        return words("campaigns.finding_nobody")
    found = _beyond_chance(told)
    if found.empty:
        return words("campaigns.finding_none", count=len(told))
    best = _best(found)
    return words(
        f"campaigns.finding_{best.claim}",
        campaign=best.campaign_id,
        revenue=amount(best.revenue, inputs.money),
        low=amount(best.revenue_low, inputs.money),
        high=amount(best.revenue_high, inputs.money),
        customers=int(best.compared),
        number=len(found),
        count=len(told),
    )


def _figure(told: pd.DataFrame, words: Words) -> Drawn:
    widest = told.sort_values("written", ascending=False, kind="stable")[:_IN_FIGURE]
    top = told[told.index.isin(widest.index)]  # not those that look best: these are the small ones
    claims = [claim for claim in ("causal", "assumed") if (top["claim"] == claim).any()]
    names = {claim: words(f"campaigns.claim_{claim}") for claim in claims}
    lifts = top.rename(columns={"low": "lift_low", "high": "lift_high"}).assign(arm=top["claim"].map(names))
    title = words("campaigns.figure")
    labels = [short(str(name), letters=_LETTERS) for name in top[c.CAMPAIGN_ID]]
    svg = forest(lifts, labels, arms=list(names.values()), title=title, description=words("campaigns.figure_text"))
    return Drawn(svg=svg, caption=title)


def _listed(table: pd.DataFrame, inputs: Inputs, words: Words) -> list[Listed]:
    tables = {
        "brought": (_BROUGHT, [_brought(row, inputs, words) for row in records(table)]),
        "beside": (_BESIDE, [_beside(row, words) for row in records(table)]),
    }
    return [
        Listed(
            caption=words(f"campaigns.{name}"), columns=[words(f"campaigns.head_{head}") for head in heads], rows=rows
        )
        for name, (heads, rows) in tables.items()
    ]


def _brought(row: Any, inputs: Inputs, words: Words) -> Sequence[str]:
    revenue, low, high = (
        amount(value, inputs.money).replace("-", "−") for value in (row.revenue, row.revenue_low, row.revenue_high)
    )
    times, least, most = (_times(value) for value in (row.on_spend, row.on_spend_low, row.on_spend_high))
    return [
        str(row.campaign_id),
        words.day(row.first_day),
        whole(row.written),
        words(f"campaigns.claim_{row.claim}"),
        _range(_signed_share(row.lift), _signed_share(row.low), _signed_share(row.high), words),
        _range(revenue, low, high, words),
        _range(times, least, most, words),
    ]


def _beside(row: Any, words: Words) -> Sequence[str]:
    known = pd.notna(row.trend_alike) and pd.notna(row.trend_p)
    return [
        str(row.campaign_id),
        words(f"campaigns.alike_{bool(row.trend_alike)}".lower()) if known else HIDDEN,
        share_text(row.overlap, 0),
        _range(_signed_share(row.change), _signed_share(row.change_low), _signed_share(row.change_high), words),
        *(_cause(row, cause, words) for cause in CAUSES),
    ]


def _cause(row: Any, cause: str, words: Words) -> str:
    value, low, high = (_signed_share(getattr(row, f"{cause}_{part}")) for part in ("change", "low", "high"))
    return _range(value, low, high, words)


def _times(value: Any) -> str:
    """Return a return on spend: two digits where it is small."""
    return HIDDEN if pd.isna(value) else f"{float(value):,.{0 if abs(value) >= 10 else 1}f}".replace("-", "−")


def _range(value: str, low: str, high: str, words: Words) -> str:
    if HIDDEN in (value, low, high):
        return value
    return words("campaigns.range", value=value, low=low, high=high)


def _signed_share(value: Any) -> str:
    return HIDDEN if pd.isna(value) else f"{signed(100 * float(value), 1)}%"


def _notes(told: pd.DataFrame, left_out: pd.DataFrame, words: Words) -> list[str]:
    notes = [words("campaigns.warning")]
    unlike = [str(name) for name in told[c.CAMPAIGN_ID][told["trend_alike"].eq(False)]]
    if unlike:
        notes.append(words("campaigns.unlike", campaigns=words.listing(unlike)))
    crowded = [str(name) for name in told[c.CAMPAIGN_ID][told["overlap"] > 0.5]]
    if crowded:
        notes.append(words("campaigns.crowded", campaigns=words.listing(crowded)))
    for reason, part in left_out.groupby("reason"):
        names = words.listing([str(name) for name in part[c.CAMPAIGN_ID]])
        notes.append(capital(words(f"campaigns.left_{reason}", campaigns=names, count=len(part))))
    return notes
