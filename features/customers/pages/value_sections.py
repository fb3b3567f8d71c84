"""The sections about what customers are worth, and about what their tags say of the weeks that follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from features.customers.pages import segments
from features.report.charts import bars, heat
from features.report.page import percent
from features.report.sections import (
    HIDDEN,
    Drawn,
    Listed,
    Section,
    amount,
    capital,
    decimal,
    hidden_note,
    numbers,
    records,
    share_text,
    whole,
)  # fmt: skip
from features.report.words import Money, Words

_NUM_BANDS: Final = len(segments.RISK_BANDS) - 1
_LIKELIER_GONE: Final = 0.5
_DRAWN_TAGS: Final = 12


def missing_for_value(customers: pd.DataFrame) -> list[str]:
    """Return the columns that the section of value and risk needs and the table lacks."""
    needed = ("value_tier", "customer_lifetime_value", "churn_risk")
    return [name for name in needed if name not in customers or customers[name].isna().all()]


def value_section(customers: pd.DataFrame, *, minimum: int, money: Money, words: Words) -> Section:
    """Return tiers by the chance of leaving, with the value that is expected of them."""
    tiers, risk = segments.value_by_tier(customers, minimum=minimum), segments.value_at_risk(customers, minimum=minimum)
    names = segments.in_order("value_tier", risk.frame["value_tier"].unique().tolist())
    called = [capital(words.term("value_tier", name)) for name in names]
    shape = (len(names), _NUM_BANDS)  # rows come by tier, then by band
    value = numbers(risk.frame["value"]).reshape(shape)
    texts = np.array([_risk_text(row, money) for row in records(risk.frame)], object).reshape(shape)
    bands = [words(f"value.band_{band}") for band in range(_NUM_BANDS)]
    svg = heat(value / max(np.nanmax(value), 1), rows=called, columns=bands, texts=texts.tolist(), title=words("value.title"),
               description=words("value.figure"), row_title=words("value.tier"), column_title=words("value.risk"),
               cell_inches=0.62)  # fmt: skip
    return Section(
        name="value",
        title=words("value.title"),
        text=words("value.text"),
        finding=_at_risk(customers, minimum, words),
        drawn=[Drawn(svg=svg, caption=words("value.figure"))],
        listed=[_tiers_table(tiers.frame, money, words)],
        notes=list(dict.fromkeys(hidden_note(words, tiers, minimum) + hidden_note(words, risk, minimum))),
    )


def _at_risk(customers: pd.DataFrame, minimum: int, words: Words) -> str:
    """Return how much of the expected value is with customers who are likelier to leave than to stay."""
    known = customers[customers["churn_risk"].notna() & customers["customer_lifetime_value"].notna()]
    leaving = known["churn_risk"].astype(float) > _LIKELIER_GONE
    total = float(known["customer_lifetime_value"].sum())
    if min(leaving.sum(), (~leaving).sum()) < minimum or total <= 0:
        return ""
    share = float(known.loc[leaving, "customer_lifetime_value"].sum()) / total
    return words("value.finding", share=capital(words.fraction(share)))


def _risk_text(row: Any, money: Money) -> str:
    if pd.isna(row.customers):
        return HIDDEN
    return f"{whole(row.customers)}\n{money.short(float(row.value))}" if row.customers else ""


def _tiers_table(frame: pd.DataFrame, money: Money, words: Words) -> Listed:
    written: dict[str, Callable[[Any], str]] = {
        "expected_purchases": lambda value: decimal(value, 2),
        "probability_alive": lambda value: share_text(value, 0),
        "customer_lifetime_value": lambda value: amount(value, money),
        "churn_risk": lambda value: share_text(value, 0),
        "value_share": share_text,
    }
    kept = {name: how for name, how in written.items() if name in frame}
    rows = [
        [
            capital(words.term("value_tier", row.value_tier)),
            whole(row.customers),
            share_text(row.share),
            *(how(getattr(row, name)) for name, how in kept.items()),
        ]
        for row in records(frame)
    ]
    heads = [
        words("value.tier"),
        words("sizes.customers"),
        words("sizes.share"),
        *(words(f"value.{name}") for name in kept),
    ]
    return Listed(caption=words("value.table"), columns=heads, rows=rows, open=True)


def tags_section(validation: Mapping[str, Any], *, minimum: int, words: Words) -> Section:
    """Return what each tag said of the period behind the days on which it was drawn.

    Args:
        validation: what ``footfall tags validate`` wrote.
        minimum: fewest customers that are shown.
        words: of the page.
    """
    judged: Sequence[Mapping[str, Any]] = validation["tags"]
    shown = [tag for tag in judged if tag["num_tagged"] >= minimum and tag["rate_lift"] is not None]
    rows = [
        [
            words.tag(str(tag["tag"])),
            whole(tag["num_tagged"]),
            percent(tag["rate_tagged"]),
            percent(tag["rate_untagged"]),
            decimal(tag["rate_lift"], 2),
            "" if tag["rate_low"] is None else f"{tag['rate_low']:.2f}–{tag['rate_high']:.2f}",
            "" if tag["q"] is None else f"{tag['q']:.3f}",
        ]
        for tag in shown
    ]
    names = ("tag", "carriers", "rate_tagged", "rate_untagged", "lift", "interval", "q")
    drawn = shown[:_DRAWN_TAGS]
    lifts = [float(tag["rate_lift"]) for tag in drawn]
    svg = bars([words.tag(str(tag["tag"])) for tag in drawn], lifts, [f"{lift:.1f}" for lift in lifts],
               title=words("tags.title"), description=words("tags.figure"), reference=1.0)  # fmt: skip
    hidden = len(judged) - len(shown)
    return Section(
        name="tags",
        title=words("tags.title"),
        text=words("tags.text", days=int(validation["settings"]["period_days"])),
        finding=_best_tag(shown, words),
        drawn=[Drawn(svg=svg, caption=words("tags.figure"))] if drawn else [],
        listed=[Listed(caption=words("tags.table"), columns=[words(f"tags.{name}") for name in names], rows=rows)],
        notes=[words("tags.hidden", count=hidden, minimum=minimum)] if hidden else [],
    )


def _best_tag(shown: Sequence[Mapping[str, Any]], words: Words) -> str:
    sure = [tag for tag in shown if tag["rate_low"] is not None and tag["rate_low"] > 1]
    if not sure:
        return ""
    return words("tags.finding", tag=words.tag(str(sure[0]["tag"])), lift=decimal(sure[0]["rate_lift"], 1))
