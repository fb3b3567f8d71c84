"""Which days are missing, and which have far fewer events than their weekday usually has; and which columns are empty.

One pass over the events gives both: counts, and filled columns, by day, event type and channel.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from features import columns as c
from features.contract.tables import EVENTS
from features.customers.anomalies import tail_chance
from features.insight.health.findings import Finding, share_words
from features.insight.health.settings import HealthSettings
from features.insight.health.source import VIEW, Source
from features.report.sections import records

EVENTS_COUNTED: Final = "events"
_KEYS: Final = ("local_day", c.EVENT_TYPE, c.CHANNEL)
_OPTIONAL: Final = tuple(column.name for column in EVENTS.columns if not column.required)
_MESSAGE: Final = "message_"
# Columns without which an event of a type says little: see the data contract.
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    c.PURCHASE: (c.PRICE, c.ORDER_ID, c.QUANTITY),
    c.REFUND: (c.PRICE, c.ORDER_ID),
    "search": ("query",),
    "view_section": ("section",),
    c.IMPRESSION: (c.SLOT,),
    **{name: ("medium",) for name in c.EVENT_TYPES if name.startswith(_MESSAGE)},
}
_NEEDED_BY_ALL: Final = (c.EVENT_ID,)
_RISE: Final = 0.3  # of a column's empty share in a day above its usual one
_FEW: Final = 0.2
_WEEK: Final = 7


def counted(source: Source, settings: HealthSettings) -> pd.DataFrame:
    """Return events and filled columns by day, event type and channel: one row each, absent where none.

    Events whose instant cannot be right belong to no day.
    """
    filled = ", ".join(f"count({name}) AS {name}_filled" for name in _OPTIONAL)
    query = f"""
        SELECT local_day, event_type, coalesce(channel, '') AS channel, count(*) AS {EVENTS_COUNTED}, {filled}
        FROM {VIEW} WHERE {source.possible(settings.future_us)} GROUP BY ALL ORDER BY ALL"""
    return source.connection.sql(query).to_arrow_table().to_pandas(date_as_object=False)


def missing_days(daily: pd.DataFrame, settings: HealthSettings) -> list[Finding]:
    """Find days without any event between the first and the last."""
    days = pd.DatetimeIndex(daily["local_day"].unique())
    if days.empty:
        return []
    every = pd.date_range(days.min(), days.max())
    gone = every.difference(days)
    if gone.empty:
        return []
    return [
        Finding(
            severity="error",
            check="coverage.missing_days",
            expected="events on every day from the first to the last",
            found=f"no event on {share_words(len(gone), len(every))} days: {_days(gone)}",
            do="ask whether the shop was closed; if not, fetch these days again from the tracker and import them.",
            count=len(gone),
            of=len(every),
            examples=[{"day": str(day.date())} for day in gone[: settings.examples]],
        )
    ]


def drops(daily: pd.DataFrame, settings: HealthSettings) -> list[Finding]:
    """Find days on which an event type, or one channel of it, has far fewer events than its weekday had before.

    Expected is the median of the same weekday of the weeks before. A drop is fewer than ``drop_share`` of that, and rarer than
    chance allows: a negative binomial whose spread is how far the series' counts stray from such medians.
    """
    if daily.empty:
        return []
    found = pd.concat([_judged(daily, [c.EVENT_TYPE], settings), _judged(daily, [c.EVENT_TYPE, c.CHANNEL], settings)])
    if found.empty:
        return []
    found = found[found["chance"] * len(found) < settings.expected_false]
    found = found[found["events"] < settings.drop_share * found["expected"]]
    found = found[found["local_day"].isin(daily["local_day"])]  # days without any event are a finding of their own
    whole = set(map(tuple, found.loc[found[c.CHANNEL] == "", ["local_day", c.EVENT_TYPE]].to_numpy().tolist()))
    keys = list(map(tuple, found[["local_day", c.EVENT_TYPE]].to_numpy().tolist()))
    own = np.array([not channel or key not in whole for channel, key in zip(found[c.CHANNEL], keys, strict=True)], bool)
    return [_drop(name, rows, daily, settings) for name, rows in found[own].groupby([c.EVENT_TYPE, c.CHANNEL])]


def _judged(daily: pd.DataFrame, by: list[str], settings: HealthSettings) -> pd.DataFrame:
    several = daily.groupby(c.EVENT_TYPE)[c.CHANNEL].transform("nunique") > 1
    rows = daily if c.CHANNEL not in by else daily[several]
    empty = pd.DataFrame(columns=["local_day", c.EVENT_TYPE, c.CHANNEL, "events", "expected", "chance"])
    if rows.empty:
        return empty
    wide = rows.pivot_table(index="local_day", columns=by, values=EVENTS_COUNTED, aggfunc="sum")
    # The last day may be half over, and says nothing.
    wide = wide.reindex(pd.date_range(daily["local_day"].min(), daily["local_day"].max())).fillna(0.0).iloc[:-1]
    counts = wide.to_numpy(float)
    if len(counts) <= _WEEK:
        return empty
    usual, chance = _usual(counts, settings)
    names: list[Any] = [wide.columns[place] for place in range(counts.shape[1])]
    names = [(name, "") if len(by) == 1 else (name[0], name[1] or "(none)") for name in names]
    return pd.DataFrame(
        {
            "local_day": np.repeat(wide.index, counts.shape[1]),
            c.EVENT_TYPE: [name[0] for name in names] * len(counts),
            c.CHANNEL: [name[1] for name in names] * len(counts),
            "events": counts.ravel(),
            "expected": usual.ravel(),
            "chance": chance.ravel(),
        }
    ).dropna()


def _usual(counts: np.ndarray, settings: HealthSettings) -> tuple[np.ndarray, np.ndarray]:
    """What each day's weekday had before, and how rare so few are, ``[D, S]``; NaN where nothing came before."""
    before = np.full((settings.weeks, *counts.shape), np.nan)
    for week in range(1, settings.weeks + 1):
        if len(counts) > week * _WEEK:
            before[week - 1, week * _WEEK :] = counts[: -week * _WEEK]
    usual = np.full(counts.shape, np.nan)
    usual[_WEEK:] = np.nanmedian(before[:, _WEEK:], axis=0)
    mean = np.where(usual > 0, usual, np.nan)
    strayed = pd.DataFrame((counts - mean) ** 2 / mean).median().to_numpy()
    # The median of a squared normal is 0.455 of its mean.
    spread = np.maximum(np.nan_to_num(strayed / 0.455, nan=1.0), 1.0 + 1e-6)
    return usual, np.asarray(tail_chance(counts, mean, mean * spread))


def _drop(name: Any, rows: pd.DataFrame, daily: pd.DataFrame, settings: HealthSettings) -> Finding:
    event_type, channel = name
    where = f" on channel {channel}" if channel else ""
    worst = rows.assign(share=rows["events"] / rows["expected"]).sort_values(["share", "local_day"])
    top = worst.iloc[0]
    gone = int((rows["expected"] - rows["events"]).sum())
    days = daily["local_day"].nunique()
    return Finding(
        severity="error" if not channel else "warning",
        check="coverage.drop",
        subject=f"{event_type}{where}",
        expected=f"about as many {event_type} events{where} as on the same weekday of the {settings.weeks} weeks before",
        found=f"{share_words(len(rows), days)} days with less than {settings.drop_share:.0%} of that, some {gone:,} events short; "
        f"{top['local_day'].date()} had {int(top['events']):,} where {top['expected']:,.0f} are usual",
        do=f"look at releases and outages of {channel or 'the shop'} on these days, and fetch the events again if they exist.",
        count=len(rows),
        of=days,
        examples=[
            {"day": str(one.local_day.date()), "events": int(one.events), "usual": round(float(one.expected), 1)}
            for one in records(worst.head(settings.examples))
        ],
    )


def null_shares(daily: pd.DataFrame) -> pd.DataFrame:
    """Return event_type, column, events, empty and share: one row an event type and column."""
    sums = daily.groupby(c.EVENT_TYPE)[[EVENTS_COUNTED, *(f"{name}_filled" for name in _OPTIONAL)]].sum()
    long = sums.reset_index().melt(id_vars=[c.EVENT_TYPE, EVENTS_COUNTED], var_name="column", value_name="filled")
    long["column"] = long["column"].str.removesuffix("_filled")
    long["empty"] = long[EVENTS_COUNTED] - long["filled"]
    long["share"] = long["empty"] / long[EVENTS_COUNTED]
    return long[[c.EVENT_TYPE, "column", EVENTS_COUNTED, "empty", "share"]]


def nulls(daily: pd.DataFrame, settings: HealthSettings) -> list[Finding]:
    """Find columns that are empty where they are needed, and columns that suddenly became empty."""
    shares = null_shares(daily)
    found = [
        _empty(row, settings)
        for row in records(shares)
        if row.column in (*_NEEDED.get(str(row.event_type), ()), *_NEEDED_BY_ALL) and row.share > settings.null_share
    ]
    return [*found, *_sudden(daily, settings)]


def _empty(row: Any, settings: HealthSettings) -> Finding:
    effects = {
        c.EVENT_ID: "an event that is sent again then counts again",
        c.PRICE: "its revenue counts as 0",
        c.ORDER_ID: "a customer's purchases of one day then count as one order",
        c.QUANTITY: "one unit is assumed",
    }
    return Finding(
        severity="warning" if row.column in (c.PRICE, c.ORDER_ID) else "notice",
        check="nulls.needed",
        subject=f"{row.event_type}.{row.column}",
        expected=f"{row.column} on {row.event_type} events, empty in at most {settings.null_share:.0%}",
        found=f"empty in {share_words(int(row.empty), int(row.events))}",
        do=f"let the tracker send {row.column}: {effects.get(row.column, 'questions about it cannot be answered')}.",
        count=int(row.empty),
        of=int(row.events),
    )


def _sudden(daily: pd.DataFrame, settings: HealthSettings) -> list[Finding]:
    found = []
    for event_type, rows in daily.groupby(c.EVENT_TYPE):
        sums = rows.groupby("local_day")[[EVENTS_COUNTED, *(f"{name}_filled" for name in _OPTIONAL)]].sum()
        many = sums[sums[EVENTS_COUNTED] >= max(10, 0.1 * sums[EVENTS_COUNTED].median())]
        for name in _OPTIONAL:
            share = 1 - many[f"{name}_filled"] / many[EVENTS_COUNTED]
            usual = float(share.median())
            risen = share > usual + _RISE
            days = share.index[risen]
            # More days than these are how the shop works, unless it is so from one day on until now.
            since = bool(risen.any() and risen.iloc[int(risen.to_numpy().argmax()) :].all())
            if usual < 1 - _RISE and len(days) and (since or len(days) <= _FEW * len(share)):
                found.append(_rise(f"{event_type}.{name}", usual, share, days, settings))
    return found


def _rise(subject: str, usual: float, share: pd.Series, days: Any, settings: HealthSettings) -> Finding:
    event_type, column = subject.split(".")
    return Finding(
        severity="warning",
        check="nulls.sudden",
        subject=subject,
        expected=f"{column} of {event_type} events empty in about {usual:.0%}, as on most days",
        found=f"empty in {share[days].max():.0%} at worst, on {share_words(len(days), len(share))} days: {_days(days)}",
        do=f"look for what changed in how {event_type} is sent on {days[0].date()}.",
        count=len(days),
        of=len(share),
        examples=[
            {"day": str(day.date()), "empty_share": round(float(share[day]), 4)} for day in days[: settings.examples]
        ],
    )


def _days(days: Sequence[dt.datetime] | pd.DatetimeIndex) -> str:
    shown = ", ".join(str(day.date()) for day in days[:3])
    return f"{shown}{f' and {len(days) - 3} more' if len(days) > 3 else ''}"
