"""Keys as every worker sees them: the file is read again as soon as it has changed."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from features.errors import ConfigError
from serving.access.caller import Caller
from serving.access.keys import ApiKey, KeyFile, id_of
from serving.access.settings import RoleRates

_log = logging.getLogger(__name__)
_Signature = tuple[int, int, int]


class KeyWatch:
    """A view of the file of keys that is never older than the question put to it.

    Args:
        path: the file; it need not be there.
        rates: by role, for keys without a rate of their own.
    """

    def __init__(self, path: Path, rates: RoleRates) -> None:
        self._file = KeyFile(path)
        self._path = str(path)
        self._rates = rates
        self._seen: _Signature | None = None
        self._rows: dict[str, tuple[ApiKey, Caller]] = {}
        self.exists = False
        self.refresh()

    def refresh(self) -> None:
        """Read the file again where it has changed; a damaged one changes nothing, and is told of in the log."""
        signature = self._signature()
        if signature == self._seen:
            return
        self._seen = signature  # taken before the read, so a change during it is seen next time
        try:
            keys = self._file.load()
        except (ConfigError, OSError) as error:
            _log.error("keys stay as they were: %s", error)
            self.exists = True
            return
        self.exists = signature is not None
        self._rows = {one.id: (one, self._caller(one)) for one in keys}

    def caller_of(self, key: str) -> Caller | None:
        """Return who sends a key; ``None`` where it opens nothing."""
        row = self._rows.get(id_of(key) or "")
        return row[1] if row is not None and row[0].opens(key) else None

    def _caller(self, key: ApiKey) -> Caller:
        rate: object = key.rate if key.rate is not None else getattr(self._rates, key.role)
        return Caller(
            name=key.name,
            roles=frozenset({key.role}),
            rate=rate,  # type: ignore[arg-type]  # a field a role
            bucket=key.number,
            bucket_key=key.id.encode(),
            origins=key.origins,
            by_address=key.role == "tracker",
        )

    def _signature(self) -> _Signature | None:
        try:
            stat = os.stat(self._path)  # noqa: PTH116 (half the time of Path.stat, and asked on every request)
        except FileNotFoundError:
            return None
        return stat.st_ino, stat.st_size, stat.st_mtime_ns
