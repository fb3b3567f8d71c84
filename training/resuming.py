"""Trainings that were interrupted: how they say so, and what going on with them takes."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import lightning.pytorch as pl

from features.errors import ConfigError
from training.tracking import TrackedRun, flattened, tracked_run

# Settings as they are kept in a run's directory, and as the command line calls them.
_KEPT_AS: Final = "config."
_CALLED: Final = "model."

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def tracked_training(store: Path, experiment: str, *, name: str, resume: str | None) -> Iterator[TrackedRun]:
    """Yield the run of a training as ``tracked_run`` does, and say what resumes it: at the start, and on Ctrl-C."""
    with tracked_run(store, experiment, name=name, run_id=resume) as run:
        logger.info("run %s (resume an interrupted training with --resume %s)", run.run_id, run.run_id)
        try:
            yield run
        except KeyboardInterrupt as interrupt:
            at = f" {interrupt}" if str(interrupt) else ""
            logger.info("interrupted%s; go on with --resume %s and the same options", at, run.run_id)
            raise


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
