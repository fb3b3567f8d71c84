"""What a piece of an evaluation took."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """What a piece of work took.

    Args:
        wall: seconds.
        cpu: processor seconds of all threads; none where it was not measured.
    """

    wall: float
    cpu: float | None = None


@contextlib.contextmanager
def timed(into: dict[str, Seconds], name: str) -> Iterator[None]:
    """Note what the block took under ``name``."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    into[name] = Seconds(wall=round(time.perf_counter() - wall, 3), cpu=round(time.process_time() - cpu, 3))
