"""Several processes on this machine for one training, and one answer from them.

This process only looks on: it starts the ranks, keeps the place where they find each other, and ends all of them as
soon as one fails, is killed, or this one is interrupted. If it is killed itself, they end too.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Final, Literal, TypeVar

import torch.distributed as dist

from features.errors import FootfallError
from training.parallel.joining import RankLost, run_as_rank
from training.parallel.ranks import ALONE, Ranks
from training.parallel.settings import ComputeConfig, processes_started_outside

Result = TypeVar("Result")
StartMethod = Literal["spawn", "fork"]

_HOST: Final = "127.0.0.1"
_REAPED_S: Final = 0.2  # between a process's last word and its exit code
_DRAGGED_S: Final = 5.0  # for ranks whose calls fail because another has left
_INTERRUPTED_S: Final = 20.0  # to end what they track, and say how to go on
_LOG_FORMAT: Final = "%(asctime)s %(message)s"

logger = logging.getLogger(__name__)


def run_on_ranks(
    work: Callable[[Ranks], Result], settings: ComputeConfig, *, start_method: StartMethod = "spawn"
) -> Result:
    """Run ``work`` in every rank of a training and return its result: rank 0's, where this process starts the ranks.

    Under ``torchrun`` this process is one of them; else it starts as many as the settings say; with one it is the rank.

    Args:
        work: a function of a module (it is sent to other processes), which every rank calls.
        settings: how many, and on what.
        start_method: ``fork`` is only for processes that have not computed anything yet.

    Raises:
        FootfallError: what a rank raised; or a rank was killed.
    """
    if processes_started_outside() > 1:
        return run_as_rank(work, settings)
    if settings.processes == 1:
        return work(ALONE)
    store = dist.TCPStore(_HOST, 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    context = multiprocessing.get_context(start_method)
    logger.info("training: %d processes on this machine", settings.processes)
    children = [
        _start(context, work, settings, _environment(rank, settings.processes, store.port))
        for rank in range(settings.processes)
    ]
    try:
        return _Watch(children=children).result()
    finally:
        _end(children)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Child:
    rank: int
    process: Any
    said: Connection


@dataclass(frozen=True, kw_only=True, eq=False)
class _Watch:
    """Waits for the ranks; the first of them that fails decides."""

    children: Sequence[_Child]

    def result(self) -> Any:
        waiting = {child.rank: child for child in self.children}
        results = {}
        while waiting:
            wait([child.said for child in waiting.values()])
            for child in [child for child in waiting.values() if child.said.poll()]:
                del waiting[child.rank]
                try:
                    kind, value = child.said.recv()
                except EOFError:  # killed, or dragged along by another, who tells
                    self._expect_nobody_killed()
                    continue
                if isinstance(value, RankLost):  # whoever noticed knows less than the exit codes do
                    self._expect_nobody_killed()
                results[child.rank] = _checked(child, kind, value)
        if len(results) < len(self.children):
            codes = {child.rank: child.process.exitcode for child in self.children}
            raise RankLost(
                f"Expected a result of every process, found exit codes by rank: {codes}; go on with --resume."
            )
        return results[0]

    def _expect_nobody_killed(self) -> None:
        for child in self.children:
            child.process.join(_REAPED_S)
            code = child.process.exitcode
            if code is not None and code < 0:
                raise RankLost(
                    f"rank {child.rank} of {len(self.children)} was ended by {signal.Signals(-code).name}; if nobody did "
                    "that, the machine is out of memory: take fewer processes, and go on with --resume."
                )


def _checked(child: _Child, kind: str, value: Any) -> Any:
    """Return a rank's result, or raise what it raised."""
    if kind == "result":
        return value
    if isinstance(value, BaseException):
        raise value
    raise RuntimeError(f"rank {child.rank} failed:\n{value}")


def _start(context: Any, work: Callable[[Ranks], Any], settings: ComputeConfig, names: Mapping[str, str]) -> _Child:
    reader, writer = context.Pipe(duplex=False)
    level = logging.getLogger().getEffectiveLevel()
    process = context.Process(target=_rank_main, args=(work, settings, names, writer, level), daemon=False)
    process.start()
    writer.close()
    return _Child(rank=int(names["RANK"]), process=process, said=reader)


def _environment(rank: int, of: int, port: int) -> dict[str, str]:
    """Return what ``torchrun`` would set; the store is held by this process, as its agent holds it."""
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(of),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(of),
        "GROUP_RANK": "0",
        "MASTER_ADDR": _HOST,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }


def _rank_main(
    work: Callable[[Ranks], Any], settings: ComputeConfig, names: Mapping[str, str], said: Connection, level: int
) -> None:
    """One rank from start to end; leaves by an exit code, and says a result or an error before."""
    os.setpgid(0, 0)  # a terminal's Ctrl-C reaches the process that looks on, which hands it down once
    os.environ.update(names)
    logging.basicConfig(stream=sys.stderr, level=level, format=_LOG_FORMAT, datefmt="%H:%M:%S")
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    try:
        said.send(("result", run_as_rank(work, settings)))
    except FootfallError as error:
        said.send(("error", error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        said.send(("error", KeyboardInterrupt()))
    except Exception:
        said.send(("error", traceback.format_exc()))
        sys.exit(1)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _end(children: Sequence[_Child]) -> None:
    """See to it that every rank has left: by itself, then asked to, then made to."""
    if not isinstance(sys.exc_info()[1], KeyboardInterrupt):
        _await(children, _DRAGGED_S)
    for child in children:
        if child.process.exitcode is None:
            os.kill(child.process.pid, signal.SIGINT)
    _await(children, _INTERRUPTED_S)
    for child in children:
        if child.process.exitcode is None:
            child.process.kill()
            child.process.join()
        child.said.close()


def _await(children: Sequence[_Child], seconds: float) -> None:
    until = time.monotonic() + seconds
    for child in children:
        child.process.join(max(0.0, until - time.monotonic()))
