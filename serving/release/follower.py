"""A worker's threads that load what the plans name, aside, and say so."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal

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
        beside_seconds: how long a start waits for what the other workers hold beside what serves.
    """

    def __init__(
        self,
        board: Board,
        topics: Sequence[Followed[Any]],
        *,
        aside: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
        beside_seconds: float = 60.0,
    ) -> None:
        self._board = board
        self._topics = topics
        self._aside = aside
        self._beside_seconds = beside_seconds
        self._state: Literal["starting", "serving"] = "starting"
        self._failure: Exception | None = None
        self._also: tuple[str, ...] = ()
        self._said: tuple[str, ...] = ()
        self._saying = threading.Lock()
        self._seen: dict[str, tuple[int, int]] = {}
        self._stopped = threading.Event()
        # A thread a topic: an urgent ban does not wait while a release is read.
        self._threads = [
            threading.Thread(target=self._run, args=(one,), name=f"{one.topic}-follower", daemon=True) for one in topics
        ]

    def start(self) -> None:
        """Load what serves, and what all others hold beside it; count as a worker that answers, and follow from then on.

        Raises:
            FootfallError: what serves cannot be loaded; the supervisor hears of it.
        """
        self._board.join()
        self._say()
        try:
            self._load_what_serves()
            for thread in self._threads:
                thread.start()
            self._wait_until_ready()
        except Exception as error:
            self._stopped.set()
            self._say(failure=str(error) if isinstance(error, FootfallError) else repr(error))
            raise
        self._seen.clear()  # from now on all that the plans name is loaded

    def want(self, names: Iterable[str]) -> None:
        """Have every worker hold these contents beside what serves, as far as the settings allow; replaces what was wanted."""
        self._also = tuple(sorted(set(names)))  # a thread says so in its next round

    def stop(self) -> None:
        """Follow no longer; no swap waits for this worker from now on."""
        self._stopped.set()
        self._board.leave()

    @property
    def has_started(self) -> bool:
        """Whether what serves is loaded."""
        return any(thread.is_alive() for thread in self._threads)

    def _load_what_serves(self) -> None:
        while not all(followed.is_ready for followed in self._topics):
            done = [followed.sync(_at_start(self._board.plan(followed.topic), also=False)) for followed in self._topics]
            if not any(done):
                self._stopped.wait(_POLL_SECONDS / 10)  # a swap is under way, its plan not yet written

    def _wait_until_ready(self) -> None:
        """Wait for what the others hold, for a while, and begin to answer; nothing is swapped while that is looked at."""
        deadline = time.monotonic() + self._beside_seconds
        while True:
            if self._failure is not None:
                raise self._failure
            if time.monotonic() > deadline or all(map(self._holds_what_all_hold, self._topics)):
                with self._board.gate():
                    if all(followed.is_ready for followed in self._topics):
                        self._state = "serving"
                        self._say()
                        return
            self._stopped.wait(_POLL_SECONDS / 10)

    def _holds_what_all_hold(self, followed: Followed[Any]) -> bool:
        plan, said = _at_start(self._board.plan(followed.topic)), {one.number for one in followed.notes}
        return all(one.number in said for one in plan.contents)

    def _run(self, followed: Followed[Any]) -> None:
        while not self._stopped.wait(_POLL_SECONDS):
            try:
                self._follow(followed)
                if self._also != self._said:
                    self._say()
                    self._board.ring()
            except Exception as error:
                if self._state == "starting":
                    self._failure = error
                    return
                _log.exception("%s: the plan could not be followed; trying again", followed.topic)
                self._stopped.wait(1.0)

    def _follow(self, followed: Followed[Any]) -> None:
        signature, state = self._signature(followed), self._state
        if signature == self._seen.get(followed.topic):
            return
        with self._aside():
            while self._sync(followed):
                self._say()
        self._say()
        if state == self._state:
            self._seen[followed.topic] = signature

    def _sync(self, followed: Followed[Any]) -> bool:
        plan = self._board.plan(followed.topic)
        return followed.sync(_at_start(plan) if self._state == "starting" else plan)

    def _signature(self, followed: Followed[Any]) -> tuple[int, int]:
        stat = self._board.plan_path(followed.topic).stat()
        return stat.st_ino, stat.st_mtime_ns

    def _say(self, *, failure: str | None = None) -> None:
        with self._saying:
            held, also = {followed.topic: followed.notes for followed in self._topics}, self._also
            state = self._state if failure is None else "failed"
            self._board.say(WorkerNote(pid=self._board.pid, state=state, held=held, also=also, reason=failure or ""))
            self._said = also


def _at_start(plan: Plan, *, also: bool = True) -> Plan:
    """Return what a worker loads before it answers: what serves, and beside it what all others hold.

    A customer whose variant names a release beside would go back and forth if this worker lacked it for a while.
    """
    beside = tuple(one for one in plan.also if also and one.number in plan.everywhere)
    return msgspec.structs.replace(plan, candidate=None, previous=None, also=beside)
