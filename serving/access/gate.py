"""Turns requests away early where they would wait too long, so that those inside are answered in time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from serving.api.errors import RequestError

# Throughput is measured over so much busy time, and the newest span counts for this share.
_SPAN_SECONDS: Final = 0.25
_NEWEST: Final = 0.5


class Gate:
    """Counts who is inside one queue of one worker, and measures how fast they leave.

    Whoever comes next waits about ``inside / throughput`` seconds (Little's law). Throughput is counted while anyone is
    inside only, so that quiet times do not lower it.

    Args:
        max_wait_seconds: the longest wait that is offered.
        at_least: so many are let in, however slow things are.
        at_most: never more than this.
        clock: seconds.
    """

    def __init__(
        self,
        *,
        max_wait_seconds: float,
        at_least: int,
        at_most: int = 4_096,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_wait = max_wait_seconds
        self._at_least = at_least
        self._at_most = at_most
        self._clock = clock
        self._since = 0.0  # when someone was last known to be at work with nothing counted yet
        self._busy, self._left = 0.0, 0
        self.inside = 0
        self.limit = min(at_most, 4 * at_least)  # until the first span is measured
        self.per_second = 0.0

    @property
    def is_full(self) -> bool:
        """Whether the next one would wait too long."""
        return self.inside >= self.limit

    @property
    def retry_after(self) -> int:
        """Whole seconds until those inside have left."""
        return max(1, math.ceil(self.inside / self.per_second)) if self.per_second else 1

    def enter(self) -> None:
        """Count someone in.

        Raises:
            RequestError: the wait would be too long; 429.
        """
        if self.inside >= self.limit:
            raise self.refusal()
        if not self.inside:
            self._since = self._clock()
        self.inside += 1

    def leave(self, *, is_done: bool = True) -> None:
        """Count someone out, whose work was done, or was called off before it began: nothing was worked off then."""
        now = self._clock()
        self.inside -= 1
        self._busy += now - self._since
        self._left += is_done
        self._since = now
        if self._busy >= _SPAN_SECONDS:
            self._measure()

    def refusal(self) -> RequestError:
        """Return what those hear who are turned away."""
        return saturated(self.retry_after)

    def _measure(self) -> None:
        newest = self._left / self._busy
        self.per_second = newest if not self.per_second else (1 - _NEWEST) * self.per_second + _NEWEST * newest
        self._busy, self._left = 0.0, 0
        self.limit = min(self._at_most, max(self._at_least, round(self.per_second * self._max_wait)))


def saturated(seconds: int) -> RequestError:
    """Return what someone hears for whom there is no room for so long."""
    return RequestError(
        429, "saturated", f"Too many requests wait already; try again in {seconds} s.", retry_after=seconds
    )
