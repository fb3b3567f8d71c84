"""One training of the demand model, which survives a kill at any step."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import Logger
from safetensors.torch import load_file, save_file

from features.files import read_json, write_json
from training.demand.config import DemandConfig
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.model import DemandModel
from training.demand.network.module import DemandModule
from training.reproducibility import RandomStates, StepCheckpoint
from training.resuming import interrupts_of

log = logging.getLogger(__name__)

MONITORED: Final = "val_wql"
CHECKPOINT_FILE: Final = "last.ckpt"
WEIGHTS_FILE: Final = "weights.safetensors"
RESULT_FILE: Final = "result.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A trained model.

    Args:
        model: in evaluation mode.
        steps: optimiser steps behind its weights.
        score: WQL on the validation windows; ``None`` where there were none.
    """

    model: DemandModel
    steps: int
    score: float | None


class BestWeights(pl.Callback):
    """Keep the weights of the best validation, in every checkpoint too."""

    def __init__(self) -> None:
        self.score, self.steps = float("inf"), 0
        self.weights: dict[str, torch.Tensor] = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare the latest validation with the best one."""
        assert isinstance(pl_module, DemandModule)
        score = float(trainer.callback_metrics[MONITORED])
        log.info("demand: step %d, WQL %.4f on the validation windows", trainer.global_step, score)
        if score < self.score:
            self.score, self.steps = score, trainer.global_step
            self.weights = {name: value.clone() for name, value in pl_module.model.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"score": self.score, "steps": self.steps, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.score, self.steps, self.weights = state_dict["score"], state_dict["steps"], state_dict["weights"]


def fit_model(
    inputs: PanelInputs,
    config: DemandConfig,
    *,
    fit_until: int,
    directory: Path,
    validation_origins: tuple[int, ...] = (),
    steps: int | None = None,
    logger: Logger | None = None,
    callbacks: Sequence[pl.Callback] = (),
) -> Fitted:
    """Train on everything before ``fit_until``; go on from ``directory`` if an earlier attempt stopped there.

    Args:
        inputs: the panel.
        config: settings; the schedule always spans ``config.max_steps``.
        fit_until: first period that training must not see.
        directory: keeps the checkpoint, and in the end the weights.
        validation_origins: windows that choose the number of steps, the best of which gives the weights.
        steps: train for exactly so many, where the number is chosen already.
        logger: Lightning logger.
        callbacks: told of every validation, after its score is kept.
    """
    done = directory / RESULT_FILE
    if not done.exists():
        directory.mkdir(parents=True, exist_ok=True)
        module = DemandModule(inputs, config, fit_until=fit_until, validation_origins=validation_origins)
        result, weights = _run(module, directory / CHECKPOINT_FILE, steps=steps, logger=logger, others=callbacks)
        save_file(weights, directory / WEIGHTS_FILE)
        write_json(done, result)
        (directory / CHECKPOINT_FILE).unlink(missing_ok=True)
    model = DemandModel(inputs.sizes, config)
    model.load_state_dict(load_file(directory / WEIGHTS_FILE))
    return Fitted(model=model.eval(), **read_json(done))


def _run(
    module: DemandModule,
    checkpoint: Path,
    *,
    steps: int | None,
    logger: Logger | None,
    others: Sequence[pl.Callback],
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    config, best = module.config, BestWeights()
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    callbacks: list[pl.Callback] = [
        StepCheckpoint(
            checkpoint, every_steps=config.checkpoint_every_steps, validation_steps=config.validate_every_steps
        ),
        RandomStates(),
        *others,
    ]
    if module.validation_origins:
        callbacks = [best, EarlyStopping(MONITORED, patience=config.patience, mode="min"), *callbacks]
    trainer = _trainer(config, callbacks, steps=steps, validate=bool(module.validation_origins), logger=logger)
    resumed = str(checkpoint) if checkpoint.exists() else None
    log.info("demand: training on periods before %d%s", module.fit_until, ", resumed" if resumed else "")
    with warnings.catch_warnings():
        # Windows are gathered by index in the training step; there is nothing for loader processes to do.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # Lightning warns of resuming within an epoch; windows depend on the step alone, so nothing is lost.
        warnings.filterwarnings("ignore", message=".*resuming from a checkpoint.*")
        # Lightning 2.6 calls what torch 2.13 has deprecated.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        with interrupts_of(trainer):
            trainer.fit(module, ckpt_path=resumed, weights_only=True)
    if best.weights:
        return {"steps": best.steps, "score": best.score}, best.weights
    return {"steps": trainer.global_step, "score": None}, dict(module.model.state_dict())


def _trainer(
    config: DemandConfig, callbacks: list[pl.Callback], *, steps: int | None, validate: bool, logger: Logger | None
) -> pl.Trainer:
    # Lightning announces devices and tips on its own logger; one line a stage is ours to write.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    interval: dict[str, Any] = {"val_check_interval": config.validate_every_steps, "check_val_every_n_epoch": None}
    return pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=steps or config.max_steps,
        max_epochs=-1,
        gradient_clip_val=1.0,
        callbacks=callbacks,
        logger=logger or False,
        log_every_n_steps=min(50, steps or config.max_steps),
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        num_sanity_val_steps=0,
        **(interval if validate else {"limit_val_batches": 0}),
    )
