"""Work shared among forked processes: all is done once, and what goes wrong is told."""

from __future__ import annotations

import os
import signal

import pytest

from features.errors import ConfigError, DataError, FootfallError
from serving.bulk.crew import Tell, shared_out


@pytest.mark.parametrize("num_workers", [1, 2, 9])
def test_every_task_is_done_once_by_however_many(num_workers: int) -> None:
    told: list[int] = []

    def work(task: int, tell: Tell) -> tuple[int, int]:
        tell(10 * task)
        return task * task, os.getpid()

    found = dict(shared_out([3, 1, 4, 5], work, num_workers=num_workers, progress=told.append))
    assert {task: square for task, (square, _) in found.items()} == {3: 9, 1: 1, 4: 16, 5: 25}
    assert sorted(told) == [10, 30, 40, 50]
    assert (os.getpid() in {pid for _, pid in found.values()}) == (num_workers == 1)


@pytest.mark.parametrize(
    ("error", "seen", "said"),
    [
        (ConfigError("k: too much"), ConfigError, "k: too much"),
        (
            OSError(28, "No space left on device", "out/part-00001.parquet"),
            DataError,
            "part-00001.parquet: No space left",
        ),
        (SystemExit(7), DataError, "exit code 7"),
    ],
)
def test_a_task_that_fails_ends_the_work_with_its_error(
    error: BaseException, seen: type[FootfallError], said: str
) -> None:
    def work(task: int, tell: Tell) -> int:
        if task == 1:
            raise error
        return task

    with pytest.raises(seen, match=said):
        list(shared_out([0, 1, 2], work, num_workers=2, progress=lambda _: None))


def test_a_worker_that_is_killed_is_told_of() -> None:
    def work(task: int, tell: Tell) -> int:
        if task == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return task

    with pytest.raises(DataError, match=r"signal 9.*finished parts stay"):
        list(shared_out([0, 1], work, num_workers=2, progress=lambda _: None))
