"""The section about buying again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from features.insight.inputs import Inputs, Period
from features.insight.retention.repurchase import RepurchaseDefinition, repurchase
from features.insight.retention.survival import quantile, share_within
from features.insight.retention.wishes import until, watched
from features.privacy.small_groups import suppress_small_groups
from features.report.charts import lines
from features.report.page import percent, points
from features.report.sections import (
    Definition,
    Drawn,
    Listed,
    Section,
    capital,
    hidden_note,
    records,
    share_text,
    whole,
)
from features.report.words import Words

_WITHIN_DAYS: Final = (7, 30, 60, 90)
_FEWEST_DAYS: Final = 2  # of a line


def repurchase_section(inputs: Inputs, definition: RepurchaseDefinition, words: Words) -> Section | None:
    """Return who bought again by when; nothing where too few bought."""
    curve = _curve_of(inputs, definition, inputs.period)
    if curve.empty:
        return None
    by_category = _curve_of(inputs, dataclasses.replace(definition, of="category"), inputs.period)
    reached = [days for days in _WITHIN_DAYS if days <= curve["t"].max()] or [int(curve["t"].max())]
    day = 30 if 30 in reached else reached[-1]
    at = share_within(curve, day)
    told: dict[str, Any] = {name: percent(at[name]) for name in ("share", "low", "high")}
    told |= {"days": day, "number": int(curve["customers"].iloc[0])}
    finding = words("retention.again_finding", **told)
    half = quantile(curve, 0.5)
    title = words("retention.again_title", share=capital(words.fraction(at["share"])), days=day)
    if not math.isnan(half):
        title = words("retention.again_half", days=int(half))
    before = None if inputs.compared is None else _curve_of(inputs, definition, inputs.compared)
    figure, compared = _figure(curve, before, inputs.minimum, words), _compared(at, before, day, words)
    safe, note = _category_shares(by_category, reached, inputs, words)
    heads = [
        words("retention.category"),
        words("retention.customers"),
        *(words("retention.within", days=d) for d in reached),
    ]
    listed = [
        [row[0], whole(row[1]), *(share_text(share) for share in row[2:])] for row in safe.itertuples(index=False)
    ]
    return Section(
        name="repurchase",
        title=title if definition.nth == 1 else finding,
        text=words("retention.again_text"),
        finding=finding,
        drawn=[] if figure is None else [Drawn(svg=figure, caption=words("retention.figure_again"))],
        listed=[Listed(caption=words("retention.again_table"), columns=heads, rows=listed, open=True)],
        notes=[*compared, *note],
        defined=[Definition(name=words("retention.again"), text=words("retention.again_defined"),
                            source="Kaplan, Meier 1958; Greenwood 1926; Kalbfleisch, Prentice 1980")],
        tables={"curve": _coarse(curve, inputs.minimum), "categories": safe},
    )  # fmt: skip


def _curve_of(inputs: Inputs, definition: RepurchaseDefinition, period: Period) -> pd.DataFrame:
    """Return curves of those who bought the nth time in a period, watched to its end, while enough are watched."""
    items = inputs.items if definition.of == "category" else None
    asked = dataclasses.replace(
        definition, cohorts="all", since=max(definition.since or period.first_day, period.first_day)
    )
    last_day, _ = watched(inputs, period)
    curves = repurchase(until(inputs, period), asked, last_day=last_day, items=items)
    return curves[curves["at_risk"] >= inputs.minimum].reset_index(drop=True)


def _coarse(curve: pd.DataFrame, minimum: int) -> pd.DataFrame:
    """Return a curve at those of its days by which enough came since the one before; one step would show one customer.

    Args:
        curve: of ``_curve_of``, of one value.
        minimum: the fewest customers who came by a row since the one before it.

    Returns:
        Its columns; came and left are of all since the row before.
    """
    kept, came, left = [], 0, 0
    for place, row in enumerate(records(curve)):
        came, left = came + row.came, left + row.left
        if came >= minimum:
            kept.append((place, came, left))
            came, left = 0, 0
    places = [place for place, _, _ in kept]
    return (
        curve.iloc[places].assign(came=[one[1] for one in kept], left=[one[2] for one in kept]).reset_index(drop=True)
    )


def _figure(curve: pd.DataFrame, before: pd.DataFrame | None, minimum: int, words: Words) -> Any:
    """Return the curve to the last day by which enough more bought again; nothing where too few ever did."""
    now = _day_by_day(_coarse(curve, minimum))
    if len(now) < _FEWEST_DAYS:
        return None
    series = {words("retention.again"): now}
    if before is not None and not before.empty:
        then = _day_by_day(_coarse(before, minimum)).reindex(now.index)
        series = {words("retention.now"): now, words("retention.before"): then}
    return lines([str(t) for t in now.index], {name: days["share"] for name, days in series.items()}, as_share=True,
                 bands={name: (days["low"], days["high"]) for name, days in series.items()},
                 title=words("retention.figure_again"), description=words("retention.figure_again"))  # fmt: skip


def _compared(at: Mapping[str, float], before: pd.DataFrame | None, day: int, words: Words) -> list[str]:
    """Return the difference to the days before; its interval is put together from those of both shares.

    Source: Zou and Donner 2008, "Construction of confidence limits about effect measures".
    """
    if before is None or before.empty or before["t"].max() < day:
        return []
    then = share_within(before, day)
    difference = at["share"] - then["share"]
    low = difference - math.hypot(at["share"] - at["low"], then["high"] - then["share"])
    high = difference + math.hypot(at["high"] - at["share"], then["share"] - then["low"])
    return [words("retention.compared", before=percent(then["share"]), difference=points(difference), low=points(low),
                  high=points(high))]  # fmt: skip


def _day_by_day(curve: pd.DataFrame) -> pd.DataFrame:
    """Return share, low and high on each day from 0 to the curve's last; between its rows it rises evenly."""
    days = curve.set_index("t")[["share", "low", "high"]]
    if 0 not in days.index:
        days.loc[0] = 0.0
    return days.reindex(range(int(days.index.max()) + 1)).interpolate()


def _category_shares(
    curves: pd.DataFrame, days: list[int], inputs: Inputs, words: Words
) -> tuple[pd.DataFrame, list[str]]:
    rows = [
        {"category": value, "customers": int(curve["customers"].iloc[0])}
        | {
            f"within_{day}": share_within(curve, day)["share"] if curve["t"].max() >= day else float("nan")
            for day in days
        }
        for value, curve in curves.groupby("value")
    ]
    names = [f"within_{day}" for day in days]
    table = pd.DataFrame(rows, columns=["category", "customers", *names]).sort_values("customers", ascending=False)
    safe = suppress_small_groups(table, counts="customers", minimum=inputs.minimum, measures=names)
    return safe.frame, hidden_note(words, safe, inputs.minimum)
