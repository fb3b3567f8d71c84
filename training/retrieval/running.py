"""One run of Lightning's trainer over a module: from its checkpoint, if there is one, to its weights."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, TQDMProgressBar

from features.errors import ConfigError
from features.files import write_json
from training.parallel.compiling import compiled
from training.parallel.devices import trainer_options
from training.parallel.ranks import Ranks
from training.reproducibility import RandomStates, StepCheckpoint
from training.resuming import interrupts_of
from training.retrieval.batches import TrainingBatches
from training.retrieval.config import RetrievalConfig
from training.retrieval.module import METRIC, KeepBest, RetrievalModule

CHECKPOINT_FILE: Final = "last.ckpt"
WEIGHTS_FILE: Final = "towers.safetensors"
DONE_FILE: Final = "done.json"

logger = logging.getLogger(__name__)


def run(module: RetrievalModule, directory: Path, tracker: Any, told: Sequence[pl.Callback]) -> int:
    """Train to the end and write weights and ``done.json``; return the step it started from.

    Args:
        module: what learns; its rank may be one of several, all of which run.
        directory: holds the checkpoint, and gets what comes out.
        tracker: a Lightning logger, or ``False``.
        told: callbacks told of every validation, after its score is kept.
    """
    config, ranks, checkpoint = module.config, module.ranks, directory / CHECKPOINT_FILE
    if module.rows is not None and config.compute.precision == "16-mixed":
        raise ConfigError(
            "compute.precision: expected '32-true' or 'bf16-mixed' where items are so many that their table is updated "
            "row by row, found '16-mixed', whose gradients are scaled."
        )
    interval = validation_interval(module.batches, config)
    best = KeepBest(directory / WEIGHTS_FILE)
    callbacks: list[pl.Callback] = [RandomStates(config.seed, ranks)]
    if module.questions is not None:
        callbacks += [best, EarlyStopping(METRIC, mode="max", patience=config.schedule.patience)]
    every = config.schedule.checkpoint_steps
    callbacks += told
    callbacks.append(StepCheckpoint(checkpoint, every_steps=every, validation_steps=interval))
    shows_progress = sys.stderr.isatty() and ranks.is_first
    if shows_progress:
        callbacks.append(TQDMProgressBar())
    resumed = _resumed_step(checkpoint, ranks)
    logger.info(
        "learning: %d positions, %d steps an epoch, from step %d to at most %d, %d candidates",
        module.batches.num_positions, module.batches.steps_per_epoch, resumed, module.num_steps, len(module.candidates),
    )  # fmt: skip
    with _quiet(), compiled(module.towers.dense_methods(), wanted=config.compute.compile):
        trainer = pl.Trainer(
            max_epochs=1,  # one pass over all steps: batches know their own epoch
            logger=tracker,
            callbacks=callbacks,
            enable_checkpointing=False,
            enable_progress_bar=shows_progress,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            val_check_interval=interval,
            limit_val_batches=None if module.questions is not None else 0,
            log_every_n_steps=min(50, interval),
            default_root_dir=directory,
            **trainer_options(config.compute, ranks),
        )
        with interrupts_of(trainer):
            trainer.fit(module, ckpt_path=str(checkpoint) if resumed else None, weights_only=True)
    if module.questions is None:
        best.keep(module, trainer.global_step)
    values = {"steps": best.step, "score": max(best.score, 0.0), "last_step": trainer.global_step}
    if ranks.is_first:
        write_json(directory / DONE_FILE, values)
    return resumed


def _resumed_step(checkpoint: Path, ranks: Ranks) -> int:
    """Return the step of the checkpoint that rank 0 sees, 0 where there is none.

    Raises:
        ConfigError: this rank does not see it.
    """
    resumed = int(ranks.told(_step_of(checkpoint) if ranks.is_first else 0))
    if resumed and not checkpoint.exists():
        raise ConfigError(
            f"rank {ranks.rank}: expected the checkpoint that rank 0 goes on from, found no {checkpoint} on this host; "
            "keep the store on a disk that all hosts share."
        )
    return resumed


def _step_of(checkpoint: Path) -> int:
    if not checkpoint.exists():
        return 0
    return int(torch.load(checkpoint, weights_only=True)["global_step"])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's hints about loader workers, loggers and resuming do not apply to batches that are computed."""
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning.*")
        yield


def most_steps(batches: TrainingBatches, config: RetrievalConfig) -> int:
    """Return the steps at most, a whole number of validation intervals."""
    schedule = config.schedule
    positions = schedule.max_epochs * batches.num_positions
    if schedule.max_tokens:
        positions = min(positions, schedule.max_tokens)
    steps = positions * batches.steps_per_epoch / max(1, batches.num_positions)
    interval = validation_interval(batches, config)
    return interval * max(1, round(steps / interval))


def validation_interval(batches: TrainingBatches, config: RetrievalConfig) -> int:
    """Return the steps between validations."""
    return max(1, batches.steps_per_epoch // config.schedule.validations_per_epoch)
