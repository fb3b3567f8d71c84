"""When a call is made again, and after how long."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any, Final

from features.errors import ConfigError
from serving.client.calls import Call
from serving.client.errors import FOREIGN, CallError

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


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How calls are made.

    Args:
        retries: when again.
        timeout_seconds: of an attempt.
        deadline_seconds: of all attempts of a call, with their pauses.
    """

    retries: Retries
    timeout_seconds: float
    deadline_seconds: float

    def __post_init__(self) -> None:
        if self.timeout_seconds <= 0 or self.deadline_seconds <= 0:
            raise ConfigError(f"client: expected timeout_seconds and deadline_seconds above 0, found {self}.")

    def begin(self) -> Attempts:
        """Begin a call."""
        return Attempts(self)


class Attempts:
    """The attempts of one call.

    Args:
        plan: how they are made.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._until = time.monotonic() + plan.deadline_seconds
        self._number = 0

    def next(self, call: Call[Any]) -> dict[str, Any]:
        """Return what the next attempt sends, and how long it may take."""
        self._number += 1
        left = max(0.001, self._until - time.monotonic())
        return {"content": call.body, "timeout": min(self._plan.timeout_seconds, left)}

    def pause(self, failed: CallError) -> float:
        """Return how long to wait before the next attempt.

        Raises:
            CallError: what failed, where there is no further one.
        """
        pause = self._plan.retries.pause(self._number, failed.status, failed.retry_after_seconds)
        if pause is None or time.monotonic() + pause >= self._until or failed.code == FOREIGN:
            raise failed
        return pause
