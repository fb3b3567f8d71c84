"""Train a tiny two-tower in two processes, beside one process, and see what happens when one of two fails.

    python tests/training/two_ranks.py DIRECTORY

Prints one JSON object. Ranks are forks of a process that has imported everything.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from features.errors import DataError, FootfallError
from features.files import read_json
from tests.training.kill_retrieval import CONFIG, lesson
from training.parallel.launching import run_on_ranks
from training.parallel.ranks import Ranks
from training.parallel.settings import ComputeConfig
from training.retrieval.batches import Batch, PackedHistories, TrainingBatches
from training.retrieval.config import RetrievalConfig
from training.retrieval.learn import Learned, Lesson, build_module, learn
from training.retrieval.module import RetrievalModule
from training.retrieval.running import CHECKPOINT_FILE, DONE_FILE

TWO = ComputeConfig(processes=2, timeout_minutes=1)
STEPS = 5
EXACT = dataclasses.replace(
    CONFIG,
    tower=dataclasses.replace(CONFIG.tower, dropout=0.0, id_dropout=0.0),
    loss=dataclasses.replace(CONFIG.loss, bf16=False),
)
FULL = dataclasses.replace(
    EXACT, loss=dataclasses.replace(EXACT.loss, kind="full", neighbour_share=0.3, label_smoothing=0.1)
)
PLAIN_BATCH = TrainingBatches.batch


def on_two(work: Callable[[Ranks], Any]) -> Any:
    return run_on_ranks(work, TWO, start_method="fork")


def lesson_of(ranks: Ranks) -> Lesson:
    """Half of the events each: a rank's fit part, and the questions about its users."""
    whole = lesson()
    parts = [whole.fit.part(rank, ranks.of) for rank in range(ranks.of)]
    first = sum(part.num_users for part in parts[: ranks.rank])
    fit = parts[ranks.rank]
    assert whole.validation is not None
    users = whole.validation.users - first
    mine = np.flatnonzero((users >= 0) & (users < fit.num_users))
    taken = {name: getattr(whole.validation, name).take(mine) for name in ("query", "targets")}
    validation = dataclasses.replace(whole.validation, users=users[mine], **taken)
    return dataclasses.replace(whole, fit=fit, validation=validation, ranks=ranks)


@contextlib.contextmanager
def batches_from(batch: Callable[[TrainingBatches, int], Batch]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingBatches, "batch", batch)
        yield


@contextlib.contextmanager
def every_table_tall() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.retrieval.module.is_worth_it", lambda *_args, **_options: True)
        yield


class Ending(pl.Callback):
    """Keeps the gradients of the first step, and what the module holds after the last."""

    def __init__(self) -> None:
        self.gradients: dict[str, Tensor] = {}
        self.state: dict[str, Tensor] = {}

    def on_before_optimizer_step(self, _trainer: pl.Trainer, module: pl.LightningModule, _optimizer: Any) -> None:
        assert isinstance(module, RetrievalModule)
        if not self.gradients:
            dense = {name: weights.grad for name, weights in module.towers.named_parameters()}
            self.gradients = {n: g.clone() for n, g in dense.items() if g is not None and not g.is_sparse}

    def on_train_end(self, _trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, RetrievalModule)
        assert module.exported is not None  # rows that were not met are caught up with
        self.state = {name: values.clone() for name, values in module.state_dict().items()}

    def arrays(self) -> dict[str, dict[str, Any]]:
        kinds = {"gradients": self.gradients, "weights": self.state}
        return {kind: {name: values.numpy() for name, values in held.items()} for kind, held in kinds.items()}


def together(directory: Path, config: RetrievalConfig, ranks: Ranks) -> dict[str, Any]:
    """Learn on all ranks; return the union of each step's batches, what came out, and whether all ended equal."""
    steps: list[dict[str, Any]] = []
    ending = Ending()

    def recorded(batches: TrainingBatches, step: int) -> Batch:
        batch = PLAIN_BATCH(batches, step)
        steps.append(union(batch, ranks))
        return batch

    with batches_from(recorded):
        learn(lesson_of(ranks), config, directory, num_steps=STEPS, callbacks=[ending])
    equal = all(replicas_equal(values, ranks) for values in ending.state.values())
    return {"steps": steps, "equal": equal, **ending.arrays()}


def union(batch: Batch, ranks: Ranks) -> dict[str, Any]:
    names = ("item", "event_type", "gap", "price_band", "position")
    histories = {name: ranks.gather(getattr(batch.histories, name)).numpy() for name in names}
    lengths = ranks.gather(torch.tensor(batch.histories.lengths)).tolist()
    targets = {name: ranks.gather(getattr(batch, name)).numpy() for name in ("target", "weight")}
    same = {name: getattr(batch, name).numpy() for name in ("pool", "log_expected")}
    pools = ranks.gather(batch.pool).reshape(ranks.of, -1)
    return {"histories": histories, "lengths": lengths, "same_pool": bool((pools == pools[0]).all()), **targets, **same}


def replicas_equal(values: Tensor, ranks: Ranks) -> bool:
    """Both replicas of weights or of what an optimiser remembers are the same to the bit."""
    replicas = ranks.gather(values[None].contiguous())
    return bool((replicas == replicas[0]).all())


def alone(directory: Path, config: RetrievalConfig, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Learn in one process from the unions of two ranks' batches."""
    ending = Ending()

    def given(_batches: TrainingBatches, step: int) -> Batch:
        one = steps[step]
        histories = {name: torch.from_numpy(values) for name, values in one["histories"].items()}
        return Batch(
            histories=PackedHistories(lengths=[(length, count) for length, count in one["lengths"]], **histories),
            target=torch.from_numpy(one["target"]),
            weight=torch.from_numpy(one["weight"]),
            pool=torch.from_numpy(one["pool"]),
            log_expected=torch.from_numpy(one["log_expected"]),
        )

    with batches_from(given):
        learn(lesson(), config, directory, num_steps=STEPS, callbacks=[ending])
    return ending.arrays()


def apart(one: dict[str, Any], two: dict[str, Any]) -> dict[str, float]:
    """Return the largest difference between gradients of the first step, and between weights after the last."""
    found = {}
    for kind in ("gradients", "weights"):
        names = [name for name in one[kind] if not name.startswith("rows.")]
        found[kind] = max(float(np.abs(one[kind][name] - two[kind][name]).max()) for name in names)
    return found


def cut_at(step: int) -> Callable[[TrainingBatches, int], Batch]:
    def batch(batches: TrainingBatches, at: int) -> Batch:
        if at == step:
            raise ConnectionAbortedError("cut off")
        return PLAIN_BATCH(batches, at)

    return batch


def resumed(root: Path, ranks: Ranks) -> dict[str, Any]:
    """Learn at once, and cut off and gone on with; leave a third training cut off."""
    own = lesson_of(ranks)
    undisturbed = learn(own, CONFIG, root / "at-once")
    for name in ("cut", "two-then-one"):
        with contextlib.suppress(ConnectionAbortedError), batches_from(cut_at(14)):
            learn(own, CONFIG, root / name)
    went_on = learn(own, CONFIG, root / "cut")
    left_at = step_of(root / "one-then-two")
    changed = learn(own, CONFIG, root / "one-then-two")
    two = said(root / "one-then-two", changed, left_at)
    return {"bit_equal": same_weights(undisturbed, went_on), "one_then_two": two}


def same_weights(one: Learned, two: Learned) -> bool:
    states = [learned.towers.state_dict() for learned in (one, two)]
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def said(directory: Path, learned: Learned, went_on_from: int) -> dict[str, Any]:
    last_step = read_json(directory / DONE_FILE)["last_step"]
    return {"last_step": last_step, "score": learned.score, "went_on_from": went_on_from}


def step_of(directory: Path) -> int:
    return int(torch.load(directory / CHECKPOINT_FILE, weights_only=True)["global_step"])


def basics(root: Path, ranks: Ranks) -> dict[str, Any]:
    """What ranks tell each other, and what a training is before its first step."""
    matrix = sparse.csr_array(np.eye(3, dtype=np.float32)[[ranks.rank]])
    torch.manual_seed(0)
    module = build_module(lesson_of(ranks), FULL)
    return {
        "sum": ranks.sum([1, ranks.rank]).tolist(),
        "largest": ranks.largest(-ranks.rank).tolist(),
        "gather": ranks.gather_array(np.arange(1 + 2 * ranks.rank)).tolist(),
        "sum_sparse": ranks.sum_sparse(matrix).toarray().tolist(),
        "told": ranks.told({"by": ranks.rank, "said": "ünï"}),
        "before": about(module),
        "full": together(root / "full", FULL, ranks),
    }


def about(module: RetrievalModule) -> dict[str, Any]:
    """What must not depend on how users are shared out."""
    assert module.questions is not None
    assert module.neighbours is not None
    return {
        "positions": module.batches.num_positions,
        "steps": module.num_steps,
        "frequency": float((module.batches.frequency * np.arange(len(module.batches.frequency))).sum()),
        "neighbours": float(module.neighbours.rows.to_dense().square().sum()),
        "ndcg": module.questions.ndcg_at_10(module.towers),
    }


def fails(ranks: Ranks) -> None:
    if ranks.rank == 1:
        raise DataError("Expected 2, found 1; bring another.")
    ranks.wait()


def is_killed(ranks: Ranks) -> None:
    if ranks.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    ranks.sum(1)


def ending(work: Callable[[Ranks], None]) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        on_two(work)
    except FootfallError as error:
        seconds = time.perf_counter() - started
        return {"kind": type(error).__name__, "text": str(error), "seconds": seconds}
    raise AssertionError("nobody failed")


def main() -> None:
    root = Path(sys.argv[1])
    torch.set_num_threads(1)
    found = on_two(functools.partial(basics, root / "two"))
    full = found.pop("full")
    with every_table_tall():
        rows = on_two(functools.partial(together, root / "two-rows", EXACT))
        apart_rows = apart(alone(root / "one-rows", EXACT, rows["steps"]), rows)
    torch.manual_seed(0)
    found["one_before"] = about(build_module(lesson(), FULL))
    found["apart"] = {"full": apart(alone(root / "one", FULL, full["steps"]), full), "rows": apart_rows}
    found["equal"] = {"full": full["equal"], "rows": rows["equal"]}
    found["same_pool"] = all(step["same_pool"] for step in rows["steps"])
    with contextlib.suppress(ConnectionAbortedError), batches_from(cut_at(14)):
        learn(lesson(), CONFIG, root / "resumed" / "one-then-two")
    found["resumed"] = on_two(functools.partial(resumed, root / "resumed"))
    changed = root / "resumed" / "two-then-one"
    left_at = step_of(changed)
    found["resumed"]["two_then_one"] = said(changed, learn(lesson(), CONFIG, changed), left_at)
    found["resumed"]["one"] = said(root / "one-alone", learn(lesson(), CONFIG, root / "one-alone"), 0)
    found["failed"], found["killed"] = ending(fails), ending(is_killed)
    shutil.rmtree(root)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
