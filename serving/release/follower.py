"""A worker's thread that loads what the plans name, aside, and says so."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from features.errors import FootfallError
from serving.release.board import Board, Plan, WorkerNote
from serving.release.followed import Followed

_log = logging.getLogger(__name__)
_POLL_SECONDS: Final = 0.05


class Follower:
    """Keeps this worker's contents as the plans want them.

    Args:
        board: where the plans stand.
        topics: what is followed.
        aside: entered while something is loaded beside what serves.
    """

    def __init__(
        self,
        board: Board,
        topics: Sequence[Followed[Any]],
        *,
        aside: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._board = board
        self._topics = topics
        self._aside = aside
        self._also: tuple[str, ...] = ()
        self._said: tuple[str, ...] = ()
        self._seen: dict[str, tuple[int, int]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="release-follower", daemon=True)

    def start(self) -> None:
        """Load what serves, count as a worker that answers, and follow from then on.

        Raises:
            FootfallError: what serves cannot be loaded; the supervisor hears of it.
        """
        self._board.join()
        self._say("starting")
        try:
            while not self._ready():
                done = [self._sync(followed, only_serving=True) for followed in self._topics]
                if not any(done):
                    self._stopped.wait(_POLL_SECONDS / 10)  # a swap is under way, its plan not yet written
        except Exception as error:
            self._say("failed", reason=str(error) if isinstance(error, FootfallError) else repr(error))
            raise
        self._seen.clear()
        self._thread.start()

    def want(self, names: Iterable[str]) -> None:
        """Have every worker hold these contents beside what serves, as far as the settings allow; replaces what was wanted."""
        self._also = tuple(sorted(set(names)))  # the thread says so in its next round

    def stop(self) -> None:
        """Follow no longer; no swap waits for this worker from now on."""
        self._stopped.set()
        self._board.leave()

    @property
    def has_started(self) -> bool:
        """Whether this worker answers."""
        return self._thread.is_alive()

    def _ready(self) -> bool:
        """Begin to answer if what the words name is loaded; nothing is swapped while that is looked at."""
        with self._board.gate():
            if not all(followed.is_ready for followed in self._topics):
                return False
            self._say("serving")
            return True

    def _run(self) -> None:
        while not self._stopped.wait(_POLL_SECONDS):
            try:
                for followed in self._topics:
                    self._follow(followed)
                if self._also != self._said:
                    self._say("serving")
                    self._board.ring()
            except Exception:
                _log.exception("the plan could not be followed; trying again")
                self._stopped.wait(1.0)

    def _follow(self, followed: Followed[Any]) -> None:
        signature = self._signature(followed)
        if signature == self._seen.get(followed.topic):
            return
        with self._aside():
            while self._sync(followed):
                self._say("serving")
        self._say("serving")
        self._seen[followed.topic] = signature

    def _sync(self, followed: Followed[Any], *, only_serving: bool = False) -> bool:
        plan: Plan = self._board.plan(followed.topic)
        if only_serving:
            plan = msgspec.structs.replace(plan, candidate=None, previous=None, also=())
        return followed.sync(plan)

    def _signature(self, followed: Followed[Any]) -> tuple[int, int]:
        stat = self._board.plan_path(followed.topic).stat()
        return stat.st_ino, stat.st_mtime_ns

    def _say(self, state: Any, *, reason: str = "") -> None:
        held, also = {followed.topic: followed.notes for followed in self._topics}, self._also
        self._board.say(WorkerNote(pid=self._board.pid, state=state, held=held, also=also, reason=reason))
        self._said = also
