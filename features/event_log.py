"""The event log: clean, deduplicated, sorted, in the shop's days, and flagged with what each row may serve.

Built in DuckDB, out of core: no step holds the log in memory.

    row without event_id   gets one from its content; the second identical row gets another, and so on
    rows with one event_id the first by (ts, user_id, content) stays
    purposes               granted at the row's instant and not withdrawn since
    user_id                the customer, where ids were linked (``features.identity``); as it arrived in source_user_id

Consent is judged by the rule of ``features.privacy.consents``.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pandas as pd
import pyarrow.parquet as pq

from features import columns as c
from features.contract.tables import EVENTS
from features.engine import private_connection, sql_text, utc_day
from features.errors import ConfigError, DataError
from features.files import read_json, staged_file
from features.identity.resolve import define_customers
from features.log_rows import FLAGS, WAS, KeptLog, LogNotKept, define_log, read_events, row_content
from features.parquet import SUMMARY_FILE, is_table, names_of, scan
from features.privacy.consents import read_consents
from features.settings import EngineSettings, ShopSettings

LOG_COLUMNS: Final = (
    *EVENTS.column_names,
    c.LOCAL_DAY,
    c.LOCAL_HOUR,
    c.FOR_ANALYTICS,
    c.FOR_PERSONALISATION,
    c.SOURCE_USER_ID,
)
METADATA_KEY: Final = "footfall_event_log"
_STATE_KEY: Final = "footfall_event_log_state"  # what bringing it up to date goes by
_ORDER: Final = f"{c.USER_ID}, {c.TS}, {c.EVENT_ID}"  # ends in a unique key

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EventLog:
    """Events sorted by (user_id, ts, event_id), with all contract columns and ``LOG_COLUMNS``, in Parquet.

    Args:
        path: the file, or the directory of files, which a cluster writes.
        num_events: rows; event_id is never null and never twice.
        num_users: distinct users.
        first_at: earliest instant, UTC.
        last_at: latest instant, UTC.
        first_day: earliest local day.
        last_day: latest local day.
        fingerprint: 64 hex digits over the content of all rows, whatever their order on arrival.
    """

    path: Path
    num_events: int
    num_users: int
    first_at: dt.datetime
    last_at: dt.datetime
    first_day: dt.date
    last_day: dt.date
    fingerprint: str

    @classmethod
    def build(
        cls,
        data: Path,
        path: Path,
        *,
        shop: ShopSettings,
        engine: EngineSettings = EngineSettings(),
        identity: Path | None = None,
        previous: Path | None = None,
        changed_days: Collection[int] = (),
    ) -> EventLog:
        """Read ``data/events.parquet`` (and the consents beside it), write ``path`` whole or not at all.

        With ``previous`` only the rows of ``changed_days`` are read, checked and given ids; the result is the same.

        Args:
            data: a data directory.
            path: the Parquet file to write.
            shop: its zone gives the local day and hour, its default the consent where no consents table is given.
            engine: memory limit, threads, where to spill.
            identity: directory that ``features.identity.build.build_identity`` wrote, whose customers become the users;
                ``None`` leaves every user_id as it arrived.
            previous: an event log that this code built with the same settings, with links if and only if ``identity``
                is given, from data that differ in rows of ``changed_days`` alone.
            changed_days: UTC days, counted from 1970-01-01.

        Raises:
            DataError: a file is missing, empty or breaks the contract.
            LogNotKept: ``previous`` cannot be brought up to date; build without it.
        """
        kept = None if previous is None else _kept(Path(previous), changed_days)
        with private_connection(engine, beside=Path(path).parent) as connection:
            num_rows = read_events(connection, Path(data) / "events.parquet", kept=kept)
            if identity is not None:
                define_customers(connection, identity)
            linked = identity is not None
            otherwise = read_consents(connection, Path(data), shop=shop, by_customer=linked)
            decisive = define_log(connection, shop, otherwise=otherwise, linked=linked, kept=kept)
            summary, sums = _summarise(connection, linked=linked, kept=kept)
            state = {"sums": [str(number) for number in sums], "decisive_days": sorted(decisive)}
            with staged_file(Path(path)) as aside:
                _write_sorted(connection, aside, summary, state)
        log = cls.open(path)
        _tell(log, num_rows, kept)
        return log

    @classmethod
    def open(cls, path: Path) -> EventLog:
        """Return a handle on what ``build`` wrote; no row is read.

        Raises:
            DataError: the file is missing, or is not an event log.
        """
        if not is_table(path):
            raise DataError(f"{path}: expected an event log here, found none; build the features first.")
        try:
            summary = _about(Path(path))[METADATA_KEY]
        except Exception as error:
            raise DataError(
                f"{path}: expected an event log, found another or a damaged file ({error}); build the features again."
            ) from None
        for name in ("first_at", "last_at"):
            summary[name] = dt.datetime.fromisoformat(summary[name])
        for name in ("first_day", "last_day"):
            summary[name] = dt.date.fromisoformat(summary[name])
        return cls(path=Path(path), **summary)

    def relation(self, connection: duckdb.DuckDBPyConnection, *, purpose: str | None = None) -> duckdb.DuckDBPyRelation:
        """Return the rows that may serve ``purpose``, lazily, for use on ``connection``.

        Args:
            connection: from ``features.engine.connect``.
            purpose: ``analytics`` or ``personalisation``; ``None`` gives all rows, for counts and for erasure only.
        """
        rows = connection.read_parquet(names_of(self.path))
        return rows if purpose is None else rows.filter(purpose_flag(purpose))

    def to_pandas(self, columns: Iterable[str] | None = None, *, purpose: str | None = None) -> pd.DataFrame:
        """Return the log, or some columns of it, as a frame in memory; local_day as midnight ``datetime64``."""
        rows = None if purpose is None else [(purpose_flag(purpose), "==", True)]
        table = pq.read_table(names_of(self.path), columns=None if columns is None else list(columns), filters=rows)
        return table.to_pandas(date_as_object=False)


def purpose_flag(purpose: str) -> str:
    """Return the log's column that says whether a row may serve ``purpose``.

    >>> purpose_flag("analytics")
    'for_analytics'
    """
    if purpose not in FLAGS:
        raise ConfigError(f"purpose: expected one of {c.PURPOSES}, found {purpose!r}.")
    return FLAGS[purpose]


@dataclass(frozen=True, kw_only=True)
class LogSummary:
    """What an event log says of itself; see ``EventLog``. Instants and days are ISO texts."""

    num_events: int
    num_users: int
    first_at: str
    last_at: str
    first_day: str
    last_day: str
    fingerprint: str

    @classmethod
    def of(
        cls,
        *,
        num_events: int,
        num_users: int,
        span_us: tuple[int, int],
        days: tuple[dt.date, dt.date],
        sums: tuple[int, int],
    ) -> LogSummary:
        """Build from the rows' counts.

        Args:
            num_events: rows.
            num_users: distinct users.
            span_us: first and last instant, UTC microseconds.
            days: first and last local day.
            sums: over all rows, of the two halves of the digest of a row's content.
        """
        first_at, last_at = (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=us) for us in span_us)
        return cls(
            num_events=num_events,
            num_users=num_users,
            first_at=first_at.isoformat(),
            last_at=last_at.isoformat(),
            first_day=days[0].isoformat(),
            last_day=days[1].isoformat(),
            fingerprint=hashlib.sha256(f"{num_events}:{sums[0]}:{sums[1]}".encode()).hexdigest(),
        )


def _kept(path: Path, changed_days: Collection[int]) -> KeptLog:
    state = _state(path)
    if state is None:
        raise LogNotKept("the earlier event log was written before logs could be brought up to date")
    return KeptLog(path=path, changed=frozenset(changed_days), decisive=frozenset(state["decisive_days"]))


def _state(path: Path) -> dict[str, Any] | None:
    return _about(path).get(_STATE_KEY)


def _about(path: Path) -> dict[str, Any]:
    """Return what a log says of itself: in its footer; in a file of its own where it is a directory."""
    if path.is_dir():
        return dict(read_json(path / SUMMARY_FILE))
    metadata = pq.read_metadata(path).metadata
    keys = (METADATA_KEY, _STATE_KEY)
    return {key: json.loads(metadata[key.encode()]) for key in keys if key.encode() in metadata}


def _tell(log: EventLog, num_rows: int, kept: KeptLog | None) -> None:
    if kept is not None:
        logger.info("event log: brought up to date by %d rows of %d days", num_rows, len(kept.changed))
        num_rows = log.num_events
    logger.info(
        "event log: %d rows in, %d repeated rows set aside, %d events of %d users from %s to %s",
        *(num_rows, num_rows - log.num_events, log.num_events, log.num_users, log.first_day, log.last_day),
    )


def _summarise(
    connection: duckdb.DuckDBPyConnection, *, linked: bool, kept: KeptLog | None
) -> tuple[LogSummary, tuple[int, int]]:
    """Return what ``EventLog`` says of the log, and the sums that its fingerprint is made of.

    The sums are over rows in any order, so a log that is brought up to date takes off what left and adds what came.
    """
    names = fingerprinted(linked)
    rows = connection.execute(f"""
        SELECT count(*), count(DISTINCT user_id), epoch_us(min(ts)), epoch_us(max(ts)),
               min({c.LOCAL_DAY}), max({c.LOCAL_DAY}), {_sums("digest")}, {_sums("old_digest")}
        FROM (SELECT *, {_digests(names, kept)} FROM log)""").fetchall()
    num_events, num_users, first_us, last_us, first_day, last_day, *found = rows[0]
    if num_events == 0:
        raise LogNotKept("no events are left")
    sums = [(new or 0) - (gone or 0) for new, gone in zip(found[:2], found[2:], strict=True)]
    if kept is not None:
        sums = [sum(three) for three in zip(sums, _kept_sums(connection, kept, names), strict=True)]
    lower, upper = sums
    summary = LogSummary.of(
        num_events=num_events,
        num_users=num_users,
        span_us=(first_us, last_us),
        days=(first_day, last_day),
        sums=(lower, upper),
    )
    return summary, (lower, upper)


def fingerprinted(linked: bool) -> tuple[str, ...]:
    """Return the columns whose content the fingerprint is of."""
    # Without links the last column, source_user_id, says nothing new; the fingerprint stays what it was without it.
    return LOG_COLUMNS if linked else LOG_COLUMNS[:-1]


def _digests(names: tuple[str, ...], kept: KeptLog | None) -> str:
    """SQL of ``digest`` and ``old_digest``: of rows that came, and of kept rows, which changed, as they were before."""
    if kept is None:
        return f"{_digest(names)} AS digest, NULL::UHUGEINT AS old_digest"
    changed = " OR ".join(f"{was} <> {name}" for was, (name, _) in WAS.items())
    old = {column: was for was, (column, _) in WAS.items()}
    return f"""
        CASE WHEN was_user IS NULL OR {changed} THEN {_digest(names)} END AS digest,
        CASE WHEN was_user IS NOT NULL AND ({changed}) THEN {_digest(old.get(name, name) for name in names)} END
            AS old_digest"""


def _kept_sums(connection: duckdb.DuckDBPyConnection, kept: KeptLog, names: tuple[str, ...]) -> list[int]:
    """Return the earlier log's sums without its rows of the days that were read anew."""
    before = [int(number) for number in (_state(kept.path) or {})["sums"]]
    rows = connection.execute(f"""
        SELECT {_sums("digest")} FROM (
            SELECT {_digest(names)} AS digest FROM {scan(kept.path)}
            WHERE {utc_day(c.TS)} IN (SELECT unnest({sorted(kept.changed)}::INT[])))""").fetchall()
    return [all_ - (gone or 0) for all_, gone in zip(before, rows[0], strict=True)]


def _digest(names: Iterable[str]) -> str:
    """SQL of the MD5 of a row as one number, made once for both sums."""
    return f"md5_number({row_content(names)})"


def _sums(digest: str) -> str:
    """SQL of the sums of the two halves of ``_digest``: the last 8 bytes of the MD5, then the first, little-endian."""
    return f"sum(({digest} >> 64)::UBIGINT), sum(({digest} & {2**64 - 1}::UHUGEINT)::UBIGINT)"


def _write_sorted(
    connection: duckdb.DuckDBPyConnection, path: Path, summary: LogSummary, state: dict[str, Any]
) -> None:
    about = {METADATA_KEY: asdict(summary), _STATE_KEY: state}
    metadata = ", ".join(f"{key}: {sql_text(json.dumps(value))}" for key, value in about.items())
    connection.execute(f"""
        COPY (SELECT {", ".join(LOG_COLUMNS)} FROM log ORDER BY {_ORDER})
        TO {sql_text(path)} (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{metadata}}})""")
