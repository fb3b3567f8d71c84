"""Who counts as a living worker."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from serving.release.board import Board, WorkerNote


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


def joined(directory: Path, pid: int) -> Board:
    worker = Board(directory, pid=pid)
    worker.join()
    worker.say(WorkerNote(pid=pid, state="serving"))
    return worker


def test_workers_when_somebody_else_looks_at_the_same_instant_then_the_dead_are_dead(
    board: Board, tmp_path: Path
) -> None:
    joined(tmp_path, 1)
    joined(tmp_path, 2).leave()
    with (tmp_path / "worker-2.lock").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)  # as `workers` of another process does for a moment
        assert [one.pid for one in board.workers()] == [1]


def test_sweep_when_a_worker_died_then_its_files_go_and_its_number_may_come_back(board: Board, tmp_path: Path) -> None:
    alive = joined(tmp_path, 1)
    joined(tmp_path, 2).leave()
    board.sweep()
    assert sorted(path.name for path in tmp_path.glob("worker-*")) == ["worker-1.json", "worker-1.lock"]
    again = joined(tmp_path, 2)
    assert [one.pid for one in board.workers()] == [1, 2]
    again.leave()
    alive.leave()
