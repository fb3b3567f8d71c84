"""Random states in checkpoints, and checkpoints that survive a kill.

Lightning restores weights, optimisers and loop counters, but no random state; with these two
callbacks and batches that are a pure function of the step, a training that is killed and resumed
ends with the very weights of one that was left alone. With several ranks there is one checkpoint and
many states, so that each rank's draws are made a pure function of the step too.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from features.files import staged_file
from training.parallel.ranks import ALONE, Ranks


class RandomStates(pl.Callback):
    """Keep the random states of torch, numpy and Python in every checkpoint and set them again on resume.

    They are set before the first step that follows, after whatever Lightning draws while it starts. Several ranks
    have no state to keep: each is seeded anew at every step.

    Args:
        seed: of the training.
        ranks: that train together.
    """

    def __init__(self, seed: int = 0, ranks: Ranks = ALONE) -> None:
        self.seed, self.ranks = seed, ranks
        self._resumed: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:  # noqa: D102
        return random_states()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # noqa: D102
        self._resumed = state_dict

    def on_train_batch_start(self, trainer: pl.Trainer, *_args: Any) -> None:  # noqa: D102
        if self.ranks.of > 1:
            named = (self.seed, trainer.global_step, self.ranks.rank, self.ranks.of)
            torch.manual_seed(int(np.random.SeedSequence(named).generate_state(1, np.uint64)[0] >> 1))
        elif self._resumed is not None:
            set_random_states(self._resumed)
            self._resumed = None


class StepCheckpoint(pl.Callback):
    """Write ``path`` every so many steps: the old file or the new one, whatever happens meanwhile.

    A step after which validation is due is passed over for the next one: Lightning would resume
    behind the validation and never make up for it. Where every step is validated there is no such
    step, and the checkpoint is written when the validation has ended; callbacks that keep score
    must come before this one. After the last step there is nothing left to resume.

    Args:
        path: the checkpoint, one file that is replaced.
        every_steps: steps between checkpoints.
        validation_steps: steps between validations.
    """

    def __init__(self, path: Path, *, every_steps: int, validation_steps: int) -> None:
        self.path, self.every_steps, self.validation_steps = Path(path), every_steps, validation_steps

    def on_train_batch_end(self, trainer: pl.Trainer, *_args: Any) -> None:  # noqa: D102
        if not self._waits_for_validation(trainer):
            self._write_if_due(trainer)

    def on_validation_end(self, trainer: pl.Trainer, *_args: Any) -> None:  # noqa: D102
        if self._waits_for_validation(trainer):
            self._write_if_due(trainer)

    def _waits_for_validation(self, trainer: pl.Trainer) -> bool:
        return self.validation_steps == 1 and trainer.enable_validation

    def _write_if_due(self, trainer: pl.Trainer) -> None:
        if not self._is_due(trainer.global_step) or trainer.should_stop or _is_last_step(trainer):
            return
        if not trainer.is_global_zero:
            trainer.save_checkpoint(self.path)  # writes nothing: it is where the others wait for the first
            return
        with staged_file(self.path) as aside:
            trainer.save_checkpoint(aside)

    def _is_due(self, step: int) -> bool:
        """A rule of the step alone, so that a resumed training writes the checkpoints of one left alone."""
        if self.validation_steps == 1:
            return step % self.every_steps == 0
        if step % self.validation_steps == 0:
            return False
        put_off = (step - 1) % self.validation_steps == 0 and step > 1
        return step % self.every_steps == 0 or (put_off and (step - 1) % self.every_steps == 0)


def _is_last_step(trainer: pl.Trainer) -> bool:
    limits = [limit for limit in (trainer.max_steps, trainer.num_training_batches) if limit > 0]
    return bool(limits) and trainer.global_step >= min(limits)


def random_states() -> dict[str, Any]:
    """Return the random states of torch, numpy and Python, as tensors and numbers only (no pickled objects)."""
    name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 - libraries draw from it
    return {
        "torch": torch.get_rng_state(),
        "numpy": [str(name), torch.from_numpy(np.asarray(keys, np.int64)), int(position), int(has_gauss), float(gauss)],
        "python": random.getstate(),
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Set what ``random_states`` returned."""
    name, keys, position, has_gauss, gauss = states["numpy"]
    torch.set_rng_state(states["torch"])
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    version, inner, gauss_next = states["python"]
    random.setstate((version, tuple(inner), gauss_next))
