"""Work shared among processes that are forked from this one, and so share what it has loaded.

Forked, not started anew: vectors, index and histories are read once and held once, copied by no one. That is safe here:
FAISS, BLAS and ONNX Runtime are kept to one thread and so have none of their own, and Arrow, which has, makes its pools anew in a fork.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkContext, ForkProcess
from typing import Any, Final

from features.errors import DataError, FootfallError

Tell = Callable[[int], None]
Work = Callable[[int, Tell], Any]
_PROGRESS, _DONE, _FAILED = "progress", "done", "failed"
_PATIENCE_SECONDS: Final = 5.0


def shared_out(
    tasks: Sequence[int], work: Work, *, num_workers: int, progress: Callable[[int], None]
) -> Iterator[tuple[int, Any]]:
    """Yield ``(task, what work returned)`` as tasks end.

    Args:
        tasks: numbers, begun in this order.
        work: does one, and tells how much of it is done.
        num_workers: processes; where it is 1, or one task alone is left, this process does it.
        progress: is told of what is done.

    Raises:
        FootfallError: a task failed, or a worker was killed; the others are stopped.
    """
    if min(num_workers, len(tasks)) <= 1:
        for task in tasks:
            yield task, work(task, progress)
        return
    yield from _forked(tasks, work, min(num_workers, len(tasks)), progress)


def _forked(
    tasks: Sequence[int], work: Work, num_workers: int, progress: Callable[[int], None]
) -> Iterator[tuple[int, Any]]:
    context = multiprocessing.get_context("fork")
    taken = context.Value("q", 0)
    gc.collect()
    gc.freeze()  # or looking for garbage would touch, and so copy, all that is shared
    crew: dict[Connection, ForkProcess] = {}
    try:
        for _ in range(num_workers):
            ours, process = _started(context, work, tasks, taken, list(crew))
            crew[ours] = process
        while crew:
            for connection in wait(list(crew)):
                assert isinstance(connection, Connection)
                try:
                    kind, task, value = connection.recv()
                except EOFError:
                    _check_ended(crew.pop(connection))
                    continue
                if kind == _FAILED:
                    raise value
                if kind == _PROGRESS:
                    progress(value)
                else:
                    yield task, value
    finally:
        _end(crew.values())
        gc.unfreeze()


def _started(
    context: ForkContext, work: Work, tasks: Sequence[int], taken: Any, others: Sequence[Connection]
) -> tuple[Connection, ForkProcess]:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_life, args=(work, tasks, taken, theirs, [ours, *others]), daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _life(work: Work, tasks: Sequence[int], taken: Any, out: Connection, others: Sequence[Connection]) -> None:
    """Take tasks until none is left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of a terminal: the parent ends its workers
    for one in others:
        one.close()
    parent = os.getppid()

    def tell(number: int) -> None:
        if os.getppid() != parent:  # nobody waits for this any more
            os._exit(1)
        out.send((_PROGRESS, 0, number))

    try:
        while (number := _next(taken)) < len(tasks):
            task = tasks[number]
            out.send((_DONE, task, work(task, tell)))
    except FootfallError as error:
        out.send((_FAILED, 0, error))
    except OSError as error:
        out.send((_FAILED, 0, DataError(f"{error.filename or 'the system refused'}: {error.strerror or error}")))


def _next(taken: Any) -> int:
    with taken.get_lock():
        taken.value += 1
        return int(taken.value) - 1


def _check_ended(process: ForkProcess) -> None:
    process.join()
    if process.exitcode:
        how = f"signal {-process.exitcode}" if process.exitcode < 0 else f"exit code {process.exitcode}"
        raise DataError(
            f"a worker process ended early ({how}); finished parts stay, run the same command again. Where memory was short, "
            "take fewer --workers."
        )


def _end(crew: Any) -> None:
    processes = list(crew)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(_PATIENCE_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
