"""The thin Lightning layer over the towers, and its data loader."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from features.files import write_bytes
from features.vocabulary import UNKNOWN
from training.retrieval.batches import Batch, TrainingBatches
from training.retrieval.config import RetrievalConfig
from training.retrieval.losses import soft_target_pull, softmax_loss
from training.retrieval.neighbours import Neighbours
from training.retrieval.questions import Questions
from training.retrieval.sparse_rows import SparseRows, exchange_gradient, is_worth_it, leaving_out
from training.retrieval.towers import TwoTower
from training.retrieval.vectors import unit_vectors

METRIC = "validation_ndcg_at_10"  # MLflow allows no @ in names


class RetrievalModule(pl.LightningModule):
    """One training step, one validation, one optimiser.

    Args:
        towers: what learns.
        batches: what it learns from.
        questions: what it is validated on; ``None`` in a refit.
        config: rates, temperature, averaging.
        num_steps: steps of the whole training.
        neighbours: what the softmax's targets are shared with, where all candidates compete.
    """

    candidates: Tensor

    def __init__(
        self,
        towers: TwoTower,
        batches: TrainingBatches,
        questions: Questions | None,
        config: RetrievalConfig,
        *,
        num_steps: int,
        neighbours: Neighbours | None = None,
    ) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.towers, self.batches, self.questions, self.config = towers, batches, questions, config
        self.num_steps = num_steps
        self.ranks = batches.ranks
        self.register_buffer("candidates", torch.from_numpy(batches.candidates), persistent=False)
        decay, table = config.schedule.ema_decay, towers.items.id_table
        met = 2 * batches.batch_tokens + config.loss.num_negatives
        tall = batches.sampled and is_worth_it(len(table), num_met=met)
        self.rows = SparseRows(*table.shape, num_steps=num_steps) if tall else None
        self._read = self._met = torch.zeros(0, dtype=torch.int64)  # rows of a tall table that this step reads
        towers.items.sparse = tall
        plain = functools.partial(_average, decay)
        average = leaving_out(plain, table) if tall else plain
        self.averaged = (
            AveragedModel(towers, multi_avg_fn=average).requires_grad_(requires_grad=False) if decay else None
        )
        if tall:  # ranks exchange the rows they met, not the table
            self._ddp_params_and_buffers_to_ignore = ["towers.items.id_table"]

    @property
    def exported(self) -> TwoTower:
        """The towers that are validated and exported: averaged where averaging is on."""
        chosen: TwoTower = self.towers if self.averaged is None else self.averaged.module  # type: ignore[assignment]
        if self.rows is not None:
            self.rows.settle(*self._tables())
        return chosen

    def training_step(self, batch: Batch) -> Tensor:  # noqa: D102
        loss = batch.share * (self._full_loss(batch) if len(batch.pool) == 0 else self._sampled_loss(batch))
        self.log("loss", loss, prog_bar=True, sync_dist=self.ranks.of > 1, batch_size=1)
        return loss

    def validation_step(self, _batch: Any) -> None:  # noqa: D102
        if self.questions is not None:
            with self._in_32_bits():
                score = self.questions.ndcg_at_10(self.exported)
            self.log(METRIC, score, prog_bar=True, batch_size=1)

    def configure_optimizers(self) -> Any:  # noqa: D102
        schedule = self.config.schedule
        matrices = [p for p in self.towers.users.blocks.parameters() if p.ndim > 1]
        held = {id(p) for p in [*matrices, *([] if self.rows is None else [self.towers.items.id_table])]}
        others = [p for p in self.towers.parameters() if id(p) not in held]
        groups = [{"params": matrices, "weight_decay": schedule.weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=schedule.learning_rate, fused=True)
        warm = max(1, schedule.warmup_steps)
        rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / warm))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rate, "interval": "step"}}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then average: both before any callback can write a checkpoint."""
        super().optimizer_step(*args, **kwargs)
        if self.rows is not None:
            count = 0 if self.averaged is None else int(self.averaged.n_averaged)
            share = _share(self.config.schedule.ema_decay, count) if count else 1.0
            if self.ranks.of > 1:
                exchange_gradient(self.towers.items.id_table, self._read, self._met, self.ranks)
            self.rows.step(*self._tables(), rate=self.trainer.optimizers[0].param_groups[0]["lr"], share=share)
        if self.averaged is not None:
            self.averaged.update_parameters(self.towers)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:  # noqa: ARG002
        """Move a training batch; a validation has none, and moves what it ranks by itself."""
        if not isinstance(batch, Batch):
            return batch
        return (batch.pinned() if device.type == "cuda" else batch).to(device)

    def on_fit_start(self) -> None:
        """Have on the device what is no part of the module."""
        if self.neighbours is not None:
            self.neighbours = self.neighbours.to(self.device)

    def train_dataloader(self) -> StepLoader:  # noqa: D102
        return StepLoader(self)

    def val_dataloader(self) -> list[int]:  # noqa: D102
        return [0] if self.questions is not None else []

    def _full_loss(self, batch: Batch) -> Tensor:
        raw = self.towers.raw_items(torch.arange(len(self.towers.known), device=self.towers.known.device))  # [V, D]
        unit = unit_vectors(raw)
        user_vecs = self.towers.users(raw[batch.histories.item], batch.histories).float()
        with self._in_32_bits():
            return self._full_softmax(user_vecs, unit, batch)

    def _full_softmax(self, user_vecs: Tensor, unit: Tensor, batch: Batch) -> Tensor:
        targets, pool, config = unit[batch.target], unit[self._pool_rows], self.config.loss
        loss = self._softmax(user_vecs, targets, pool, batch=batch, codes=self.candidates)
        pull = functools.partial(soft_target_pull, user_vecs, targets, weight=batch.weight)
        if self.neighbours is not None:
            expected, mass = self.neighbours.expected(unit, batch.histories)
            loss = loss + config.neighbour_share / config.temperature * pull(expected, mass=mass)
        if config.label_smoothing:
            loss = loss + config.label_smoothing / config.temperature * pull(pool.mean(0), mass=1.0)
        return loss

    def _sampled_loss(self, batch: Batch) -> Tensor:
        """Embed only the items that this step meets."""
        met = torch.cat([batch.histories.item, batch.target, batch.pool])
        codes, place = torch.unique(met, return_inverse=True)
        if self.rows is not None:
            self._read = torch.unique(torch.cat([codes, codes.new_tensor([UNKNOWN])]))  # it stands in for a hidden id
            self._met = self.ranks.gather(self._read)
            met = self._read if self.ranks.of == 1 else torch.unique(self._met)  # the same on all ranks, to the bit
            self.rows.catch_up(met, *self._tables())
        raw = self.towers.raw_items(codes)
        unit = unit_vectors(raw)
        item, target, pool = torch.split(place, [len(batch.histories.item), len(batch.target), len(batch.pool)])
        user_vecs = self.towers.users(raw[item], batch.histories).float()
        targets, others, log_expected = unit[target], unit[pool], batch.log_expected
        with self._in_32_bits():
            return self._softmax(user_vecs, targets, others, batch=batch, codes=batch.pool, log_expected=log_expected)

    def _in_32_bits(self) -> torch.autocast:
        """Compute as written: mixed precision is for the towers; the softmax has a setting of its own."""
        return torch.autocast(self.device.type, enabled=False)

    @functools.cached_property
    def _span(self) -> slice | None:
        return _span_of(self.batches.candidates)

    @property
    def _pool_rows(self) -> slice | Tensor:
        return self.candidates if self._span is None else self._span

    def _tables(self) -> tuple[nn.Parameter, nn.Parameter | None]:
        """The ids' vectors, and their average."""
        averaged: TwoTower | None = None if self.averaged is None else self.averaged.module  # type: ignore[assignment]
        return self.towers.items.id_table, None if averaged is None else averaged.items.id_table

    def _softmax(
        self,
        users: Tensor,
        targets: Tensor,
        pool: Tensor,
        *,
        batch: Batch,
        codes: Tensor,
        log_expected: Tensor | None = None,
    ) -> Tensor:
        loss = self.config.loss
        return softmax_loss(
            users,
            targets,
            pool,
            target=batch.target,
            pool=codes,
            log_expected=log_expected,
            weight=batch.weight,
            temperature=loss.temperature,
            bf16=loss.bf16,
        )


class StepLoader:
    """Batches from the step that training has reached to its last: no state of its own to lose."""

    def __init__(self, module: RetrievalModule) -> None:
        self._module = module

    def __len__(self) -> int:
        return self._module.num_steps

    def __iter__(self) -> Iterator[Batch]:
        # Read when the first batch is asked for, so that a restored step counts.
        for step in range(self._module.global_step, self._module.num_steps):
            yield self._module.batches.batch(step)


class KeepBest(pl.Callback):
    """Write the exported towers to ``path`` whenever validation is better than ever before.

    All ranks keep score; the first one writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.score, self.step = float("-inf"), 0

    def state_dict(self) -> dict[str, Any]:  # noqa: D102
        return {"score": self.score, "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # noqa: D102
        self.score, self.step = state_dict["score"], state_dict["step"]

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:  # noqa: D102
        assert isinstance(module, RetrievalModule)
        score = float(trainer.callback_metrics[METRIC])
        if score > self.score:
            self.score = score
            self.keep(module, trainer.global_step)

    def keep(self, module: RetrievalModule, step: int) -> None:
        """Write the exported towers as they are after ``step``."""
        self.step = step
        if module.ranks.is_first:
            write_bytes(self.path, safetensors.torch.save(module.exported.state_dict()))


def _span_of(candidates: npt.NDArray[np.integer]) -> slice | None:
    """Return the candidates' rows where they are neighbours: a view of those copies nothing."""
    first, last = int(candidates[0]), int(candidates[-1])
    return slice(first, last + 1) if last - first + 1 == len(candidates) else None


def _average(decay: float, averaged: list[Tensor], current: list[Tensor], num_averaged: Tensor) -> None:
    """Move the averaged weights towards the current ones, faster while there are few to average."""
    torch._foreach_lerp_(averaged, current, _share(decay, int(num_averaged)))


def _share(decay: float, count: int) -> float:
    return 1 - min(decay, (1 + count) / (10 + count))
