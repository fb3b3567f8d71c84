"""All checks over one directory's events, out of core in DuckDB."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from features import columns as c
from features.engine import memory_explained, private_connection
from features.insight.health.arrival import arrival
from features.insight.health.clocks import clocks
from features.insight.health.coverage import EVENTS_COUNTED, counted, drops, missing_days, null_shares, nulls
from features.insight.health.duplicates import duplicates
from features.insight.health.findings import HealthReport
from features.insight.health.orders import orders
from features.insight.health.settings import HealthSettings
from features.insight.health.source import VIEW, Source, instant, open_source
from features.report.sections import records
from features.settings import EngineSettings

logger = logging.getLogger(__name__)


def check_health(
    directory: Path,
    *,
    settings: HealthSettings | None = None,
    arrivals: Path | None = None,
    scratch: Path | None = None,
    engine: EngineSettings = EngineSettings(),
) -> HealthReport:
    """Return what is missing, twice, late or at the wrong time among a directory's events.

    Args:
        directory: data directory, whose events are looked at before the event log drops repeated ones, or a feature directory.
        settings: limits; the usual ones where left out.
        arrivals: Parquet file with event_id and received_at, where the events do not say when they were received.
        scratch: where to spill; beside the directory where left out.
        engine: memory limit, threads, where to spill.

    Raises:
        DataError: there are no events, or the arrivals are no such file.
        ConfigError: the memory limit is too low.
    """
    settings = settings or HealthSettings()
    with memory_explained(engine), private_connection(engine, beside=scratch or Path(directory).parent) as connection:
        source = open_source(connection, directory, arrivals=arrivals)
        daily = counted(source, settings)
        late, times = arrival(source, settings)
        findings = [
            *missing_days(daily, settings),
            *drops(daily, settings),
            *nulls(daily, settings),
            *orders(source, settings),
            *duplicates(source, settings),
            *late,
            *clocks(source, settings),
        ]
        report = HealthReport.of(
            _about(source), findings, coverage=_coverage(daily), empty=_empty(daily), arrival=times
        )
    logger.info(
        "data check: %d events, %s", source.num_rows, ", ".join(f"{n} {name}" for name, n in report.counts.items())
    )
    return report


def _about(source: Source) -> dict[str, Any]:
    row = source.row(f"SELECT count(DISTINCT user_id) AS users, min(us) AS first, max(us) AS last FROM {VIEW}")
    return {
        "events": source.num_rows,
        "customers": row["users"],
        "first_at": instant(row["first"]),
        "last_at": instant(row["last"]),
        "table": "event log (repeated events are gone)" if source.is_log else "data directory",
        "time_to_table": "known" if source.has_arrivals else "not known: no event says when it was received",
        "time_zone": source.shop.time_zone,
    }


def _coverage(daily: Any) -> list[dict[str, Any]]:
    rows = daily.groupby([c.EVENT_TYPE, c.CHANNEL]).agg(
        events=(EVENTS_COUNTED, "sum"),
        days=("local_day", "nunique"),
        first=("local_day", "min"),
        last=("local_day", "max"),
    )
    return [
        {c.EVENT_TYPE: key[0], c.CHANNEL: key[1], "events": int(row.events), "days": int(row.days),
         "first_day": str(row["first"].date()), "last_day": str(row["last"].date())}
        for key, row in rows.sort_values("events", ascending=False, kind="stable").iterrows()
    ]  # fmt: skip


def _empty(daily: Any) -> list[dict[str, Any]]:
    rows = null_shares(daily)
    rows = rows[(rows["empty"] > 0) & (rows["share"] < 1)].sort_values([c.EVENT_TYPE, "column"])
    return [
        {
            c.EVENT_TYPE: row.event_type,
            "column": row.column,
            "events": int(row.events),
            "empty": int(row.empty),
            "share": round(float(row.share), 6),
        }
        for row in records(rows)
    ]
