"""What is in stock now, told while the service runs: an append-only log that all workers follow.

STORE/stock.jsonl   {"item_id": "a", "stock": 0, "region": "", "at_us": 1790000000000000}

A row replaces the earlier one of the same item and region unless it is of an earlier instant. The log is written anew,
with the newest row of each alone, when it has grown to several times that.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from features.files import write_bytes
from features.release.erasure import drop_torn_line

STOCK_FILE: Final = "stock.jsonl"
_SLACK_ROWS: Final = 10_000
_LOOK_SECONDS: Final = 1.0
_TAIL: Final = 10_000  # changes that are told one by one; whoever is further behind is told everything
_Key = tuple[str, str]  # item, region
Flags = npt.NDArray[np.bool_]

_log = logging.getLogger(__name__)


class StockRow(NamedTuple):
    """How many of an item there are, in a region or, where that is blank, anywhere."""

    item_id: str
    stock: int
    region: str
    at_us: int


class LiveStock:
    """The log; safe to use from several threads and processes.

    Args:
        path: JSON lines; need not exist.
        word: a number in memory that the workers of one server share, uint64 ``[1]``, which whoever writes counts up: it
            is looked at in a fraction of the time that the file takes, and the file then only every second.
    """

    def __init__(self, path: Path, *, word: memoryview | None = None) -> None:
        self._path = Path(path)
        self._word = word
        self._seen_word, self._look_at = -1, 0.0
        self._reading = threading.Lock()  # over what is known; never while the disk or another process is waited for
        self._writing = threading.Lock()
        self._file_id = -1
        self._read_to = 0
        self._num_rows = 0
        self._rows: dict[_Key, StockRow] = {}
        self._version = 0
        self._changes: deque[_Key] = deque(maxlen=_TAIL)  # the newest
        self._warned = False
        with contextlib.suppress(OSError):  # a file that is there is looked at in half the time of one that is not
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()

    def add(self, rows: Sequence[StockRow]) -> int:
        """Keep rows, on disk when this returns; return how many told something newer than what was known."""
        if not rows:
            return 0
        with self._writing:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._opened() as file:
                drop_torn_line(file)
                with self._reading:
                    self._read()
                    newer = [row for row in rows if self._is_newer(row)]
                file.write(b"".join(json.dumps(row._asdict()).encode() + b"\n" for row in newer))
                file.flush()
                os.fsync(file.fileno())
                if self._word is not None:
                    self._word[0] += 1
                with self._reading:
                    self._read()
                    held = list(self._rows.values()) if self._num_rows > _SLACK_ROWS + 4 * len(self._rows) else []
                if held:
                    write_bytes(self._path, b"".join(json.dumps(row._asdict()).encode() + b"\n" for row in held))
        return len(newer)

    def refresh(self, *, wait: bool = True) -> int:
        """Follow the log; return a number that is another after each change.

        Args:
            wait: until another thread of this process has read what it is reading.
        """
        word = -1 if self._word is None else self._word[0]
        if self._word is not None and word == self._seen_word and time.monotonic() < self._look_at:
            return self._version
        look_at = time.monotonic() + _LOOK_SECONDS  # before the file: not after a change
        if not self._reading.acquire(blocking=wait):
            return self._version
        try:
            if self._has_more():
                self._read()
            self._seen_word, self._look_at = word, look_at
            return self._version
        finally:
            self._reading.release()

    def changes(self, since: int) -> tuple[int, list[StockRow]]:
        """Return the version of what is known, and what was told after another one, as it is known now.

        Args:
            since: that version; 0 for all.
        """
        with self._reading:
            new = self._version - since
            if new > len(self._changes):
                return self._version, list(self._rows.values())
            keys = dict.fromkeys(itertools.islice(self._changes, len(self._changes) - new, None))
            return self._version, [self._rows[key] for key in keys]

    def rows(self) -> dict[_Key, StockRow]:
        """Return what is known, by item and region."""
        with self._reading:
            return dict(self._rows)

    def _has_more(self) -> bool:
        try:
            found = os.stat(self._path)  # noqa: PTH116 - half the time of Path.stat, on each batch of requests
        except FileNotFoundError:
            return False
        return found.st_ino != self._file_id or found.st_size > self._read_to

    def _is_newer(self, row: StockRow) -> bool:
        known = self._rows.get((row.item_id, row.region))
        return known is None or (row.at_us >= known.at_us and row[:3] != known[:3])

    def _opened(self) -> BinaryIO:
        """Return the log, locked, and not one that was replaced while we waited for the lock."""
        while True:
            file = self._path.open("a+b")
            fcntl.flock(file, fcntl.LOCK_EX)
            if self._path.exists() and os.fstat(file.fileno()).st_ino == self._path.stat().st_ino:
                return file
            file.close()

    def _read(self) -> None:
        with self._path.open("rb") as file:
            file_id = os.fstat(file.fileno()).st_ino
            if file_id != self._file_id:
                self._file_id, self._read_to, self._num_rows = file_id, 0, 0
            file.seek(self._read_to)
            whole, _, _ = file.read().rpartition(b"\n")
        if not whole:
            return
        for line in whole.split(b"\n"):
            self._keep(line)
        self._read_to += len(whole) + 1

    def _keep(self, line: bytes) -> None:
        try:
            row = StockRow(**json.loads(line))
        except (ValueError, TypeError):
            if not self._warned:  # once: answers go on without it
                _log.warning("%s: a line is no row of stock and is not read: %r", self._path, line[:60])
            self._warned = True
            return
        key, self._num_rows = (row.item_id, row.region), self._num_rows + 1
        known = self._rows.get(key)
        if known is None or (row.at_us >= known.at_us and row != known):
            self._rows[key] = row
            self._changes.append(key)
            self._version += 1


class StockView:
    """What is in stock of one release's items, by code.

    Args:
        stock: the log.
        code_of: of an item id, 0 where the release does not know it.
        num_codes: of the release.
    """

    def __init__(self, stock: LiveStock, *, code_of: Callable[[str], int], num_codes: int) -> None:
        self._stock = stock
        self._code_of = code_of
        self._num_codes = num_codes
        self._by_region: dict[str, tuple[Flags, Flags]] = {}  # told, out
        self._following = threading.Lock()
        self.version = 0
        self.any_out = False

    def refresh(self, *, wait: bool = True) -> int:
        """Follow the log; return the version of what is known, another after each change.

        Args:
            wait: until another thread has followed it as far as it is at that.
        """
        if self._stock.refresh(wait=wait) != self.version and self._following.acquire(blocking=wait):
            try:
                self._follow()
            finally:
                self._following.release()
        return self.version

    def told(self, region: str) -> Flags:
        """Return whose stock is known there."""
        return self._of(region)[0]

    def out(self, region: str) -> Flags:
        """Return what is out of stock there: what was said of the region decides, else what was said of all."""
        return self._of(region)[1]

    def _of(self, region: str) -> tuple[Flags, Flags]:
        by_region, nothing = self._by_region, (np.zeros(self._num_codes, bool),) * 2
        everywhere = by_region.get("", nothing)
        if not region or region not in by_region:
            return everywhere
        told, out = by_region[region]
        return told | everywhere[0], np.where(told, out, everywhere[1])

    def _follow(self) -> None:
        """Work out what holds now beside what held, which another thread may be reading."""
        version, rows = self._stock.changes(self.version)
        found = dict(self._by_region)
        for region, of_region in itertools.groupby(sorted(rows, key=_region_of), key=_region_of):
            known = [(code, row.stock <= 0) for row in of_region if (code := self._code_of(row.item_id))]
            held = found.get(region)
            told, out = (np.zeros(self._num_codes, bool) if held is None else held[one].copy() for one in (0, 1))
            codes = [code for code, _ in known]
            told[codes], out[codes] = True, [is_out for _, is_out in known]
            found[region] = told, out
        self._by_region, self.any_out = found, any(out.any() for _, out in found.values())
        self.version = version


def _region_of(row: StockRow) -> str:
    return row.region
