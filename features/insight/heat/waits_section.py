"""The section about how long customers think before they buy."""

from __future__ import annotations

import datetime as dt
import math

from features import columns as c
from features.insight.heat.first_view import time_to_purchase
from features.insight.inputs import Inputs
from features.report.charts import bars
from features.report.page import percent
from features.report.sections import Definition, Drawn, Listed, Section, records, share_text, whole
from features.report.words import Words

_HORIZON_DAYS = 30
_MOST_ROWS = 15
_HOUR, _DAY = 60, 24 * 60
_HEADS = ("of", "looks", "bought_looks", "censored", "unseen", "share", "quarter", "half", "ninth")


def waits_section(inputs: Inputs, words: Words) -> Section | None:
    """Return the time from first view to purchase; nothing where too few views were bought."""
    begins, ends = inputs.instants(inputs.period)
    since, last_at = (dt.datetime.fromtimestamp(at / 1e6, dt.UTC) for at in (begins, min(inputs.last_at_us, ends)))
    rows_so_far = inputs.log.filter(f"{c.LOCAL_DAY} <= DATE '{inputs.period.last_day}'")  # a first view may be earlier
    shop = time_to_purchase(rows_so_far, last_at=last_at, since=since, horizon_days=_HORIZON_DAYS)
    if shop.empty or int(shop["bought"].iloc[0]) < inputs.minimum:
        return None
    table = time_to_purchase(
        rows_so_far, last_at=last_at, since=since, by="category", items=inputs.items, horizon_days=_HORIZON_DAYS
    )
    shown = table[table["bought"] >= inputs.minimum].reset_index(drop=True)
    all_of_it = records(shop)[0]
    wait, low, high = (
        duration(x, words) for x in (all_of_it.minutes_50, all_of_it.minutes_50_low, all_of_it.minutes_50_high)
    )
    told = {"days": _HORIZON_DAYS, "wait": wait, "low": low, "high": high, "share": percent(all_of_it.share),
            "looks": int(all_of_it.looks), "censored": int(all_of_it.censored), "unseen": int(all_of_it.unseen)}  # fmt: skip
    top = shown.head(_MOST_ROWS)
    figure = bars([str(x) for x in top["value"]], top["minutes_50"], [duration(x, words) for x in top["minutes_50"]],
                  title=words("heat.figure_waits"), description=words("heat.figure_waits"))  # fmt: skip
    rows = [
        [row.value or words("heat.shop"), whole(row.looks), whole(row.bought), whole(row.censored), whole(row.unseen),
         share_text(row.share), *(duration(x, words) for x in (row.minutes_25, row.minutes_50, row.minutes_90))]
        for row in [all_of_it, *records(shown)]
    ]  # fmt: skip
    return Section(
        name="waits",
        title=words("heat.waits_title", **told),
        text=words("heat.waits_text", **told),
        finding=words("heat.waits_finding", **told),
        drawn=[Drawn(svg=figure, caption=words("heat.figure_waits"))] if len(top) else [],
        listed=[Listed(caption=words("heat.waits_table"), columns=[words(f"heat.{head}") for head in _HEADS], rows=rows)],
        notes=[words("heat.waits_note", **told)],
        defined=[Definition(name=words("heat.wait"), text=words("heat.wait_text", days=_HORIZON_DAYS),
                            source="Kaplan, Meier 1958; Woodruff 1952")],
        tables={"shop": shop, "categories": shown},
    )  # fmt: skip


def duration(minutes: float, words: Words) -> str:
    """Return a time in minutes, hours or days, whichever suits."""
    if math.isnan(minutes):
        return ""
    if minutes < 2 * _HOUR:
        return words("heat.minutes", number=f"{minutes:.0f}")
    if minutes < 2 * _DAY:
        return words("heat.hours", number=f"{minutes / _HOUR:.0f}")
    return words("heat.days", number=f"{minutes / _DAY:.1f}")
