"""How the release that is served is followed, checked and kept."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from features.errors import ConfigError

Follow = Literal["current", "alias", "none"]


class ReleaseSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Change of releases without a restart.

    Args:
        follow: what names the release to serve: the store's current.json, the registry's alias, or nothing after the start.
        alias: of the registry's footfall-release, where it is followed.
        poll_seconds: how often that is looked at.
        replay: how many recent recommend requests each worker asks of the new release and the old one before the swap;
            0 leaves the comparison out.
        max_error_share: largest share of them that the new release may refuse although the old one answers.
        max_empty_share: by how much the share of them may rise that come back empty: a customer here and there whose
            list is empty with one release and not with the other is no sign of trouble.
        min_overlap: smallest mean share of items that both lists must have in common; 0 only reports it.
        keep_previous: hold the release that was served before in memory, so that going back takes no loading.
        load_timeout_seconds: a release that a worker has not loaded by then is refused.
        align_seconds: swap when the clock is at a multiple of this, so that several machines do so together; 0 is at once.
        also: further releases to hold, for experiments and comparisons.
        max_also: how many of those may be held at once.
    """

    follow: Follow = "current"
    alias: str = "serving"
    poll_seconds: float = 1.0
    replay: int = 100
    max_error_share: float = 0.0
    max_empty_share: float = 0.1
    min_overlap: float = 0.0
    keep_previous: bool = True
    load_timeout_seconds: float = 300.0
    align_seconds: float = 0.0
    also: tuple[str, ...] = ()
    max_also: int = 2

    def __post_init__(self) -> None:
        for name in ("poll_seconds", "load_timeout_seconds"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"releases.{name}: expected seconds above 0, found {getattr(self, name)}.")
        for name in ("replay", "align_seconds", "max_also"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"releases.{name}: expected 0 or more, found {getattr(self, name)}.")
        for name in ("max_error_share", "max_empty_share", "min_overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"releases.{name}: expected a share from 0 to 1, found {getattr(self, name)}.")
        if len(self.also) > self.max_also:
            raise ConfigError(f"releases.also: expected at most max_also = {self.max_also}, found {len(self.also)}.")
