"""The section about hours of the week: when customers look, and when to discount."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from features.insight.collecting import collected
from features.insight.heat.discount import when_to_discount, with_empty_hours
from features.insight.heat.hour_of_week import HOURS_OF_WEEK, hour_of_week
from features.insight.inputs import Inputs
from features.privacy.small_groups import suppress_small_groups
from features.report.charts import heat
from features.report.sections import Definition, Drawn, Listed, Section, decimal, hidden_note, numbers, records, whole
from features.report.words import Words

_MOST_ROWS = 20
_MEASURES = ["num_browsed", "expected", "ratio", "shrunk", "low", "high", "missing"]


def hours_section(inputs: Inputs, words: Words) -> Section | None:
    """Return when customers look and buy, and when to discount; nothing where nobody bought, or nobody looked."""
    cells = collected(hour_of_week(inputs.rows))
    table = when_to_discount(cells)
    if table.empty:
        return None
    by_category = when_to_discount(collected(hour_of_week(inputs.rows, by="category", items=inputs.items)))
    week = with_empty_hours(cells, first_day=inputs.period.first_day, last_day=inputs.period.last_day)
    hours = table[table["discount"]]
    told = _told(hours.iloc[0], words) if len(hours) else {}
    safe = suppress_small_groups(table, counts="num_buyers", minimum=inputs.minimum, measures=_MEASURES)
    both = pd.concat([table, by_category], ignore_index=True)
    shown = both[both["discount"] & (both["num_buyers"] >= inputs.minimum)]
    return Section(
        name="hours",
        title=words("heat.hours_title", **told) if told else words("heat.hours_none"),
        text=words("heat.hours_text"),
        finding=words("heat.hours_finding", **told) if told else words("heat.hours_none_finding"),
        drawn=[
            Drawn(svg=_map(_browsed(week), words, "heat.figure_browsed", warm=False), caption=words("heat.figure_browsed")),
            Drawn(svg=_map(_lack(safe.frame), words, "heat.figure_lack", warm=True), caption=words("heat.figure_lack")),
        ],
        listed=[_listed(shown, words)] if len(shown) else [],
        notes=hidden_note(words, safe, inputs.minimum),
        defined=[Definition(name=words("heat.lack"), text=words("heat.lack_text"),
                            source="DuMouchel 1999; Marshall 1991")],
        tables={"week": safe.frame, "discounts": shown},
    )  # fmt: skip


def _told(row: Any, words: Words) -> dict[str, str]:
    return {
        "hour": _hour(int(row["weekday"]), int(row["local_hour"]), words),
        "lack": f"{100 * (1 - row['shrunk']):.0f}%",
        "low": f"{100 * (1 - row['high']):.0f}%",
        "high": f"{100 * (1 - row['low']):.0f}%",
    }


def _hour(weekday: int, hour: int, words: Words) -> str:
    return words("heat.hour", weekday=words(f"format.weekday_{weekday}"), hour=f"{hour:02}:00")


def _browsed(week: pd.DataFrame) -> Any:
    """Return how much is looked at in an hour, over the most of any, ``[7, 24]``."""
    rate = (week["num_browsed"] / week["num_hours"].clip(lower=1)).to_numpy().reshape(7, HOURS_OF_WEEK // 7)
    return rate / max(rate.max(), 1e-9)


def _lack(table: pd.DataFrame) -> Any:
    """Return by how much buyers are fewer than expected, over the most of any; nothing where they are not."""
    lack = np.full((7, HOURS_OF_WEEK // 7), np.nan)
    fewer = np.maximum(1 - numbers(table["shrunk"]), 0)
    lack[table["weekday"] - 1, table["local_hour"]] = np.where(fewer > 0, fewer, np.nan)
    return lack / max(np.nanmax(fewer, initial=0), 1e-9)


def _map(strength: Any, words: Words, key: str, *, warm: bool) -> Any:
    days = [words(f"heat.day_{number}") for number in range(1, 8)]
    hours = [str(hour) for hour in range(24)]
    return heat(strength, rows=days, columns=hours, every=3, cell_inches=0.26, warm=warm, title=words(key),
                description=words(key))  # fmt: skip


def _listed(shown: pd.DataFrame, words: Words) -> Listed:
    rows = [
        [
            row.value or words("heat.shop"),
            _hour(row.weekday, row.local_hour, words),
            whole(row.num_browsed),
            whole(row.num_buyers),
            decimal(row.expected, 0),
            decimal(row.shrunk, 2),
            words("heat.range", low=f"{row.low:.2f}", high=f"{row.high:.2f}"),
        ]
        for row in records(shown.head(_MOST_ROWS))
    ]
    heads = ["of", "when", "browsed", "buyers", "expected", "relative", "interval"]
    return Listed(
        caption=words("heat.hours_table"), columns=[words(f"heat.{head}") for head in heads], rows=rows, open=True
    )
