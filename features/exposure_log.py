"""What was shown to whom, as the service keeps it: the contract's ``exposures``, one directory a day. Personal data.

STORE/exposures/2026-11-22/4711-3fa9c1d2.jsonl    appended by one process, for its owner alone to read

Days are UTC. A line that a crash cut short is no row. Whoever writes a file holds its lock, so that an erasure, which
writes it anew, loses no row and leaves none.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
import re
import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from features import columns as c
from features.contract.tables import EXPOSURES, SQL_TYPES
from features.engine import sql_name, sql_text
from features.files import write_bytes
from features.release.layout import EXPOSURES_DIRECTORY

_OWNER_ONLY: Final = 0o600
_DIRECTORY_MODE: Final = 0o700
_SUFFIX: Final = ".jsonl"
_COLUMNS: Final = EXPOSURES.column_names
_encode: Final = json.JSONEncoder(ensure_ascii=False).encode
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")


class ExposureRow(NamedTuple):
    """One row of the contract's ``exposures``."""

    user_id: str
    item_id: str
    slot: str
    ts_us: int
    propensity: float | None
    campaign_id: str | None
    variant: str | None


@dataclass(frozen=True, kw_only=True)
class ExposureLog:
    """The directory; need not exist."""

    directory: Path

    @classmethod
    def of_store(cls, store: Path) -> ExposureLog:
        """Return the log of a release store, where the settings name no other."""
        return cls(directory=store / EXPOSURES_DIRECTORY)

    def append(self, rows: Sequence[ExposureRow], *, writer: str) -> None:
        """Keep rows, on disk when this returns.

        Args:
            rows: of any days.
            writer: name of this process's files, see ``writer_name``.
        """
        by_day: dict[str, list[ExposureRow]] = {}
        for row in rows:
            by_day.setdefault(_text_of(row.ts_us)[:10], []).append(row)
        for day, of_day in by_day.items():
            self._append(self.directory / day / f"{writer}{_SUFFIX}", b"".join(map(_line, of_day)))

    def files(self) -> list[Path]:
        """Return all files, oldest day first."""
        days = sorted(p for p in self.directory.glob("*") if _DAY.fullmatch(p.name)) if self.directory.is_dir() else []
        return [path for day in days for path in sorted(day.glob(f"*{_SUFFIX}"))]

    def of(self, ids: Collection[str]) -> list[dict[str, Any]]:
        """Return a customer's rows, oldest day first, as they are written."""
        named = frozenset(ids)
        contents = (path.read_bytes() for path in self.files())
        return [json.loads(one[start:end]) for one in contents for start, end in _rows_of(one, named)]

    def erase(self, ids: Collection[str]) -> int:
        """Remove all rows of a customer's ids; return how many there were."""
        return sum(self._erase(path, frozenset(ids)) for path in self.files())

    def prune(self, *, before: dt.date) -> int:
        """Remove whole days; return how many files there were."""
        old = [path for path in self.files() if path.parent.name < before.isoformat()]
        for path in old:
            path.unlink(missing_ok=True)
        for day in {path.parent for path in old}:
            with contextlib.suppress(OSError):  # somebody else's file is in it
                day.rmdir()
        return len(old)

    def _append(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        with _locked(path) as file:
            file.seek(0, os.SEEK_END)
            if file.tell() and not _ends_whole(file):
                content = b"\n" + content  # what a crash cut short stays no row
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _erase(self, path: Path, ids: frozenset[str]) -> int:
        with _locked(path) as file:
            file.seek(0)
            content = file.read()
            gone = list(_rows_of(content, ids))
            if gone:
                ends = [0, *(end + 1 for _, end in gone)]
                starts = [*(start for start, _ in gone), len(content)]
                kept = (content[end:start] for end, start in zip(ends, starts, strict=True))
                write_bytes(path, b"".join(kept), mode=_OWNER_ONLY)
        return len(gone)


def writer_name() -> str:
    """Return a name for a process's files that no other process has had."""
    return f"{os.getpid()}-{uuid.uuid4().hex[:8]}"


def is_exposure_log(path: Path) -> bool:
    """Whether a directory is a log of exposures, and not a data directory that holds a table of them."""
    return path.is_dir() and any(_DAY.fullmatch(one.name) for one in path.iterdir())


def exposures_sql(directory: Path) -> str:
    """Return SQL that reads a log as the contract's table, each row once; unfinished lines are left out."""
    types = {column.name: SQL_TYPES[column.kind] for column in EXPOSURES.columns}
    columns = ", ".join(f"{sql_text(name)}: {sql_text(kind)}" for name, kind in types.items())
    names = ", ".join(sql_name(name) for name in types)
    return (
        f"SELECT DISTINCT {names} FROM read_json({sql_text(directory / '*' / f'*{_SUFFIX}')}, format = 'newline_delimited', "
        f"columns = {{{columns}}}, ignore_errors = true) WHERE {c.USER_ID} IS NOT NULL AND {c.TS} IS NOT NULL"
    )


def _line(row: ExposureRow) -> bytes:
    """The contract's columns; the instant as ISO 8601."""
    values = (row.user_id, row.item_id, row.slot, _text_of(row.ts_us), row.propensity, row.campaign_id, row.variant)
    return _encode(dict(zip(_COLUMNS, values, strict=True))).encode() + b"\n"


@lru_cache(maxsize=64)
def _text_of(ts_us: int) -> str:
    """Return an instant as ISO 8601 in UTC; all rows of a list have one."""
    return (dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=ts_us)).isoformat(timespec="microseconds")


def _rows_of(content: bytes, ids: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Yield where lines begin and end that are rows of some ids; only those that hold one as a JSON text are read."""
    starts = set()
    for form in {form for id_ in ids for form in _json_forms(id_)}:
        at = content.find(form)
        while at >= 0:
            starts.add(content.rfind(b"\n", 0, at) + 1)
            at = content.find(form, at + len(form))
    for start in sorted(starts):
        end = content.find(b"\n", start)
        end = len(content) if end < 0 else end
        if _user_of(content[start:end]) in ids:
            yield start, end


def _json_forms(id_: str) -> set[bytes]:
    return {json.dumps(id_).encode(), json.dumps(id_, ensure_ascii=False).encode()}


def _user_of(line: bytes) -> str | None:
    """Return whose row a line is, nobody's where it is none."""
    try:
        return str(json.loads(line)[c.USER_ID])
    except (ValueError, KeyError, TypeError):
        return None


def _ends_whole(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """Yield a file under its lock, and not one that was replaced while we waited for the lock."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, _OWNER_ONLY), "a+b")
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
        if path.exists() and os.fstat(file.fileno()).st_ino == path.stat().st_ino:
            break
        file.close()
    try:
        yield file
    finally:
        file.close()
