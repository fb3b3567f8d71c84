"""Erased users as every worker sees them: the list is read again as soon as its file has changed."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from features.release.erasure import ErasedUsers, ErasureList

_Signature = tuple[int, int, int]


class ErasureWatch:
    """A view of the erasure list that is never older than the question put to it."""

    def __init__(self, erasures: ErasureList) -> None:
        self._erasures = erasures
        self._path = str(erasures.path)
        self._lock = threading.Lock()
        self._seen: _Signature | None = None
        self._users = ErasedUsers()

    def __contains__(self, user_id: str) -> bool:
        return user_id in self.current()

    @property
    def path(self) -> Path:
        """Where the list stands."""
        return self._erasures.path

    def add(self, user_id: str) -> None:
        """Put a user on the list; durable when this returns."""
        self._erasures.add(user_id)

    def current(self) -> ErasedUsers:
        """Return the list as it is now; the same object until it changes."""
        signature = self._signature()
        if signature != self._seen:
            with self._lock:
                self._users = self._erasures.load()
                self._seen = signature  # taken before the read, so a change during it is seen next time
        return self._users

    def _signature(self) -> _Signature | None:
        try:
            stat = os.stat(self._path)  # noqa: PTH116 (half the time of Path.stat, and asked on every request)
        except FileNotFoundError:
            return None
        return stat.st_ino, stat.st_size, stat.st_mtime_ns
