"""Clocks that are wrong: events in the future, time that goes backwards, ids that never end, days off by whole hours."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from features import columns as c
from features.insight.health.findings import Finding, share_words
from features.insight.health.settings import HealthSettings
from features.insight.health.source import OLDEST_US, RECEIVED_US, VIEW, Source, instant
from features.report.sections import records
from features.tables.sessions import VISIT_EVENTS

_HOURS: Final = 24
_HOUR_US: Final = 3_600_000_000
_MINUTE_US: Final = 60_000_000
_IN_ORDER: Final = 0.05  # with more steps back than this the rows are not in the order in which they came
_LEAST_GAIN: Final = (
    10.0  # nats by which a day must fit better when it is moved, beyond those that trying many days gives
)
_LEAST_PRESENT: Final = 50  # customers and hours of a day, below which nothing is said of it
_LEAST_DAYS: Final = 7  # of the same kind, that say what is usual
_BETTER: Final = 0.5  # and what may be left of its distance from a usual day


def clocks(source: Source, settings: HealthSettings) -> list[Finding]:
    """Find instants that cannot be right; to be asked after ``duplicates``."""
    return [
        *_impossible(source, settings),
        *_backwards(source, settings),
        *_endless(source, settings),
        *_shifted(source, settings),
    ]


def _impossible(source: Source, settings: HealthSettings) -> list[Finding]:
    latest = source.written_us + settings.future_us
    found = []
    for name, where, expected in (
        ("future", f"us > {latest}", f"no event after {instant(source.written_us)}, when the table was written"),
        ("never_set", f"us < {OLDEST_US}", "no event before the year 2000"),
    ):
        row = source.row(f"SELECT count(*) AS n, min(us) AS first, max(us) AS last FROM {VIEW} WHERE {where}")
        if row["n"]:
            found.append(
                Finding(
                    severity="error",
                    check=f"clocks.{name}",
                    expected=expected,
                    found=f"{share_words(row['n'], source.num_rows)} events, from {instant(row['first'])} to {instant(row['last'])}",
                    do="take these events out, or let the server stamp them; windows and cohorts reach to the log's last instant.",
                    count=row["n"],
                    of=source.num_rows,
                    examples=source.rows(f"""
                        SELECT coalesce(device_id, user_id) AS sender, count(*) AS events FROM {VIEW} WHERE {where}
                        GROUP BY ALL ORDER BY events DESC, sender LIMIT {settings.examples}"""),
                )
            )
    return found


def _backwards(source: Source, settings: HealthSettings) -> list[Finding]:
    if source.is_log and not source.has_arrivals:
        return []  # sorted by time
    order = f"{RECEIVED_US}, row" if source.has_arrivals else "row"
    return [found for name in (c.DEVICE_ID, c.SESSION_ID) for found in _back_of(source, name, order, settings)]


def _back_of(source: Source, name: str, order: str, settings: HealthSettings) -> list[Finding]:
    source.connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE turned AS
        SELECT sender, count(*) AS steps, count(*) FILTER (back > 0) AS any_back,
               count(*) FILTER (back > {int(settings.back_seconds * 1e6)}) AS n, max(back) AS most
        FROM (SELECT {name} AS sender, lag(us) OVER (PARTITION BY {name} ORDER BY {order}) - us AS back
              FROM {VIEW} ANTI JOIN same_id USING (event_id) WHERE {name} IS NOT NULL)  -- sent again is no clock set back
        WHERE back IS NOT NULL GROUP BY sender""")
    sums = source.row("""
        SELECT coalesce(sum(steps), 0)::BIGINT AS steps, coalesce(sum(any_back), 0)::BIGINT AS any_back,
               coalesce(sum(n), 0)::BIGINT AS n, count(*) FILTER (n > 0) AS senders, max(most) AS most FROM turned""")
    if not sums["n"]:
        return []
    kind = name.removesuffix("_id")
    if not source.has_arrivals and sums["any_back"] > _IN_ORDER * sums["steps"]:
        return [
            Finding(
                severity="notice",
                check="clocks.order_unknown",
                subject=kind,
                expected="rows in the order in which they came, to see clocks that go back",
                found=f"{share_words(sums['any_back'], sums['steps'])} steps of a {kind} go back: the rows are in another order",
                do="give --arrivals, or keep the rows in the order of their receipt.",
                count=sums["any_back"],
                of=sums["steps"],
            )
        ]
    return [
        Finding(
            severity="warning",
            check="clocks.backwards",
            subject=kind,
            expected=f"time that goes on from event to event of a {kind}, give or take {settings.back_seconds:g} s",
            found=f"{share_words(sums['n'], sums['steps'])} steps back, of {sums['senders']:,} {kind}s, by up to "
            f"{sums['most'] / _MINUTE_US:,.0f} minutes",
            do="a clock was set, or events were held back and sent late: let the server stamp events, or order them by receipt.",
            count=sums["n"],
            of=sums["steps"],
            examples=source.rows(f"""
                SELECT sender AS {name}, n AS steps_back, round(most / {_MINUTE_US}, 1) AS most_minutes FROM turned
                WHERE n > 0 ORDER BY n DESC, sender LIMIT {settings.examples}"""),
        )
    ]


def _endless(source: Source, settings: HealthSettings) -> list[Finding]:
    source.connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE sessions AS
        SELECT session_id, max(us) - min(us) AS lasted, count(DISTINCT user_id) AS users FROM {VIEW}
        WHERE session_id IS NOT NULL GROUP BY session_id""")
    limit = int(settings.session_hours * _HOUR_US)
    sums = source.row(f"SELECT count(*) AS n, count(*) FILTER (lasted > {limit}) AS long FROM sessions")
    if not sums["long"]:
        return []
    hours = f"round(lasted / {_HOUR_US}, 1)"
    return [
        Finding(
            severity="warning",
            check="clocks.endless_session",
            expected=f"session ids that last at most {settings.session_hours:g} hours",
            found=f"{share_words(sums['long'], sums['n'])} last longer, and each counts as one visit",
            do="renew the session id after thirty minutes without an event, or leave it out: visits are then told by pauses.",
            count=sums["long"],
            of=sums["n"],
            examples=source.rows(f"""
                SELECT session_id, {hours} AS hours, users FROM sessions WHERE lasted > {limit}
                ORDER BY lasted DESC, session_id LIMIT {settings.examples}"""),
        )
    ]


def _shifted(source: Source, settings: HealthSettings) -> list[Finding]:
    # Messages come when a campaign sends them.
    types = ", ".join(f"'{name}'" for name in VISIT_EVENTS)
    sound = f"FROM {VIEW} WHERE {source.possible(settings.future_us)} AND event_type IN ({types})"
    query = f"""
        SELECT '' AS channel, local_day, local_hour, count(DISTINCT user_id) AS present {sound} GROUP BY ALL UNION ALL
        SELECT channel, local_day, local_hour, count(DISTINCT user_id) {sound} AND channel <> '' GROUP BY ALL"""
    hours = source.connection.sql(query).to_arrow_table().to_pandas(date_as_object=False)
    found: list[Finding] = []
    whole: set[Any] = set()
    for channel, rows in hours.groupby(c.CHANNEL):  # the empty one, which is all of them, comes first
        wide = rows.pivot(index="local_day", columns="local_hour", values="present").reindex(columns=range(_HOURS))
        days = shifted_days(wide.fillna(0.0).sort_index())
        days = days[~days["day"].isin(whole)]
        whole |= set() if channel else set(days["day"])
        if len(days):
            found.append(_shift(str(channel), days, len(wide), settings))
    return found


def shifted_days(hours: pd.DataFrame) -> pd.DataFrame:
    """Return the days whose hours look like a usual day's moved by whole hours.

        usual    quiet until 8, busiest at 20        moved by 2    quiet until 10, busiest at 22

    Usual is the median, over the other days of the same kind (Monday to Friday, Saturday and Sunday), of the share of each
    hour. A day counts as moved where its distance (Kullback-Leibler) to the moved usual day is less than half that to the
    usual one, and the gain, times customers, is more than chance gives.

    Args:
        hours: customers who were there, a row a day (datetime index), a column an hour 0 to 23. Customers, since events of
            one visit come together and say no more than one.

    Returns:
        day, hours (later than usual; negative is earlier), present (customers and hours); one row each.
    """
    counts = hours.to_numpy(float)
    total = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(total, 1)
    weekend = pd.DatetimeIndex(hours.index).day_of_week.to_numpy() >= 5
    found: list[dict[str, Any]] = []
    for place in range(len(counts)):
        others = (weekend == weekend[place]) & (total[:, 0] > 0)
        others[place] = False
        if others.sum() < _LEAST_DAYS or total[place, 0] < _LEAST_PRESENT:
            continue
        usual = np.median(shares[others], axis=0) + 1 / (10 * _HOURS)  # no hour is impossible
        usual /= usual.sum()
        away = np.array([_distance(shares[place], np.roll(usual, shift)) for shift in range(_HOURS)])
        best = int(away.argmin())
        gain = (away[0] - away[best]) * total[place, 0]
        if best and gain > _LEAST_GAIN + np.log(_HOURS * len(counts)) and away[best] < _BETTER * away[0]:
            shift = best if best <= _HOURS // 2 else best - _HOURS
            found.append({"day": hours.index[place], "hours": shift, "present": int(total[place, 0])})
    return pd.DataFrame(found, columns=["day", "hours", "present"])


def _distance(one: Any, other: Any) -> float:
    seen = one > 0
    return float((one[seen] * np.log(one[seen] / other[seen])).sum())


def _shift(channel: str, days: pd.DataFrame, num_days: int, settings: HealthSettings) -> Finding:
    where = f" of channel {channel}" if channel else ""
    most = int(days["hours"].mode().iloc[0])
    return Finding(
        severity="warning",
        check="clocks.whole_hours",
        subject=channel,
        expected=f"hours of the day{where} as on the other days",
        found=f"{share_words(len(days), num_days)} days look like a usual one moved by whole hours, most by {most:+d} h, the first on "
        f"{days['day'].iloc[0].date()}",
        do="look for times without a zone or a change of clocks in what sends them; a holiday may look like it, too.",
        count=len(days),
        of=num_days,
        examples=[
            {"day": str(one.day.date()), "hours": int(one.hours), "present": int(one.present)}
            for one in records(days.head(settings.examples))
        ],
    )
