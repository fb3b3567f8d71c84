"""Times that inner parts measure, and that the metrics keep where there are any."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

Observer = Callable[[str, float], None]
_observers: list[Observer] = []
_clock: list[Callable[[], float]] = [time.perf_counter]


def tell(observer: Observer, *, clock: Callable[[], float] = time.perf_counter) -> None:
    """Tell an observer of every measurement of this process from now on, by name, in seconds; it takes the last one's place.

    Args:
        observer: is told.
        clock: of blocks that are timed.
    """
    _observers[:] = [observer]
    _clock[:] = [clock]


def measured(name: str, seconds: float) -> None:
    """Tell of one measurement."""
    for observer in _observers:
        observer(name, seconds)


@contextlib.contextmanager
def timed(name: str) -> Iterator[None]:
    """Measure a block."""
    [clock] = _clock
    started = clock()
    try:
        yield
    finally:
        measured(name, clock() - started)
