"""Keys as every worker sees them: the file is read again as soon as it has changed."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

from features.errors import ConfigError
from serving.access.caller import Caller
from serving.access.keys import ApiKey, KeyFile, id_of
from serving.access.settings import RoleRates

_log = logging.getLogger(__name__)
_Signature = tuple[int, int, int]
_GONE: Final[_Signature] = (0, 0, 0)
_UNKNOWN: Final[_Signature] = (0, 0, 1)


class KeyWatch:
    """A view of the file of keys that is never older than the question put to it.

    Once there was a file, callers are asked for keys for as long as the server runs: one that vanishes, like one that is
    damaged or cannot be read, leaves the keys as they were. Who removes a file shall never open the service to everyone.

    Args:
        path: the file; it need not be there.
        rates: by role, for keys without a rate of their own.
        noted: a file that the workers of one server share, made by the first that sees keys; without it this object
            alone remembers.
    """

    def __init__(self, path: Path, rates: RoleRates, *, noted: Path | None = None) -> None:
        self._file = KeyFile(path)
        self._path = str(path)
        self._noted = noted
        self._rates = rates
        self._seen: _Signature | None = None  # of the content that was read
        self._told: _Signature | None = None  # of what the log was told of
        self._rows: dict[str, tuple[ApiKey, Caller]] = {}
        self.exists = False
        self.refresh()

    def refresh(self) -> None:
        """Read the file again where it has changed; one that cannot be read changes nothing, and is told of in the log."""
        signature = self._signature()
        if signature is None:
            self._missing()
        elif signature != self._seen:
            self._read(signature)

    def _missing(self) -> None:
        if not self.exists and self._noted is not None:
            self.exists = self._noted.exists()
        if self.exists and self._told != _GONE:
            _log.error("%s is gone: keys stay as they were, and callers are asked for them; restore it", self._path)
            self._told = _GONE
        self._seen = None

    def _read(self, signature: _Signature) -> None:
        if not self.exists:
            self.exists = True
            if self._noted is not None:
                note_keys(self._noted)
        try:
            keys = self._file.load()
        except (ConfigError, OSError) as error:
            if self._told != signature:
                _log.error("keys stay as they were: %s", error)
            self._told = signature
            # Damaged content stays so until it changes; what could not be read may be readable the next time.
            self._seen = signature if isinstance(error, ConfigError) else None
            return
        self._seen = self._told = signature  # taken before the read, so a change during it is seen next time
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
        """Return what changes with the file's content, ``None`` where there is no file."""
        try:
            stat = os.stat(self._path)  # noqa: PTH116 (half the time of Path.stat, and asked on every request)
        except FileNotFoundError:
            return None
        except OSError:  # whether there is one cannot be known: reading it tells why
            return _UNKNOWN
        return stat.st_ino, stat.st_size, stat.st_mtime_ns


def note_keys(noted: Path) -> None:
    """Let all workers of a server, and those that take their place, know that there were keys."""
    try:
        noted.touch(mode=0o600)
    except OSError as error:
        _log.error("other workers cannot be told that there are keys: %s", error)
