"""How long questions take, by their kind."""

from __future__ import annotations

import resource
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Final, NamedTuple

# The share of the newest batch in what is expected of the next.
_NEWEST: Final = 0.2
# What is left of the worst that was seen after each batch: of 400, an eighth.
_REMEMBERED: Final = 0.995
_MOST_KINDS: Final = 1_024
_LEAST_SECONDS: Final = 1e-7


class Taken(NamedTuple):
    """Seconds that a question took.

    Args:
        expected: an average that a slow one raises at once and that falls quickly.
        worst: the most, forgotten slowly.
    """

    expected: float
    worst: float


class Pace:
    """Seconds that a question of a kind takes.

    Kinds are told apart so that many quick questions of one do not make anyone forget that another is slow.
    """

    def __init__(self) -> None:
        self._of = OrderedDict[Hashable, Taken]()

    def of(self, kind: Hashable) -> Taken | None:
        """Return the seconds of one question, ``None`` where none of its kind was met lately."""
        return self._of.get(kind)

    def add(self, kinds: Sequence[Hashable], seconds: float) -> None:
        """Count questions that were answered together; each kind gets the share of the time that was expected of it."""
        numbers: dict[Hashable, int] = {}
        for kind in kinds:
            numbers[kind] = numbers.get(kind, 0) + 1
        shares = {kind: self._weight(kind) for kind in numbers} if len(numbers) > 1 else dict.fromkeys(numbers, 1.0)
        total = sum(shares[kind] * number for kind, number in numbers.items())
        for kind in numbers:
            self._count(kind, seconds * shares[kind] / total)

    def _weight(self, kind: Hashable) -> float:
        known = self._of.get(kind)
        return _LEAST_SECONDS if known is None else max(_LEAST_SECONDS, known.expected)

    def _count(self, kind: Hashable, seconds: float) -> None:
        before = self._of.get(kind) or Taken(seconds, seconds)
        expected = max(seconds, before.expected + _NEWEST * (seconds - before.expected))
        self._of[kind] = Taken(expected, max(seconds, _REMEMBERED * before.worst))
        self._of.move_to_end(kind)
        if len(self._of) > _MOST_KINDS:
            self._of.popitem(last=False)


def stopwatch() -> Callable[[], float]:
    """Return what tells the seconds from now on of this thread, without what the machine gave to others in between.

    Waiting counts, for a disk or a lock. Being set aside for another process does not: whoever it happened to is not slow.
    """
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_THREAD)

    def seconds() -> float:
        wall, now = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_THREAD)
        if now.ru_nivcsw == before.ru_nivcsw:
            return wall
        return min(wall, now.ru_utime - before.ru_utime + now.ru_stime - before.ru_stime)

    return seconds
