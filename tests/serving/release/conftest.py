"""A supervisor and workers without processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.release.board import Board
from serving.release.coordinator import Coordinator
from tests.serving.release.fakes import Fake, FakeWorker, a_release


@pytest.fixture
def source() -> Fake:
    return Fake()


@pytest.fixture
def supervisor(source: Fake, tmp_path: Path) -> Coordinator:
    coordinator = Coordinator(Board(tmp_path), "release", source, poll_seconds=1e-9, load_timeout_seconds=30)
    coordinator.start(a_release("a"))
    return coordinator


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[int], FakeWorker]]:
    with contextlib.ExitStack() as closing:

        def started(pid: int) -> FakeWorker:
            worker = FakeWorker(tmp_path, pid)
            worker.follower.start()
            closing.callback(worker.follower.stop)
            return worker

        yield started
