"""Which instant the timing of purchases counts to."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # the supervisor reads the time too, and nothing else of a release
    from serving.history.stored import UserEvents

_DAY_US: Final = 86_400_000_000
# A sender's clock may be off or in another zone; an instant further ahead than this is a wrong unit or a wrong year.
MOST_AHEAD_US: Final = _DAY_US
# A release whose data ended longer ago is one of old data, such as a public data set.
REPLAY_AFTER_DAYS: Final = 90


def wall_clock_us() -> int:
    """Return the present, UTC microseconds."""
    return time.time_ns() // 1_000


@dataclass(frozen=True, kw_only=True)
class Clock:
    """The present; over old data, the instant where the data end; later than a user's newest event in any case.

    A purchase of 2017 is long overdue today, and so would be every other: over old data, timing has a meaning only at
    their end.

    Args:
        as_of_us: where the release's data end, UTC microseconds, 0 where unknown.
        wall: the present.
    """

    as_of_us: int
    wall: Callable[[], int] = wall_clock_us

    def now_us(self, events: UserEvents) -> int:
        """Return the instant that timing counts to, for the user of ``events``, oldest first."""
        now = self.wall()
        if self.as_of_us and now - self.as_of_us > REPLAY_AFTER_DAYS * _DAY_US:
            now = self.as_of_us
        newest = int(events.ts[-1]) if len(events) else 0
        return max(now, newest + 1)  # clocks differ: what was sent has happened
