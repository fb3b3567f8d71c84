"""Settings of live state."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Final, Literal

import msgspec

from features.columns import EVENT_TYPES
from features.errors import ConfigError, did_you_mean

_SCHEMES: Final = ("redis://", "rediss://", "unix://")
_PREFIX: Final = re.compile(r"[\w-]+")
LIVE_FILE: Final = "live_events.sqlite"


class LiveSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where events and consents sent to the service are kept, and for how long.

    Args:
        url: a Redis that several machines share, such as redis://127.0.0.1:6379/0; a SQLite file of this machine where empty.
        file: that SQLite file; live_events.sqlite in the store where empty.
        prefix: of the keys in Redis, so that several shops may share one.
        durability: process: what was acknowledged survives kill -9 of every process; power: a power cut too. Of SQLite;
            a Redis server has a setting of its own (appendfsync).
        max_events: the most live events kept a user; the oldest go first.
        max_age_days: older events are no longer read, and deleted in passing.
        log_days: how long an event waits, from its receipt on, for `footfall live export` before it leaves the log.
        logged_only: event types that are kept for the next feature build and that no answer reads.
        busy_seconds: how long a write waits for other writers, or for Redis, before it is answered with 503.
        timeout_ms: how long a read of Redis may take; a recommendation goes on without it then.
        cached_users: how many users' live events each reading thread keeps in memory, to read again only what changed; a
            worker has up to six of them. Of SQLite.
    """

    url: str = ""
    file: str = ""
    prefix: str = "footfall"
    durability: Literal["process", "power"] = "power"
    max_events: int = 200
    max_age_days: float = 90.0
    log_days: float = 90.0
    logged_only: tuple[str, ...] = ("impression",)
    busy_seconds: float = 5.0
    timeout_ms: int = 250
    cached_users: int = 2_000

    def __post_init__(self) -> None:
        for name in ("max_events", "max_age_days", "log_days", "busy_seconds", "timeout_ms", "cached_users"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ConfigError(f"live.{name}: expected a number above 0, found {value}.")
        if self.url and not self.url.startswith(_SCHEMES):
            raise ConfigError(f"live.url: expected one that begins with {', '.join(_SCHEMES)}, found {self.url!r}.")
        for name in self.logged_only:
            if name not in EVENT_TYPES:
                hint = did_you_mean(name, EVENT_TYPES)
                raise ConfigError(f"live.logged_only: expected event types of the contract, found {name!r}.{hint}")
        if not _PREFIX.fullmatch(self.prefix):
            raise ConfigError(f"live.prefix: expected letters, digits, _ and -, found {self.prefix!r}.")
        if self.url and self.file:
            raise ConfigError("live.file: expected none beside live.url; name the one or the other.")

    def path(self, store: Path) -> Path:
        """Return the SQLite file of a release store."""
        return Path(self.file) if self.file else store / LIVE_FILE

    def resolved(self, store: Path) -> LiveSettings:
        """Return the settings with the SQLite file named outright, for workers that start elsewhere."""
        return self if self.url else msgspec.structs.replace(self, file=str(self.path(store).resolve()))
