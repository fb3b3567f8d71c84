"""Which instant deletion by age counts from: a clock that runs ahead for an hour must not delete what months have gathered."""

from __future__ import annotations

from typing import Final

_HOUR_US: Final = 3_600_000_000
_HASTE: Final = 24  # a store that rested makes up a day an hour


def age_clock_us(wall_us: int, *, aged_us: int, seen_us: int) -> int:
    """Return the instant that ages count from; it follows the wall clock, by at most a day an hour and at once backwards.

    ``redis_scripts/add.lua`` holds the same rule, over the clock of Redis.

    Args:
        wall_us: the wall clock.
        aged_us: what this returned last.
        seen_us: the wall clock of then.

    >>> day = 24 * 3_600_000_000
    >>> age_clock_us(200 * day, aged_us=0, seen_us=0) // day
    1
    >>> age_clock_us(5, aged_us=200 * day, seen_us=200 * day)
    5
    """
    passed_us = min(max(wall_us - seen_us, 0), _HOUR_US)
    return min(wall_us, aged_us + _HASTE * passed_us)
