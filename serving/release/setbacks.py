"""What the supervisor remembers of contents that could not be served."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Final

from serving.release.board import Plan, WorkerNote
from serving.release.sources import Wanted

_LONGEST_WAIT_SECONDS: Final = 900.0


class Deaths:
    """Which contents workers were loading when they died.

    Args:
        topic: of the contents.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._loading: dict[int, int | None] = {}
        self._dead: dict[int, list[int]] = {}

    def look(self, plan: Plan, workers: Sequence[WorkerNote]) -> None:
        """Note who is gone since the last look, and what each of the others loads now."""
        alive = {worker.pid for worker in workers}
        for pid, number in self._loading.items():
            if pid not in alive and number is not None:
                self._dead.setdefault(number, []).append(pid)
        self._loading = {worker.pid: self._missing(plan, worker) for worker in workers}

    def of(self, number: int) -> list[int]:
        """Return the processes that died while they loaded a content."""
        return self._dead.get(number, [])

    def _missing(self, plan: Plan, worker: WorkerNote) -> int | None:
        """Return what a worker loads: the first that it says nothing of yet."""
        return next((one.number for one in plan.contents if worker.of(self._topic, one.number) is None), None)


class Retries:
    """When what was refused is tried again: by its content and by who asked for it.

    Args:
        seconds: how long after the first refusal for a reason that may pass; twice as long after each further one.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waits: dict[tuple[str, str, int], tuple[float, float]] = {}  # how long, and until when

    def may(self, wanted: Wanted) -> bool:
        """Return whether a content may be tried now."""
        _, until = self._waits.get(_key(wanted), (0.0, -math.inf))
        return time.monotonic() >= until

    def note(self, wanted: Wanted, *, passing: bool) -> None:
        """Note a refusal; for good, unless its reason may pass."""
        before, _ = self._waits.get(_key(wanted), (0.0, 0.0))
        wait = min(2 * before, max(self._seconds, _LONGEST_WAIT_SECONDS)) if before else self._seconds
        self._waits[_key(wanted)] = wait, time.monotonic() + wait if passing else math.inf

    def forget(self, name: str) -> None:
        """Let all contents of a name be tried at once."""
        self._waits = {key: wait for key, wait in self._waits.items() if key[0] != name}


def _key(wanted: Wanted) -> tuple[str, str, int]:
    return wanted.name, wanted.digest, wanted.asked
