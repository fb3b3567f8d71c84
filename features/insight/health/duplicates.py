"""Events that are there twice: under one event_id, or with one content within a second."""

from __future__ import annotations

from typing import Final

from features import columns as c
from features.contract.tables import EVENTS
from features.insight.health.findings import Finding, share_words
from features.insight.health.settings import HealthSettings
from features.insight.health.source import VIEW, Source

_CONTENT: Final = ", ".join(name for name in EVENTS.column_names if name not in (c.TS, c.EVENT_ID))


def duplicates(source: Source, settings: HealthSettings) -> list[Finding]:
    """Find repeated events, and say how many the import has set aside already."""
    return [*_set_aside(source), *_same_id(source, settings), *_same_content(source, settings)]


def _set_aside(source: Source) -> list[Finding]:
    found = []
    for name, words in (("duplicates", "repeated"), ("rejected", "broken")):
        count = source.set_aside.get(name, 0)
        if count:
            found.append(
                Finding(
                    severity="notice",
                    check=f"import.{name}",
                    expected=f"no {words} rows in the source",
                    found=f"the import set aside {share_words(count, count + source.num_rows)} rows",
                    do="rejects/events.parquet beside the data says which and why.",
                    count=count,
                    of=count + source.num_rows,
                )
            )
    return found


def _same_id(source: Source, settings: HealthSettings) -> list[Finding]:
    """Find repeated ids; they stay in the table ``same_id``."""
    if source.is_log:  # which keeps one row an event_id
        source.connection.execute("CREATE OR REPLACE TEMP TABLE same_id (event_id VARCHAR)")
        return []
    # Only ids whose hash repeats are looked at in full.
    source.connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE same_id AS
        SELECT event_id, count(*) AS n, count(DISTINCT hash(us, {_CONTENT})) AS contents FROM {VIEW}
        WHERE event_id IS NOT NULL AND hash(event_id) IN (
            SELECT hash(event_id) FROM {VIEW} WHERE event_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1)
        GROUP BY event_id HAVING count(*) > 1""")
    sums = source.row(
        "SELECT coalesce(sum(n - 1), 0)::BIGINT AS n, count(*) FILTER (contents > 1) AS conflicts FROM same_id"
    )
    found = []
    if sums["n"]:
        found.append(
            Finding(
                severity="warning",
                check="duplicates.same_event_id",
                expected="each event_id once",
                found=f"{share_words(sums['n'], source.num_rows)} rows repeat one",
                do="nothing for Footfall, whose event log keeps the first of each; other readers of this table count them twice.",
                count=sums["n"],
                of=source.num_rows,
                examples=source.rows(
                    f"SELECT event_id, n AS rows FROM same_id ORDER BY n DESC, event_id LIMIT {settings.examples}"
                ),
            )
        )
    if sums["conflicts"]:
        found.append(
            Finding(
                severity="error",
                check="duplicates.conflicting_event_id",
                expected="one content for each event_id",
                found=f"{sums['conflicts']:,} event_ids with several contents: different events that share an id, all but one of which "
                "the log drops",
                do="let the tracker make ids that are unique over devices and days (a UUID).",
                count=sums["conflicts"],
                of=source.num_rows,
                examples=source.rows(
                    f"SELECT event_id, contents FROM same_id WHERE contents > 1 ORDER BY contents DESC, event_id "
                    f"LIMIT {settings.examples}"
                ),
            )
        )
    return found


def _same_content(source: Source, settings: HealthSettings) -> list[Finding]:
    # Slim rows: a hash of the content, the instant and the id, of contents that come more than once.
    source.connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE contents AS
        SELECT hash({_CONTENT}) AS content, us, row, hash(coalesce(event_id, '')) AS id, event_type FROM {VIEW}""")
    repeated = f"""
        FROM (SELECT *, lag(us) OVER w AS before_us, lag(id) OVER w AS before_id FROM contents
              WINDOW w AS (PARTITION BY content ORDER BY us, row))
        WHERE us - before_us <= {int(settings.repeat_seconds * 1e6)} AND (id <> before_id OR id = hash(''))"""
    by_type = source.rows(f"SELECT event_type, count(*) AS rows {repeated} GROUP BY ALL ORDER BY rows DESC, event_type")
    source.connection.execute("DROP TABLE contents")
    count = sum(row["rows"] for row in by_type)
    if not count:
        return []
    money = any(row["event_type"] in (c.PURCHASE, c.REFUND) for row in by_type)
    return [
        Finding(
            severity="error" if money else "warning",
            check="duplicates.same_content",
            expected=f"no two events of one content within {settings.repeat_seconds:g} s, unless they have one event_id",
            found=f"{share_words(count, source.num_rows)} rows repeat the one before under another event_id, or none: "
            + ", ".join(f"{row['rows']:,} {row['event_type']}" for row in by_type[:3]),
            do="look for a tag that fires twice or a retry that makes a new event_id; both rows are counted until then.",
            count=count,
            of=source.num_rows,
            examples=by_type[: settings.examples],
        )
    ]
