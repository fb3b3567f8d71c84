"""What a training step costs, and how much of that is matrix multiplication that no code could save.

Shared by ``retrieval_cost.py`` and ``retrieval_scale.py``. CPU-seconds are those of the process.
"""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import training.retrieval.module as retrieval_module
from training.retrieval.module import RetrievalModule

_ATTENTION: Final = "_scaled_dot_product"


@dataclass(frozen=True)
class Product:
    """A matrix product ``[batch, rows, inner] x [batch, inner, columns]``; whether its operands lie transposed."""

    batch: int
    rows: int
    inner: int
    columns: int
    dtype: torch.dtype
    transposed: tuple[bool, bool] = (False, False)

    @property
    def flop(self) -> int:
        """Multiplications and additions."""
        return 2 * self.batch * self.rows * self.inner * self.columns

    def bare(self) -> Callable[[], Tensor]:
        """Return the same product on memory of its own, result included, to be called again and again."""
        left = _operand(self.batch, self.rows, self.inner, self.dtype, self.transposed[0])
        right = _operand(self.batch, self.inner, self.columns, self.dtype, self.transposed[1])
        out = torch.empty(self.batch, self.rows, self.columns, dtype=self.dtype)
        if self.batch == 1:
            return lambda: torch.mm(left[0], right[0], out=out[0])
        return lambda: torch.bmm(left, right, out=out)


class MatrixProducts(TorchDispatchMode):
    """Counts every matrix product that is computed while it is entered, those of backward included."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[Product] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if any(isinstance(arg, Tensor) and arg.layout != torch.strided for arg in args):
            return func(*args, **(kwargs or {}))  # a sparse product is no dense one; its time counts, its work does not
        if name in ("mm", "bmm"):
            self.found[_product(args[0], args[1])] += 1
        elif name in ("addmm", "baddbmm"):
            self.found[_product(args[1], args[2])] += 1
        elif name.startswith(_ATTENTION):
            # Scores and their use forward; backward computes the scores again and four gradients.
            query, key = (args[1], args[2]) if "backward" in name else (args[0], args[1])
            self._attention(query, key, pairs=5 if "backward" in name else 2)
        return func(*args, **(kwargs or {}))

    def _attention(self, query: Tensor, key: Tensor, *, pairs: int) -> None:
        count = query.shape[0] * query.shape[1]
        rows, inner, columns = query.shape[2], query.shape[3], key.shape[2]
        self.found[Product(count, rows, inner, columns, query.dtype, (False, True))] += pairs

    @property
    def flop(self) -> int:
        """Of all products found."""
        return sum(product.flop * count for product, count in self.found.items())

    def bare_seconds(self) -> float:
        """Return the CPU-seconds of all products alone: the least time in which this machine does their work."""
        return sum(count * cpu_seconds(product.bare()) for product, count in self.found.items())


def cpu_seconds(run: Callable[[], Any], *, at_least: float = 0.02, most: int = 200) -> float:
    """Return the median CPU-seconds of a call, the first left out."""
    run()
    spent: list[float] = []
    while len(spent) < 3 or (sum(spent) < at_least and len(spent) < most):
        started = time.process_time()
        run()
        spent.append(time.process_time() - started)
    return float(np.median(spent))


class StepClock(pl.Callback):
    """CPU- and wall seconds of each step, and between steps (the batch, and Lightning's own loop)."""

    def __init__(self) -> None:
        self.step: list[tuple[float, float]] = []
        self.between: list[tuple[float, float]] = []
        self.tokens: list[int] = []
        self._mark: tuple[float, float] | None = None

    def on_train_batch_start(self, _trainer: Any, _module: Any, batch: Any, _index: int) -> None:  # noqa: D102
        if self._mark is not None:
            self.between.append(_since(self._mark))
        self.tokens.append(len(batch.target))
        self._mark = _clocks()

    def on_train_batch_end(self, *_args: Any) -> None:  # noqa: D102
        assert self._mark is not None
        self.step.append(_since(self._mark))
        self._mark = _clocks()


def time_steps(module: RetrievalModule, *, warm: int = 3) -> dict[str, float]:
    """Train for as many steps as the module was built for, without validation; return medians.

    Returns:
        ``tokens``, ``step_cpu_s``, ``step_wall_s``, ``batch_cpu_s`` (between two steps), ``tokens_per_s`` (both).
    """
    clock = StepClock()
    with _quiet():
        pl.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            callbacks=[clock],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=0,
        ).fit(module)
    step, between = np.median(clock.step[warm:], axis=0), np.median(clock.between[warm:], axis=0)
    tokens = float(np.mean(clock.tokens[warm:]))
    return {
        "tokens": tokens,
        "step_cpu_s": float(step[0]),
        "step_wall_s": float(step[1]),
        "batch_cpu_s": float(between[0]),
        "tokens_per_s": tokens / float(step[0] + between[0]),
    }


def matmul_share(module: RetrievalModule, step_cpu_s: float) -> dict[str, float]:
    """Return how close a step, and the softmax in it, come to the bare matrix products that they are made of.

    Args:
        module: as built; its weights are not changed.
        step_cpu_s: of a whole step, optimiser and averaging included.

    Returns:
        ``step_of_matmul`` and ``softmax_of_matmul`` (1 would be the machine's limit), and the CPU-seconds and GFLOP behind.
    """
    batch = module.batches.batch(0)
    module.towers.train()
    with _softmax_arguments() as calls, MatrixProducts() as whole:
        _loss(module, batch).backward()
    module.zero_grad(set_to_none=True)
    again = _again(*calls[0])
    with MatrixProducts() as part:
        again()
    softmax_cpu_s, softmax_bare_s, step_bare_s = cpu_seconds(again), part.bare_seconds(), whole.bare_seconds()
    return {
        "softmax_cpu_s": softmax_cpu_s,
        "softmax_matmul_cpu_s": softmax_bare_s,
        "softmax_of_matmul": softmax_bare_s / softmax_cpu_s,
        "softmax_gflop": part.flop / 1e9,
        "step_matmul_cpu_s": step_bare_s,
        "step_of_matmul": step_bare_s / step_cpu_s,
        "step_gflop": whole.flop / 1e9,
    }


def _loss(module: RetrievalModule, batch: Any) -> Tensor:
    with _quiet():  # there is no trainer to log to
        return module.training_step(batch)


@contextlib.contextmanager
def _softmax_arguments() -> Iterator[list[tuple[Any, Any]]]:
    """Collect what the module hands to its loss."""
    calls: list[tuple[Any, Any]] = []
    plain = retrieval_module.softmax_loss

    def kept(*args: Any, **kwargs: Any) -> Tensor:
        calls.append((args, kwargs))
        return plain(*args, **kwargs)

    retrieval_module.softmax_loss = kept
    try:
        yield calls
    finally:
        retrieval_module.softmax_loss = plain


def _again(args: Any, kwargs: Any) -> Callable[[], None]:
    """Return the softmax alone, forward and backward, on copies of what it was called with."""
    vecs = [arg.detach().clone().requires_grad_() for arg in args]

    def run() -> None:
        retrieval_module.softmax_loss(*vecs, **kwargs).backward()

    return run


def _product(left: Tensor, right: Tensor) -> Product:
    batch = left.shape[0] if left.ndim == 3 else 1
    rows, inner, columns = left.shape[-2], left.shape[-1], right.shape[-1]
    return Product(batch, rows, inner, columns, left.dtype, (_transposed(left), _transposed(right)))


def _transposed(matrix: Tensor) -> bool:
    return matrix.stride(-1) != 1 and matrix.stride(-2) == 1


def _operand(batch: int, rows: int, columns: int, dtype: torch.dtype, transposed: bool) -> Tensor:
    if transposed:
        return torch.randn(batch, columns, rows).to(dtype).transpose(1, 2)
    return torch.randn(batch, rows, columns).to(dtype)


def _clocks() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def _since(mark: tuple[float, float]) -> tuple[float, float]:
    cpu, wall = _clocks()
    return cpu - mark[0], wall - mark[1]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
