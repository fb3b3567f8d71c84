"""Supervisor and workers without processes: a source that is a variable, and releases that are their names."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from features.errors import ReleaseError
from serving.release.board import Board, Content, Plan, Refusal
from serving.release.coordinator import Coordinator
from serving.release.followed import Followed, Refused
from serving.release.follower import Follower
from serving.release.sources import Wanted


class Fake:
    """A source whose word is a variable."""

    def __init__(self) -> None:
        self.now: Wanted | None = a_release("a")
        self.beside: tuple[Wanted, ...] = ()
        self.damaged: set[str] = set()
        self.rewritten: set[str] = set()
        self.told: list[str] = []

    def wanted(self) -> Wanted:
        if self.now is None:
            raise ReleaseError("current.json: damaged")
        return self.now

    def also(self, names: Iterable[str]) -> tuple[Wanted, ...]:
        return (*self.beside, *(a_release(name) for name in names))

    def is_stale(self, content: Content) -> bool:
        return content.name in self.rewritten

    def verify(self, wanted: Wanted) -> None:
        if wanted.name in self.damaged:
            raise ReleaseError(f"{wanted.name}/index.faiss: damaged")

    def swapped(self, plan: Plan) -> None:
        self.told.append(plan.serving.name)

    def refused(self, refusal: Refusal) -> None:
        self.told.append(f"not {refusal.name}")


class FakeWorker:
    """A worker whose releases are their names."""

    def __init__(self, directory: Path, pid: int) -> None:
        self.board = Board(directory, pid=pid)
        self.failing: set[str] = set()
        self.worse: set[str] = set()
        self.deadly: set[str] = set()
        self.loaded: list[str] = []
        self.followed = Followed[str](self.board, "release", load=self._load, compare=self._compare)
        self.follower = Follower(self.board, [self.followed])

    def _load(self, content: Content, _: Sequence[str]) -> str:
        self.loaded.append(content.name)
        if content.name in self.deadly:  # as one that is killed for its memory
            self.follower.stop()
            raise SystemExit
        if content.name in self.failing:
            raise MemoryError
        return f"{content.name}{content.digest}"

    def _compare(self, _: str, candidate: str) -> dict[str, float]:
        if candidate[0] in self.worse:
            raise Refused("errors 1.000 of 5 recent requests, at most 0 allowed", {"errors": 1.0})
        return {"errors": 0.0}


def a_release(name: str, digest: str = "1", **more: object) -> Wanted:
    return Wanted(name=name, digest=digest, followed=name, **more)  # type: ignore[arg-type]


def until(supervisor: Coordinator, holds: Callable[[Plan], bool]) -> Plan:
    deadline = time.monotonic() + 10
    while not holds(supervisor.plan):
        assert time.monotonic() < deadline, supervisor.plan
        supervisor.tick()
        time.sleep(0.005)
    return supervisor.plan


def serves(name: str) -> Callable[[Plan], bool]:
    return lambda plan: plan.serving.name == name


def no_room(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")
