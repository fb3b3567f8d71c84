"""Users to forget: kept outside all releases and applied at load, lookup and rollback.

erasures.jsonl   keyed digests of user ids (HMAC-SHA-256)
erasures.key     their key, readable by its owner alone: user ids are short, and plain digests could be guessed

Both move together: without its key a list forgets nobody, so a list without one is refused.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from features.errors import DataError
from features.files import write_bytes

_KEY_BYTES: Final = 32
_OWNER_ONLY: Final = 0o600


@dataclass(frozen=True, kw_only=True)
class ErasureList:
    """An append-only file of digests; the ids themselves are not kept.

    Args:
        path: JSON lines, ``{"user_hmac": ..., "at": ...}``.
    """

    path: Path

    @property
    def key_path(self) -> Path:
        """Where the key of the digests stands, beside the list; made by the first ``add``."""
        return self.path.with_suffix(".key")

    def add(self, user_id: str) -> None:
        """Record that a user is to be forgotten; durable when this returns.

        Raises:
            DataError: the list has rows, but its key is gone.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
            drop_torn_line(file)
            key = self._key() if file.tell() else self._new_key()
            row = {"user_hmac": _digest(key, user_id), "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds")}
            file.write(json.dumps(row).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def load(self) -> ErasedUsers:
        """Read the list.

        Raises:
            DataError: a line before the last is damaged, or the key is gone; a torn last line was never acknowledged
                and is skipped.
        """
        digests = set()
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        for number, line in enumerate(lines, start=1):
            try:
                digests.add(json.loads(line)["user_hmac"])
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                # A torn object is no JSON; a whole one without a digest is another list, even at the end.
                if number < len(lines) or not isinstance(error, json.JSONDecodeError):
                    raise DataError(
                        f"{self.path}, line {number}: expected an object with user_hmac, found {line[:40]!r}."
                    ) from None
        return ErasedUsers(digests=frozenset(digests), key=self._key() if digests else b"")

    def _key(self) -> bytes:
        key = self.key_path.read_bytes() if self.key_path.exists() else b""
        if len(key) != _KEY_BYTES:
            raise DataError(
                f"{self.key_path}: expected the {_KEY_BYTES} bytes that {self.path.name} was written with, found "
                f"{len(key)}; without them nobody can be forgotten. Restore the key from where the list came from."
            )
        return key

    def _new_key(self) -> bytes:
        """Write a key under the list's lock; one that a crash left before the first row is as good as new."""
        if not self.key_path.exists():
            write_bytes(self.key_path, secrets.token_bytes(_KEY_BYTES), mode=_OWNER_ONLY)
        return self._key()


@dataclass(frozen=True, kw_only=True)
class ErasedUsers:
    """The users to forget, as read once.

    Args:
        digests: of their ids.
        key: of the digests.
    """

    digests: frozenset[str] = frozenset()
    key: bytes = field(default=b"", repr=False)

    def __contains__(self, user_id: object) -> bool:
        return bool(self.digests) and _digest(self.key, str(user_id)) in self.digests

    def __len__(self) -> int:
        return len(self.digests)


def drop_torn_line(file: BinaryIO) -> None:
    """Cut what a crash left after the last line end: it was never acknowledged, and a new row must not stick to it."""
    file.seek(0)
    content = file.read()
    if not content.endswith(b"\n"):
        file.truncate(content.rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)


def _digest(key: bytes, user_id: str) -> str:
    return hmac.new(key, user_id.encode(), hashlib.sha256).hexdigest()
