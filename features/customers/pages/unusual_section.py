"""The section about what was unusual: rates of events, jumps between regions, bursts of links."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

import duckdb
import pandas as pd

from features import columns as c
from features.customers.anomalies import (
    EVERY_CHANNEL,
    UNKNOWN_CHANNEL,
    AnomalySettings,
    bursts,
    expectation,
    rate_breaks,
    region_jumps,
)
from features.customers.pages import log_counts
from features.report.charts import daily_line
from features.report.page import number, percent
from features.report.sections import Drawn, Listed, Section, capital, records
from features.report.words import Words

_MOST_LINES = 20
_DRAWN_WEEKS = 12

Namer = Callable[[str], str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Unusual:
    """What was found.

    Args:
        daily: day, event_type, channel, events of the log.
        days: all days that are looked at.
        rates: from ``rate_breaks``.
        jumps: from ``region_jumps``.
        changes: customers' days with unusually many changes of region.
        accounts: devices' days with unusually many new accounts.
        devices: accounts' days with unusually many new devices.
        settings: what counted as unusual.
        placed: whether places of regions were known.
    """

    daily: pd.DataFrame
    days: pd.DatetimeIndex
    rates: pd.DataFrame
    jumps: pd.DataFrame
    changes: pd.DataFrame
    accounts: pd.DataFrame
    devices: pd.DataFrame
    settings: AnomalySettings
    placed: bool

    @property
    def count(self) -> int:
        """How many lines the lists have."""
        return sum(map(len, (self.rates, self.jumps, self.changes, self.accounts, self.devices)))


def find_unusual(
    rows: duckdb.DuckDBPyRelation,
    *,
    first_day: dt.date,
    last_day: dt.date,
    settings: AnomalySettings,
    places: pd.DataFrame | None = None,
) -> Unusual:
    """Look through the log.

    Args:
        rows: of the log, for analytics.
        first_day: of the log.
        last_day: last whole day of the log.
        settings: what counts as unusual.
        places: region, latitude, longitude, where known.
    """
    days = pd.date_range(first_day, last_day)
    rows = rows.filter(f"{c.LOCAL_DAY} <= DATE '{last_day}'")
    since = max(first_day, last_day - dt.timedelta(days=settings.days - 1))
    daily = log_counts.daily_counts(rows)
    changes = log_counts.region_changes(rows, since=since)
    links = {"of": c.DEVICE_ID, "to": c.SOURCE_USER_ID}, {"of": c.SOURCE_USER_ID, "to": c.DEVICE_ID}
    accounts, devices = (
        bursts(log_counts.new_links(rows, **pair, since=since), of="new", settings=settings) for pair in links
    )
    return Unusual(
        daily=daily,
        days=days,
        rates=rate_breaks(daily, days=days, settings=settings),
        jumps=region_jumps(changes, settings=settings, places=places),
        changes=bursts(log_counts.changes_by_day(rows, changes, since=since), of="changes", settings=settings),
        accounts=accounts,
        devices=devices,
        settings=settings,
        placed=places is not None,
    )


def unusual_section(found: Unusual, *, named: Namer, names_note: str, words: Words) -> Section:
    """Return the lists, under names that ``named`` gives to customers and devices."""
    days = found.settings.days
    jumps_note = [] if found.placed else [words("unusual.jumps_minutes", minutes=found.settings.jump_minutes)]
    return Section(
        name="unusual",
        title=words("unusual.title"),
        text=words("unusual.text", days=days),
        finding=words("short.unusual", count=found.count, days=days) if found.count else words("short.quiet"),
        drawn=_rate_figures(found, words),
        listed=[
            _rates_table(found.rates, words),
            _jumps_table(found.jumps, named, words),
            _bursts_table(found.changes, c.USER_ID, "changes", named, words),
            _bursts_table(found.accounts, "who", "new_accounts", named, words),
            _bursts_table(found.devices, "who", "new_devices", named, words),
        ],
        notes=[
            words("unusual.rates_text"),
            words("unusual.jumps_text"),
            *jumps_note,
            words("unusual.links_text"),
            names_note,
        ],
    )


def _rate_figures(found: Unusual, words: Words) -> list[Drawn]:
    """Return a figure of each of the two breaks that are least likely to be chance."""
    top = found.rates.sort_values("chance", kind="stable").drop_duplicates(["event_type", "channel"])[:2]
    return [_rate_figure(found, str(row.event_type), str(row.channel), words) for row in records(top)]


def _rate_figure(found: Unusual, event_type: str, channel: str, words: Words) -> Drawn:
    rows = found.daily[found.daily["event_type"] == event_type]
    if channel != EVERY_CHANNEL:
        rows = rows[rows["channel"].fillna(UNKNOWN_CHANNEL) == channel]
    counts = rows.groupby(c.DAY)["events"].sum().reindex(found.days).fillna(0.0).to_numpy(float)
    mean, _ = expectation(counts[:, None], found.settings)
    lines = found.rates[(found.rates["event_type"] == event_type) & (found.rates["channel"] == channel)]
    last = slice(-7 * _DRAWN_WEEKS, None)
    days = found.days[last]
    marked = [
        place for place, day in enumerate(days) if any(line.from_day <= day <= line.to_day for line in records(lines))
    ]
    title = words("unusual.figure", event=capital(words.term("event", event_type)), channel=_channel(channel, words))
    svg = daily_line(
        [words.day(day.date()) for day in days],
        counts[last],
        mean[last, 0],
        marked,
        words=(words("unusual.counted"), words("unusual.expected"), words("unusual.marked")),
        title=title,
        description=title,
    )
    return Drawn(svg=svg, caption=title)


def _rates_table(rates: pd.DataFrame, words: Words) -> Listed:
    rows = [
        [
            words.days(row.from_day.date(), row.to_day.date()),
            capital(words.term("event", row.event_type)),
            _channel(row.channel, words),
            number(row.events),
            number(round(row.expected)),
            percent(row.events / row.expected, 0),
            _chance(row.chance),
        ]
        for row in records(rates)
    ]
    heads = ("day", "event", "channel", "events", "expected", "times", "chance")
    return _table("rates", heads, rows, words)


def _jumps_table(jumps: pd.DataFrame, named: Namer, words: Words) -> Listed:
    rows = [
        [
            words.day(row.day.date()),
            named(str(row.user_id)),
            row.region_before,
            row.region,
            f"{row.minutes:.0f}",
            "" if pd.isna(row.kilometres) else number(round(row.kilometres)),
        ]
        for row in records(jumps)
    ]
    heads = ("day", "customer", "from_region", "to_region", "minutes", "kilometres")
    return _table("jumps", heads, rows, words)


def _bursts_table(found: pd.DataFrame, who: str, what: str, named: Namer, words: Words) -> Listed:
    title = {"changes": "many_changes"}.get(what, what)
    whom = {"changes": "customer", "new_accounts": "device", "new_devices": "account"}[what]
    count = "changes" if what == "changes" else "new"
    rows = [
        [words.day(day.date()), named(str(one)), f"{int(n)}", f"{usual:.2f}", _chance(chance)]
        for day, one, n, usual, chance in records(found[[c.DAY, who, count, "expected", "chance"]])
    ]
    return _table(title, ("day", whom, what, "usual", "chance"), rows, words)


def _table(title: str, heads: tuple[str, ...], rows: list[list[str]], words: Words) -> Listed:
    caption = words(f"unusual.{title}")
    if not rows:
        return Listed(caption=f"{caption}: {words('unusual.none')}", columns=(), rows=())
    if len(rows) > _MOST_LINES:
        caption += f". {words('unusual.more', count=len(rows) - _MOST_LINES)}"
    return Listed(
        caption=caption, columns=[words(f"unusual.{head}") for head in heads], rows=rows[:_MOST_LINES], open=True
    )


def _channel(channel: str, words: Words) -> str:
    keys = {EVERY_CHANNEL: "unusual.every_channel", UNKNOWN_CHANNEL: "unusual.unknown_channel"}
    return words(keys[channel]) if channel in keys else channel


def _chance(chance: float) -> str:
    """Return a small probability as a power of ten.

    >>> _chance(3e-7)
    '< 10⁻⁶'
    """
    exponent = 0 if chance >= 1 else 15 if chance < 1e-15 else next(n for n in range(15, -1, -1) if chance < 10.0**-n)
    return f"< 10⁻{''.join('⁰¹²³⁴⁵⁶⁷⁸⁹'[int(digit)] for digit in str(exponent))}"
