"""Workers forked where BentoML's process manager would start a command; by the command where that cannot be."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import psutil  # type: ignore[import-untyped]

from serving.process.fork_parent import ForkParent

_log = logging.getLogger(__name__)
_WORKER: Final = "_bentoml_impl.worker.service"
# What a worker imports until it answers its first request, as its modules name it.
_NEEDED: Final = (
    _WORKER,
    "onnxruntime",
    "uvicorn.loops.auto",
    "uvicorn.lifespan.on",
    "serving.http.app",
    "serving.http.protocol",
    "serving.process.metrics",
    "serving.process.worker",
)
_FILE_OPTION: Final = "--fd"


class ForkedWorker(psutil.Process):  # type: ignore[misc]  # psutil is not typed
    """A forked worker as the process manager handles what it started."""

    stdout = stderr = None
    returncode: int | None = None

    def poll(self) -> int | None:
        """Return how it ended, ``None`` while it lives."""
        if self.returncode is None:
            try:
                self.returncode = self.wait(timeout=0) or 0  # somebody else may have been told
            except psutil.TimeoutExpired:
                return None
        return self.returncode


def fork_parent() -> ForkParent | None:
    """Return what forks workers; ``None`` where the system cannot: they are started by commands then.

    Call it while the process has no threads: what is forked with a lock held never lets it go.
    """
    # Metrics are shared between processes where this is set when their library is imported.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = importlib.import_module("bentoml.serving").ensure_prometheus_dir()
    try:
        return ForkParent(prepare=_import_all, run=_run)
    except OSError as error:
        _log.info("workers are started by commands: %s", error)
        return None


def start_workers_by(parent: ForkParent) -> None:
    """Have the process manager fork workers; whatever else it starts, it starts as before."""
    try:
        parent.wait()
    except OSError as error:
        _log.warning("workers are started by commands: %s", error)
        return
    processes: Any = importlib.import_module("circus.process")
    by_command = processes.Popen

    def started(args: Sequence[str], *, cwd: str, env: Mapping[str, str], **more: Any) -> psutil.Process:
        if _WORKER in args:
            try:
                files = [int(args[args.index(_FILE_OPTION) + 1])]
                ours = args[args.index(_WORKER) + 1 :]
                return ForkedWorker(parent.fork(ours, environment=env, directory=cwd, files=files))
            except (OSError, psutil.NoSuchProcess) as error:
                _log.warning("a worker is started by its command, which takes seconds: %s", error)
        found: psutil.Process = by_command(args, cwd=cwd, env=env, **more)
        return found

    processes.Popen = started


def _import_all() -> None:
    for name in _NEEDED:
        importlib.import_module(name)


def _run(arguments: Sequence[str], files: Sequence[int]) -> None:
    """Serve, as the worker's command does.

    Args:
        arguments: of the command; the number of the socket in them is that of the process which gave it.
        files: the socket.
    """
    ours, at = list(arguments), arguments.index(_FILE_OPTION) + 1
    ours[at] = str(files[0])
    importlib.import_module(_WORKER).main(args=ours, prog_name=_WORKER)
