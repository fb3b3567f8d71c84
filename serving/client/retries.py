"""When a call is made again, and after how long."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from features.errors import ConfigError

_AGAIN: Final = frozenset({0, 429, 502, 503})  # 0: no answer


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How often and how long; every call may be made again, since events carry ids and everything else changes nothing twice.

    Args:
        times: after the first attempt.
        first_seconds: pause before the second attempt; doubled each time, and spread by half.
        longest_seconds: a longer ``Retry-After`` is not waited for: the error is raised, and says how long.
    """

    times: int = 3
    first_seconds: float = 0.2
    longest_seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.times < 0 or self.first_seconds <= 0 or self.longest_seconds <= 0:
            raise ConfigError(f"retries: expected times of 0 or more and seconds above 0, found {self}.")

    def pause(self, number: int, status: int, retry_after_seconds: float | None) -> float | None:
        """Return how long to wait before attempt ``number`` (1 is the first again); ``None`` where there is none.

        >>> Retries().pause(1, 422, None) is Retries().pause(4, 503, None) is Retries().pause(1, 429, 60.0) is None
        True
        >>> Retries().pause(1, 503, 2.0)
        2.0
        """
        if status not in _AGAIN or number > self.times:
            return None
        if retry_after_seconds is not None:
            return retry_after_seconds if retry_after_seconds <= self.longest_seconds else None
        return min(self.longest_seconds, self.first_seconds * 2 ** (number - 1)) * random.uniform(0.5, 1.5)
