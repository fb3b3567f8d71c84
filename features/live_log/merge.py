"""Served events on their way into a data directory, where they are rows like all others.

    events.parquet             grows by the events whose event_id it does not hold, a directory by a file of them; without new
                               ones it stays as it is, byte by byte
    consents.parquet           where the shop keeps one, it grows by what was said to the service
    served_consents.parquet    where it keeps none: the first row of a table of its own would forbid everything else

What an event may serve is judged when features are built, by all that was said until then.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
import pyarrow as pa

from features import columns as c
from features.contract.data_directory import ABOUT_FILE
from features.contract.read import define_empty_table, define_table
from features.contract.tables import CONSENTS, EVENTS
from features.engine import memory_explained, private_connection, sql_name, sql_text
from features.errors import DataError
from features.files import read_json, staged_file, write_json
from features.live_log.archive import LiveLog
from features.parquet import files_of
from features.privacy.consents import CONSENTS_FILE, SERVED_CONSENTS_FILE
from features.settings import EngineSettings

_EVENTS_FILE: Final = "events.parquet"
_NAMES: Final = ", ".join(map(sql_name, EVENTS.column_names))
_US: Final = "TIMESTAMPTZ '1970-01-01 00:00:00+00' + to_microseconds(at_us)"

logger = logging.getLogger(__name__)


class ConsentRow(NamedTuple):
    """One change of consent that was sent to the service; the instant is UTC microseconds."""

    user_id: str
    purpose: str
    granted: bool
    at_us: int


def merge_served(
    log: LiveLog,
    data: Path,
    *,
    consents: Sequence[ConsentRow] = (),
    erased: Container[str] = (),
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Bring a data directory up to date with the archive of served events; doing it again changes nothing.

    Args:
        log: the archive.
        data: a data directory.
        consents: what customers said to the service.
        erased: customers whose rows stay out.
        engine: memory limit, threads, where to spill.

    Returns:
        ``events`` and ``consents`` added, ``known`` events that were there, and those left out as ``erased``.

    Raises:
        DataError: there is no such data directory, or a table breaks the contract.
    """
    data = Path(data)
    if not (data / "shop.yaml").is_file():
        raise DataError(
            f"{data}: expected a data directory with a shop.yaml, found none; import the shop's data first."
        )
    days = log.days()
    with memory_explained(engine), private_connection(engine, beside=data.parent) as connection:
        _define_events(connection, data, days)
        report = _leave_out(connection, erased)
        report["events"] = _append_events(connection, data)
        report["consents"] = _append_consents(connection, data, [row for row in consents if row.user_id not in erased])
    _recount(data / ABOUT_FILE, {"events": report["events"], _consents_file(data).stem: report["consents"]})
    logger.info("data: %d served events and %d consents added to %s", report["events"], report["consents"], data)
    return report


def _define_events(connection: duckdb.DuckDBPyConnection, data: Path, days: Sequence[Path]) -> None:
    """Make view ``held``, the data's events, and table ``served``, those of the archive that it does not hold."""
    if (data / _EVENTS_FILE).exists():
        define_table(connection, data / _EVENTS_FILE, EVENTS, view="held")
    else:
        define_empty_table(connection, EVENTS, view="held")
    if days:
        files = ", ".join(map(sql_text, days))
        connection.execute(f"CREATE TEMP VIEW archived AS SELECT {_NAMES} FROM read_parquet([{files}])")
    else:
        define_empty_table(connection, EVENTS, view="archived")
    connection.execute(f"""
        CREATE TEMP TABLE served AS
        SELECT * FROM archived ANTI JOIN (SELECT {c.EVENT_ID} FROM held) USING ({c.EVENT_ID})
        QUALIFY row_number() OVER (PARTITION BY {c.EVENT_ID} ORDER BY {c.TS}, {c.USER_ID}) = 1""")


def _leave_out(connection: duckdb.DuckDBPyConnection, erased: Container[str]) -> dict[str, Any]:
    """Take erased customers out of ``served``; return the counts."""
    [[known]] = connection.execute("SELECT (SELECT count(*) FROM archived) - (SELECT count(*) FROM served)").fetchall()
    users = connection.execute("SELECT DISTINCT user_id FROM served").fetchall()
    gone = pa.table({c.USER_ID: pa.array([user for (user,) in users if user in erased], pa.string())})
    connection.register("gone", gone)
    [[num_erased]] = connection.execute("DELETE FROM served WHERE user_id IN (SELECT user_id FROM gone)").fetchall()
    return {"known": known, "erased": num_erased}


def _append_events(connection: duckdb.DuckDBPyConnection, data: Path) -> int:
    [[added]] = connection.execute("SELECT count(*) FROM served").fetchall()
    fresh, path = f"SELECT {_NAMES} FROM served ORDER BY ts, event_id", data / _EVENTS_FILE
    if added and path.is_dir():
        _write(connection, fresh, path / f"served-{len(files_of(path)):05d}.parquet")
    elif added:
        _write(connection, f"FROM held UNION ALL ({fresh})", path)
    return int(added)


def _append_consents(connection: duckdb.DuckDBPyConnection, data: Path, consents: Sequence[ConsentRow]) -> int:
    if not consents:
        return 0
    path = _consents_file(data)
    if path.exists():
        define_table(connection, path, CONSENTS, view="held_consents")
    else:
        define_empty_table(connection, CONSENTS, view="held_consents")
    rows = list(zip(*consents, strict=True))
    types = (pa.string(), pa.string(), pa.bool_(), pa.int64())
    said = {name: pa.array(values, kind) for name, values, kind in zip(ConsentRow._fields, rows, types, strict=True)}
    connection.register("said", pa.table(said))
    connection.execute(f"""
        CREATE TEMP TABLE fresh_consents AS
        SELECT user_id, purpose, granted, {_US} AS "at", NULL::VARCHAR AS policy_version FROM said
        ANTI JOIN held_consents ON held_consents.user_id = said.user_id AND held_consents.purpose = said.purpose
            AND held_consents."at" = {_US} AND held_consents.granted = said.granted""")
    [[added]] = connection.execute("SELECT count(*) FROM fresh_consents").fetchall()
    if added:
        _write(connection, "FROM held_consents UNION ALL FROM fresh_consents", path)
    return int(added)


def _consents_file(data: Path) -> Path:
    """Return where what was said to the service goes: to the shop's own table, where there is one."""
    return data / (CONSENTS_FILE if (data / CONSENTS_FILE).exists() else SERVED_CONSENTS_FILE)


def _write(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    with staged_file(path) as aside:
        connection.execute(f"COPY ({query}) TO {sql_text(aside)} (FORMAT parquet, COMPRESSION zstd)")


def _recount(path: Path, added: dict[str, int]) -> None:
    """Let ``about.json`` count what is there now, and say how much of it was served."""
    if not any(added.values()) or not path.is_file():
        return
    about = read_json(path)
    for name, number in added.items():
        if number:
            counts = about.setdefault("tables", {}).setdefault(name, {"accepted": 0, "rejected": 0, "duplicates": 0})
            counts["accepted"] = counts.get("accepted", 0) + number
            counts["served"] = counts.get("served", 0) + number
    write_json(path, about)
