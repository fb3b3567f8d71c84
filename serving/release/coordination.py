"""The supervisor's threads, one a topic: an urgent change of rules does not wait while a release is read."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from serving.release.coordinator import Coordinator

_log = logging.getLogger(__name__)
_TICK_SECONDS: Final = 0.05


class Coordination:
    """Keeps all plans, each in a thread of its own.

    Args:
        coordinators: one a topic, started.
        on_tick: called after the first one's steps, such as to see whether any worker can start.
    """

    def __init__(self, coordinators: Sequence[Coordinator], *, on_tick: Callable[[], Any] = lambda: None) -> None:
        steps = [[one.tick] for one in coordinators]
        steps[0].append(on_tick)
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(of_one,), name="coordinator", daemon=True) for of_one in steps
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Swap nothing any more."""
        self._stopped.set()

    def _run(self, steps: Sequence[Callable[[], Any]]) -> None:
        while not self._stopped.wait(_TICK_SECONDS):
            for step in steps:
                try:
                    step()
                except Exception:  # what serves goes on whatever happens here
                    _log.exception("swaps: a step failed; trying again")
                    self._stopped.wait(1.0)
