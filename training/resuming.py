"""Trainings that were interrupted: how they say so, which one a rerun goes on with, and what that takes.

    store/runs/<run id>/process.json    held by the process that works on the run; says which code does; gone once it is done

The system lets go of a file however its process ends, so a run that nobody holds and that is not finished was cut off.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import lightning.pytorch as pl

from features.errors import ConfigError, DataError
from features.files import read_json
from features.refresh.plan import code_digest
from training.tracking import TrackedRun, flattened, tracked_run

# Settings as they are kept in a run's directory, and as the command line calls them.
_KEPT_AS: Final = "config."
_CALLED: Final = "model."

AUTO: Final = "auto"  # what --resume says without an id
NEW: Final = "new"
_PROCESS_FILE: Final = "process.json"
_PACKAGE: Final = Path(__file__).parent

logger = logging.getLogger(__name__)


def run_to_resume(
    store: Path, resume: str | None, *, settings: Mapping[str, Any], begun: str, finished: str = ""
) -> str | None:
    """Return the run that a training goes on with; ``None`` where it begins a new one.

    ``auto`` goes on with the run that was cut off, where there is exactly one of the same settings, data and code that no
    process works on; under ``mlflow run`` with the run that it opened.

    Args:
        store: release store.
        resume: a run's id, ``auto``, or ``new``; ``None`` is ``new``.
        settings: what the run must have been begun with.
        begun: name of the file in a run's directory that holds them.
        finished: name of the file that a finished run has; empty where a finished run has no file ``begun``.
    """
    if resume in (None, NEW) or (resume == AUTO and os.environ.get("MLFLOW_RUN_ID")):
        return None
    if resume != AUTO:
        return resume
    found = [
        path.parent.name
        for path in sorted((Path(store) / "runs").glob(f"*/{begun}"))
        if not (finished and (path.parent / finished).exists()) and _is_cut_off(path, settings)
    ]
    if len(found) == 1:
        logger.info(
            "run %s was cut off with the same settings, data and code: goes on (--resume new begins anew)", *found
        )
        return found[0]
    if found:
        logger.warning("%d runs were cut off (%s): begins anew; --resume ID goes on", len(found), ", ".join(found))
    return None


def _is_cut_off(begun: Path, settings: Mapping[str, Any]) -> bool:
    """Whether a run was begun with the same settings and code, and nobody works on it."""
    try:
        process = read_json(begun.parent / _PROCESS_FILE)
        if read_json(begun) != json.loads(json.dumps(settings)) or process["code"] != code_of_training():
            return False
        with _held(begun.parent):
            return True
    except (DataError, ConfigError, KeyError, TypeError):
        return False


@contextlib.contextmanager
def tracked_training(store: Path, experiment: str, *, name: str, resume: str | None) -> Iterator[TrackedRun]:
    """Yield the run of a training as ``tracked_run`` does, and say what resumes it: at the start, and on Ctrl-C.

    Raises:
        ConfigError: another process works on the run to resume.
    """
    with contextlib.ExitStack() as held:
        if resume is not None:  # first, so that a run which another process works on stays as it is
            held.enter_context(_working_on(store, resume))
        run = held.enter_context(tracked_run(store, experiment, name=name, run_id=resume))
        if resume is None:
            held.enter_context(_working_on(store, run.run_id))
        logger.info("run %s (resume an interrupted training with --resume %s)", run.run_id, run.run_id)
        try:
            yield run
        except KeyboardInterrupt as interrupt:
            at = f" {interrupt}" if str(interrupt) else ""
            logger.info("interrupted%s; go on with --resume %s and the same options", at, run.run_id)
            raise


@contextlib.contextmanager
def _working_on(store: Path, run_id: str) -> Iterator[None]:
    """Hold a run against other processes, and leave word of the code that works on it."""
    with _held(Path(store) / "runs" / run_id) as descriptor:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"process": os.getpid(), "code": code_of_training()}).encode(), 0)
        yield
        (Path(store) / "runs" / run_id / _PROCESS_FILE).unlink(missing_ok=True)  # finished: nothing to go on with


@contextlib.contextmanager
def _held(directory: Path) -> Iterator[int]:
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / _PROCESS_FILE, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    except BlockingIOError:
        raise ConfigError(
            f"run {directory.name}: expected nobody to work on it, found another process; wait for it, or --resume new."
        ) from None
    finally:
        os.close(descriptor)


@cache
def code_of_training() -> str:
    """Return 64 hex digits over the source that trains: other code may make another model of a checkpoint."""
    digest = hashlib.sha256(code_digest().encode())
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(_PACKAGE)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


@contextlib.contextmanager
def interrupts_of(trainer: pl.Trainer) -> Iterator[None]:
    """Let Ctrl-C leave ``trainer.fit`` as the ``KeyboardInterrupt`` that it was.

    Lightning turns it into an exit with status 1 and ignores every later one. No checkpoint is
    written: the step is cut off anywhere, and what it has changed so far cannot be taken back.

    Raises:
        KeyboardInterrupt: its text says at which step.
    """
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as ended:
        if not isinstance(ended.__context__, KeyboardInterrupt):
            raise
        if main:
            signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt(f"at step {trainer.global_step}") from None


def check_same_settings(run_id: str, started: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Check that a training goes on with what it was started with.

    Args:
        run_id: the run to resume.
        started: what it was started with; nested mappings of JSON values.
        now: the same of this attempt.

    Raises:
        ConfigError: names every setting that differs, ``model.tower.dim: ...``.
    """
    before, after = dict(flattened(started)), dict(flattened(now))
    differing = [
        f"{name.replace(_KEPT_AS, _CALLED, 1) if name.startswith(_KEPT_AS) else name}: "
        f"the run was started with {before.get(name, 'nothing')!r}, found {after.get(name, 'nothing')!r}"
        for name in before | after
        if before.get(name) != after.get(name)
    ]
    if differing:
        raise ConfigError(
            f"resume: {'; '.join(differing)}. Resume run {run_id} with the same options and features, "
            "or start a new run."
        )
