"""What a build read: a digest of each file of the data directory, and of each day of the tables that grow by day.

    files   shop.yaml     sha256
            events        sha256
    days    events        2024-05-01  ->  number of rows, two sums over their hashes
                          2024-05-02  ->  ...

Two states of the data differ in the rows of the days whose digests differ, whatever the rows' order. A day is a UTC day,
counted from 1970-01-01; digests hold no row's content.

A build on a cluster reads neither on the one machine that asks: there a file is told by its size and time of change, and
days are not told apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import duckdb

from features import columns as c
from features.contract.tables import EVENTS, IDENTITIES, Table
from features.engine import private_connection, sql_name, utc_day
from features.errors import DataError
from features.files import read_json, sha256_of_file
from features.parquet import files_of, is_table, scan
from features.settings import EngineSettings

SOURCES_FILE: Final = "sources.json"
STAMPS: Final = "stamps"  # ``hashed_by`` where no file was read
_FORMAT: Final = 1
_NO_DAY: Final = ""
# The tables that are told apart by day, and the instant that gives a row its day.
_BY_DAY: Final[dict[str, tuple[Table, str]]] = {"events": (EVENTS, c.TS), "identities": (IDENTITIES, "seen_at")}

Days = dict[str, str]  # day -> digest; JSON's keys are texts


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The state of a data directory.

    Args:
        files: sha256 of each of its files, by name.
        days: digest of each day, by table; empty for one that is not there.
        hashed_by: the version of DuckDB, whose hash the digests are made of; ``STAMPS`` where they are sizes and times.
        stamps: size and time of change of each file when it was read; not kept.
    """

    files: dict[str, str]
    days: dict[str, Days]
    hashed_by: str
    stamps: dict[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def read(cls, data: Path, *, engine: EngineSettings, spill: Path, known: Sources | None = None) -> Sources:
        """Digest a data directory; a file that is as ``known`` is not read by day again."""
        data = Path(data)
        stamps = _stamps(data)
        if engine.name != "duckdb":
            files = {name: f"{size} bytes of {changed_ns}" for name, (size, changed_ns) in stamps.items()}
            return cls(files=files, days={name: {} for name in _BY_DAY}, hashed_by=STAMPS, stamps=stamps)
        files = {_name(path, data): sha256_of_file(path) for path in sorted(_files(data))}
        known = known if known is not None and known.hashed_by == duckdb.__version__ else None
        days = {}
        with private_connection(engine, beside=spill) as connection:
            for name, (table, instant) in _BY_DAY.items():
                same = known is not None and _of_table(name, known.files) == _of_table(name, files)
                days[name] = known.days[name] if known is not None and same else _days(connection, data, table, instant)
        return cls(files=files, days=days, hashed_by=duckdb.__version__, stamps=stamps)

    @classmethod
    def load(cls, path: Path) -> Sources | None:
        """Read what ``to_json`` gave; nothing where it is missing or another version's."""
        try:
            found = read_json(path)
            if found.pop("format") != _FORMAT:
                return None
            return cls(**found)
        except (DataError, KeyError, TypeError, AttributeError):
            return None

    def to_json(self) -> dict[str, Any]:
        """Return what ``SOURCES_FILE`` holds."""
        return {"format": _FORMAT, "files": self.files, "days": self.days, "hashed_by": self.hashed_by}

    def changed_days(self, table: str, since: Sources) -> frozenset[int]:
        """Return the days whose rows are not those of an earlier state: new, other, or gone."""
        now, then = self.days[table], since.days[table]
        return frozenset(int(day) for day in now.keys() | then.keys() if day and now.get(day) != then.get(day))

    def undated(self) -> bool:
        """Whether a row has no instant, and so no day."""
        return any(_NO_DAY in days for days in self.days.values())

    def only_added(self, table: str, since: Sources) -> bool:
        """Whether each day of an earlier state is as it was."""
        now = self.days[table]
        return all(now.get(day) == digest for day, digest in since.days[table].items())

    def expect_unchanged(self, data: Path) -> None:
        """Refuse data that are no longer what was digested.

        Raises:
            DataError: a file changed since.
        """
        now = _stamps(Path(data))
        for name in sorted(now.keys() | self.stamps.keys()):
            if now.get(name) != self.stamps.get(name):
                raise DataError(
                    f"{Path(data) / name}: expected the file to stay while features are built, found another; run again."
                )

    def same_files(self, since: Sources, *names: str) -> bool:
        """Whether files are what they were; two that are missing are alike."""
        return all(self.files.get(name) == since.files.get(name) for name in names)


def _files(data: Path) -> list[Path]:
    """Every file of a data directory, and of its tables that are directories."""
    tables = [path for path in data.glob("*.parquet") if path.is_dir()]
    own = [path for path in data.iterdir() if path.is_file() and not path.name.startswith(".")]
    return [*own, *(file for table in tables for file in files_of(table))]


def _name(path: Path, data: Path) -> str:
    return path.relative_to(data).as_posix()


def _of_table(name: str, files: dict[str, str]) -> dict[str, str]:
    return {file: digest for file, digest in files.items() if file.split("/")[0] == f"{name}.parquet"}


def _stamps(data: Path) -> dict[str, tuple[int, int]]:
    found = {_name(path, data): path.stat() for path in _files(data)}
    return {name: (about.st_size, about.st_mtime_ns) for name, about in found.items()}


def _days(connection: duckdb.DuckDBPyConnection, data: Path, table: Table, instant: str) -> Days:
    path = data / f"{table.name}.parquet"
    if not is_table(path):
        return {}
    names = ", ".join(map(sql_name, table.column_names))
    try:
        rows = connection.execute(f"""
            SELECT {utc_day(instant)} AS day, count(*), sum(row_hash), bit_xor(row_hash)
            FROM (SELECT {instant}, hash({names}) AS row_hash FROM {scan(path)})
            GROUP BY day ORDER BY day""").fetchall()
    except duckdb.Error:
        return {}  # not the contract's table: who reads it says so, and how to mend it
    return {_NO_DAY if day is None else str(day): f"{count}-{total:x}-{mixed:x}" for day, count, total, mixed in rows}
