"""Users to forget: kept outside all releases and applied at load, lookup and rollback."""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from features.errors import DataError


@dataclass(frozen=True, kw_only=True)
class ErasureList:
    """An append-only file of digests; the ids themselves are not kept.

    Args:
        path: JSON lines, ``{"user_sha256": ..., "at": ...}``.
    """

    path: Path

    def add(self, user_id: str) -> None:
        """Record that a user is to be forgotten; durable when this returns."""
        row = {"user_sha256": _digest(user_id), "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds")}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
            _drop_torn_line(file)
            file.write(json.dumps(row).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def load(self) -> ErasedUsers:
        """Read the list.

        Raises:
            DataError: a line before the last is damaged; a torn last line was never acknowledged and is skipped.
        """
        digests = set()
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        for number, line in enumerate(lines, start=1):
            try:
                digests.add(json.loads(line)["user_sha256"])
            except (json.JSONDecodeError, KeyError, TypeError):
                if number < len(lines):
                    raise DataError(
                        f"{self.path}, line {number}: expected one JSON object, found {line[:40]!r}."
                    ) from None
        return ErasedUsers(digests=frozenset(digests))


@dataclass(frozen=True, kw_only=True)
class ErasedUsers:
    """The users to forget, as read once."""

    digests: frozenset[str]

    def __contains__(self, user_id: object) -> bool:
        return bool(self.digests) and _digest(str(user_id)) in self.digests

    def __len__(self) -> int:
        return len(self.digests)


def _drop_torn_line(file: BinaryIO) -> None:
    """Cut what a crash left after the last line end: it was never acknowledged, and a new row must not stick to it."""
    file.seek(0)
    content = file.read()
    if not content.endswith(b"\n"):
        file.truncate(content.rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)


def _digest(user_id: str) -> str:
    return hashlib.sha256(user_id.encode()).hexdigest()
