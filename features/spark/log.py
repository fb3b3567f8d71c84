"""The event log on a cluster: what ``features.event_log`` makes in DuckDB, as a directory of sorted Parquet files.

    source events -> identified -> distinct -> customers -> flagged -> by ranges of users -> each range sorted

Each file holds a range of users, so that files in order of their names are the log in its order. One user is in one file,
however many events it has; Spark sorts a file's rows on disk where memory does not hold them. Rows are those of
``features.log_rows``, and so is the fingerprint.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow.parquet as pq

from features import columns as c
from features.contract.read import define_table
from features.contract.tables import EVENTS
from features.event_log import LOG_COLUMNS, METADATA_KEY, EventLog, LogSummary, fingerprinted
from features.files import write_json
from features.log_rows import FLAGS, counted_checks, expect_checked
from features.parquet import SUMMARY_FILE, files_of
from features.privacy.consents import ConsentBook
from features.settings import ShopSettings
from features.spark.identity import by_customer
from features.spark.scratch import kept, read_parts, write_parts
from features.tables.local_time import with_local_time
from features.tables.sql import run

_ORDER: Final = (c.USER_ID, c.TS, c.EVENT_ID)  # ends in a unique key

logger = logging.getLogger(__name__)


def build_log(
    session: Any,
    data: Path,
    path: Path,
    *,
    shop: ShopSettings,
    consents: Path,
    identity: Path | None,
    scratch: Path,
    num_files: int,
) -> EventLog:
    """Read ``data/events.parquet`` and write the log to the directory ``path``.

    Args:
        session: from ``features.spark.session``.
        data: a data directory.
        path: the directory to write; what stands there is replaced.
        shop: its zone gives the local day and hour.
        consents: the file of the data's ``ConsentBook``.
        identity: directory of the identity stage; ``None`` where it linked nothing.
        scratch: directory for what is read twice, which all workers see.
        num_files: into how many ranges of users the log is cut.

    Raises:
        DataError: a file is missing, empty or breaks the contract.
    """
    events, num_rows = _checked(session, Path(data) / "events.parquet")
    rows = with_local_time(_distinct(events, scratch), time_zone=shop.time_zone)
    if identity is not None:
        rows = by_customer(rows, Path(identity), settings=shop.identity)
    else:
        rows = rows.withColumn(c.SOURCE_USER_ID, rows[c.USER_ID])
    flagged = _flagged(rows, consents).select(*LOG_COLUMNS)
    write_parts(flagged.repartitionByRange(num_files, c.USER_ID).sortWithinPartitions(*_ORDER), path)
    _summarise(read_parts(session, path), path, linked=identity is not None)
    log = EventLog.open(path)
    logger.info(
        "event log: %d rows in, %d repeated rows set aside, %d events of %d users from %s to %s in %d files",
        *(num_rows, num_rows - log.num_events, log.num_events, log.num_users, log.first_day, log.last_day),
        len(files_of(path)),
    )
    return log


def row_content(names: Iterable[str]) -> str:
    """Return Spark's SQL of the text that ``features.log_rows.row_content`` makes in DuckDB."""
    texts = (f"unix_micros({name})" if name == c.TS else name for name in names)
    return f"concat_ws(chr(31), {', '.join(f'coalesce(CAST({text} AS STRING), chr(30))' for text in texts)})"


def _checked(session: Any, path: Path) -> tuple[Any, int]:
    """Return the events and their number."""
    with duckdb.connect() as connection:
        define_table(connection, path, EVENTS, view="events")  # for its checks of the columns
    events = read_parts(session, path).select(*EVENTS.column_names)
    counts = run(f"SELECT {counted_checks()} FROM {{events}}", events=events).first()
    return events, expect_checked(counts, path)


def _distinct(events: Any, scratch: Path) -> Any:
    """Give each row an id, and let each id stand once."""
    names = [name for name in EVENTS.column_names if name != c.EVENT_ID]
    content, others = row_content(names), ", ".join(names)
    identified = run(
        f"""SELECT {others}, event_id IS NULL AS derived, coalesce(event_id, concat('h', md5({content}))) AS base_id
            FROM {{events}}""",
        events=events,
    )
    # Almost no id repeats, so only those that may (equal 64-bit hash) pay for a window.
    hashes = "SELECT xxhash64(base_id) AS id_hash FROM {identified} GROUP BY xxhash64(base_id) HAVING count(*) > 1"
    repeated = kept(run(hashes, identified=identified), scratch / "repeated.parquet")
    return run(
        f"""SELECT {others}, base_id AS event_id FROM {{identified}} LEFT ANTI JOIN {{repeated}} ON xxhash64(base_id) = id_hash
            UNION ALL
            SELECT {others}, CASE WHEN occurrence = 1 THEN base_id ELSE concat(base_id, '.', occurrence) END AS event_id
            FROM (
                SELECT *, row_number() OVER (PARTITION BY base_id ORDER BY ts, user_id, md5({content})) AS occurrence
                FROM {{identified}} LEFT SEMI JOIN {{repeated}} ON xxhash64(base_id) = id_hash
            ) WHERE derived OR occurrence = 1""",
        identified=identified,
        repeated=repeated,
    )


def _flagged(rows: Any, consents: Path) -> Any:
    """Say of each row which purposes it may serve, by the rule of ``features.privacy.consents``."""
    said = read_parts(rows.sparkSession, consents)
    otherwise = str(ConsentBook.otherwise_of(consents)).lower()
    flags = ", ".join(
        f"CASE WHEN s.{c.USER_ID} IS NULL THEN {otherwise} "
        f"ELSE coalesce(unix_micros(e.ts) >= s.{purpose}_from, false) END AS {flag}"  # NULL: never
        for purpose, flag in FLAGS.items()
    )
    text = f"SELECT e.*, {flags} FROM {{rows}} e LEFT JOIN {{said}} s ON s.{c.USER_ID} = e.{c.USER_ID}"
    return run(text, rows=rows, said=said)


def _summarise(log: Any, path: Path, *, linked: bool) -> None:
    """Write what ``EventLog.open`` reads; with it the directory becomes a log."""
    found = run(
        f"""SELECT count(*) AS num_events, count(DISTINCT user_id) AS num_users,
                   unix_micros(min(ts)) AS first_us, unix_micros(max(ts)) AS last_us,
                   min({c.LOCAL_DAY}) AS first_day, max({c.LOCAL_DAY}) AS last_day,
                   sum({_number(17)}) AS lower, sum({_number(1)}) AS upper
            FROM (SELECT *, md5({row_content(fingerprinted(linked))}) AS digest FROM {{log}})""",
        log=log,
    ).first()
    summary = LogSummary.of(
        num_events=found.num_events,
        num_users=found.num_users,
        span_us=(found.first_us, found.last_us),
        days=(found.first_day, found.last_day),
        sums=(int(found.lower), int(found.upper)),
    )
    rows = {file.name: pq.read_metadata(file).num_rows for file in files_of(path)}
    write_json(path / SUMMARY_FILE, {METADATA_KEY: asdict(summary), "rows": rows})


def _number(first: int) -> str:
    """Return SQL of 8 bytes of a digest in hex digits as a whole number, the last byte first, as DuckDB reads them.

    >>> _number(1)[:60]
    'CAST(conv(concat(substr(digest, 15, 2), substr(digest, 13, 2'
    """
    swapped = ", ".join(f"substr(digest, {first + 2 * byte}, 2)" for byte in reversed(range(8)))
    return f"CAST(conv(concat({swapped}), 16, 10) AS DECIMAL(20, 0))"
