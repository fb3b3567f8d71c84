"""Times that inner parts measure, and that the metrics keep where there are any."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

Observer = Callable[[str, float], None]
_observers: list[Observer] = []


def tell(observer: Observer) -> None:
    """Tell an observer of every measurement of this process from now on, by name, in seconds; it takes the last one's place."""
    _observers[:] = [observer]


def measured(name: str, seconds: float) -> None:
    """Tell of one measurement."""
    for observer in _observers:
        observer(name, seconds)


@contextlib.contextmanager
def timed(name: str) -> Iterator[None]:
    """Measure a block."""
    started = time.perf_counter()
    try:
        yield
    finally:
        measured(name, time.perf_counter() - started)
