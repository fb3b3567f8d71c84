"""What is in stock now, told while the service runs: an append-only log that all workers follow.

STORE/stock.jsonl   {"item_id": "a", "stock": 0, "region": "", "at_us": 1790000000000000}

A row replaces the earlier one of the same item and region unless it is of an earlier instant. The log is written anew,
with the newest row of each alone, when it has grown to several times that.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import threading
import time
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
        self._lock = threading.Lock()
        self._file_id = -1
        self._read_to = 0
        self._num_rows = 0
        self._rows: dict[_Key, StockRow] = {}
        self._changes: list[_Key] = []
        self._warned = False
        with contextlib.suppress(OSError):  # a file that is there is looked at in half the time of one that is not
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()

    def add(self, rows: Sequence[StockRow]) -> int:
        """Keep rows, on disk when this returns; return how many told something newer than what was known."""
        if not rows:
            return 0
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._opened() as file:
                drop_torn_line(file)
                self._read()
                newer = [row for row in rows if self._is_newer(row)]
                file.write(b"".join(json.dumps(row._asdict()).encode() + b"\n" for row in newer))
                file.flush()
                os.fsync(file.fileno())
                if self._word is not None:
                    self._word[0] += 1
                self._read()
                if self._num_rows > _SLACK_ROWS + 4 * len(self._rows):
                    write_bytes(
                        self._path, b"".join(json.dumps(r._asdict()).encode() + b"\n" for r in self._rows.values())
                    )
        return len(newer)

    def refresh(self) -> int:
        """Follow the log; return how many changes there were so far."""
        if self._word is not None:
            word = self._word[0]
            if word == self._seen_word and time.monotonic() < self._look_at:
                return len(self._changes)
            self._seen_word, self._look_at = (
                word,
                time.monotonic() + _LOOK_SECONDS,
            )  # before the file: not after a change
        try:
            found = os.stat(self._path)  # noqa: PTH116 - half the time of Path.stat, on each batch of requests
        except FileNotFoundError:
            return len(self._changes)
        if found.st_ino != self._file_id or found.st_size > self._read_to:
            with self._lock:
                self._read()
        return len(self._changes)

    def changes(self, since: int) -> list[StockRow]:
        """Return what was told after the first ``since`` changes, as it is known now."""
        with self._lock:
            return [self._rows[key] for key in dict.fromkeys(self._changes[since:])]

    def rows(self) -> dict[_Key, StockRow]:
        """Return what is known, by item and region."""
        with self._lock:
            return dict(self._rows)

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
        self.version = 0
        self.any_out = False

    def refresh(self) -> int:
        """Follow the log; return the version of what is known, another after each change."""
        found = self._stock.refresh()
        if found != self.version:
            self._follow(found)
        return self.version

    def told(self, region: str) -> Flags:
        """Return whose stock is known there."""
        return self._of(region)[0]

    def out(self, region: str) -> Flags:
        """Return what is out of stock there: what was said of the region decides, else what was said of all."""
        return self._of(region)[1]

    def _of(self, region: str) -> tuple[Flags, Flags]:
        everywhere = self._pair("")
        if not region or region not in self._by_region:
            return everywhere
        told, out = self._by_region[region]
        return told | everywhere[0], np.where(told, out, everywhere[1])

    def _follow(self, version: int) -> None:
        for row in self._stock.changes(self.version):
            if code := self._code_of(row.item_id):
                told, out = self._pair(row.region)
                told[code], out[code] = True, row.stock <= 0
        self.any_out = any(out.any() for _, out in self._by_region.values())
        self.version = version

    def _pair(self, region: str) -> tuple[Flags, Flags]:
        if region not in self._by_region:
            self._by_region[region] = np.zeros(self._num_codes, bool), np.zeros(self._num_codes, bool)
        return self._by_region[region]
