"""How long events take to the table, where it is known when they were received; and how old the newest is."""

from __future__ import annotations

from typing import Any, Final

from features import columns as c
from features.insight.health.findings import Finding, share_words
from features.insight.health.settings import HealthSettings
from features.insight.health.source import RECEIVED, RECEIVED_US, VIEW, Source

_MINUTE_US: Final = 60_000_000


def arrival(source: Source, settings: HealthSettings) -> tuple[list[Finding], list[dict[str, Any]]]:
    """Find late events; return the findings, and times to the table by event type and channel, minutes."""
    if not source.has_arrivals:
        return [_unknown(source), *_stale(source, settings)], []
    limit = int(settings.limit_minutes * _MINUTE_US)
    minutes = f"({RECEIVED_US} - us) / {_MINUTE_US}.0"
    rows = source.rows(f"""
        SELECT event_type, coalesce(channel, '') AS channel, count({RECEIVED_US}) AS events,
               count(*) - count({RECEIVED_US}) AS unknown, count(*) FILTER ({RECEIVED_US} - us > {limit}) AS late,
               round(approx_quantile({minutes}, 0.5), 3) AS median_minutes,
               round(approx_quantile({minutes}, 0.99), 3) AS p99_minutes, round(max({minutes}), 3) AS most_minutes
        FROM {VIEW} GROUP BY ALL ORDER BY late DESC, event_type, channel""")
    known = sum(row["events"] for row in rows)
    if not known:
        return [_unknown(source), *_stale(source, settings)], []
    return [*_late(source, settings, rows, known), *_before(source, settings, known)], rows


def _late(source: Source, settings: HealthSettings, rows: list[dict[str, Any]], known: int) -> list[Finding]:
    late = sum(row["late"] for row in rows)
    if late <= settings.late_share * known:
        return []
    worst = rows[0]
    where = f"{worst['event_type']}{' on ' + worst['channel'] if worst['channel'] else ''}"
    limit = int(settings.limit_minutes * _MINUTE_US)
    days = source.rows(f"""
        SELECT local_day::VARCHAR AS day, count(*) FILTER ({RECEIVED_US} - us > {limit}) AS late, count({RECEIVED_US}) AS events
        FROM {VIEW} GROUP BY ALL HAVING late > 0 ORDER BY late DESC, day LIMIT {settings.examples}""")
    return [
        Finding(
            severity="error",
            check="arrival.late",
            expected=f"events in the table within {settings.limit_minutes:g} minutes, at most {settings.late_share:.0%} later",
            found=f"{share_words(late, known)} later; most are {where}, half of which take {worst['median_minutes']:g} minutes",
            do="send events at once instead of in batches, run the import more often, or raise --limit_minutes.",
            count=late,
            of=known,
            examples=days,
        )
    ]


def _before(source: Source, settings: HealthSettings, known: int) -> list[Finding]:
    ahead = f"us - {RECEIVED_US} > {settings.future_us}"
    count = source.row(f"SELECT count(*) AS n FROM {VIEW} WHERE {ahead}")["n"]
    if not count:
        return []
    return [
        Finding(
            severity="warning",
            check="clocks.ahead_of_receipt",
            expected=f"no event more than {settings.future_minutes:g} minutes after its own receipt",
            found=f"{share_words(count, known)} events say that they happened later",
            do="the sender's clock runs ahead: let the server stamp events, or correct by the time of receipt.",
            count=count,
            of=known,
            examples=source.rows(f"""
                SELECT coalesce(device_id, user_id) AS sender, count(*) AS events FROM {VIEW} WHERE {ahead}
                GROUP BY ALL ORDER BY events DESC, sender LIMIT {settings.examples}"""),
        )
    ]


def _unknown(source: Source) -> Finding:
    return Finding(
        severity="notice",
        check="arrival.unknown",
        expected=f"the instant of receipt of each event: a column {RECEIVED} in the table, or a file of arrivals",
        found="none, so that how long an event takes to the table, and which events are late, cannot be told",
        do=f"give --arrivals FILE, a Parquet file with {c.EVENT_ID} and {RECEIVED}, from whatever receives the events.",
        count=source.num_rows,
        of=source.num_rows,
    )


def _stale(source: Source, settings: HealthSettings) -> list[Finding]:
    newest = source.row(f"SELECT max(us) AS us FROM {VIEW} WHERE {source.possible(settings.future_us)}")["us"]
    minutes = (source.written_us - (newest or source.written_us)) / _MINUTE_US
    if minutes <= settings.limit_minutes:
        return []
    return [
        Finding(
            severity="notice",
            check="arrival.newest_event",
            expected=f"a newest event at most {settings.limit_minutes:g} minutes older than the table",
            found=f"{minutes:,.0f} minutes between the newest event and the writing of the table",
            do="nothing for a log of the past; for one that is kept up to date, run the import more often.",
            count=1,
            of=1,
        )
    ]
