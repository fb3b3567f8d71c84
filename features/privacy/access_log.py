"""Who looked at whose rows, when and why: an append-only file.

access.jsonl   {"at", "who", "why", "what", "subject", ...}; the subject is a keyed digest (HMAC-SHA-256), no id
access.key     its key, readable by its owner alone: with it a customer's question "who saw my data" can be answered
"""

from __future__ import annotations

import datetime as dt
import fcntl
import getpass
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from features.errors import DataError
from features.files import write_bytes
from features.privacy.erase_files import whole_word
from features.release.erasure import drop_torn_line

ACCESS_FILE: Final = "access.jsonl"
EVERYONE: Final = "everyone"
_KEY_BYTES: Final = 32
_OWNER_ONLY: Final = 0o600


@dataclass(frozen=True, kw_only=True)
class AccessLog:
    """The file.

    Args:
        path: JSON lines, readable by its owner alone.
    """

    path: Path

    def record(self, what: str, *, ids: Iterable[str], who: str = "", why: str = "", **facts: Any) -> None:
        """Add a line; it is on disk when this returns, so call it before the rows are handed out.

        Args:
            what: what was done.
            ids: of the customer, none for a window over everyone. They are digested, and blotted out in other texts.
            who: name of whoever asks; the account of this process where blank.
            why: in their words.
            facts: whatever else JSON can say of it.
        """
        known = sorted(ids)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, _OWNER_ONLY)
        with os.fdopen(descriptor, "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
            drop_torn_line(file)
            row = {
                "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                "who": who or getpass.getuser(),
                "why": why or "not stated",
                "what": what,
                "subject": [self._digest(id_) for id_ in known] or EVERYONE,
                **facts,
            }
            file.write(json.dumps(_blotted(row, known), ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def about(self, user_id: str) -> list[dict[str, Any]]:
        """Return the lines about one id, oldest first, and those about everyone."""
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        rows = [json.loads(line) for line in lines]
        own = self._digest(user_id) if rows else ""
        return [row for row in rows if row["subject"] == EVERYONE or own in row["subject"]]

    def _digest(self, id_: str) -> str:
        return hmac.new(self._key(), id_.encode(), hashlib.sha256).hexdigest()

    def _key(self) -> bytes:
        path = self.path.with_suffix(".key")
        if not path.exists():
            if self.path.exists() and self.path.stat().st_size:
                raise DataError(
                    f"{path}: expected the key that {self.path.name} was written with, found none; restore it."
                )
            write_bytes(path, secrets.token_bytes(_KEY_BYTES), mode=_OWNER_ONLY)
        return path.read_bytes()


def _blotted(row: dict[str, Any], ids: list[str]) -> dict[str, Any]:
    if not ids:
        return row
    word = whole_word(ids)
    return {
        name: word.sub(r"\1(customer)\3", value) if isinstance(value, str) else value for name, value in row.items()
    }
