"""Adam and weight averaging of a tall table, at a cost a step that does not grow with the table.

A step of a sampled softmax meets a few thousand of perhaps a million rows. Dense Adam and a dense
average walk through all of them: a row without a gradient still drifts by its momentum, and its
average follows. Here a row is left alone until it is met again and then caught up with.

Take a row with moments m, v and value w after its last gradient at step l, and no gradient up to now, step t. Then

    w now        w - toward * drift[l]                                    toward = m / (sqrt(v) + epsilon)
    drift[l]     sum over s in (l, t] of  rate_s * r**(s - l) * sqrt(1 - beta2**s) / (1 - beta1**s)
    average now  w + kept[l] * (average - w) - toward * average_drift[l]

with r = beta1 / sqrt(beta2). Drift, kept and average_drift are one number for all rows that were last
met at step l, and each follows from its value a step earlier. So the result is that of the dense rules
up to rounding, and up to Adam's epsilon, which is taken to shrink with sqrt(v) while momentum lasts.

Shapes: ``V`` rows, ``D`` columns, ``N`` distinct rows met in a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn

from training.parallel.ranks import Ranks

Average = Callable[[Any, Any, Any], None]  # as ``AveragedModel`` calls it: averaged, current, how many

_WORTH_IT: Final = 32  # rows of a table for each one that a step meets; with 13 the dense rules were faster
_MOMENTUM_STEPS: Final = 512  # r**512 is 1e-23: whatever drifts later is lost in rounding
_ROWS_A_TIME: Final = 1 << 16


def is_worth_it(num_rows: int, *, num_met: int) -> bool:
    """Whether a table is so tall that a step should visit only the rows it meets, at most ``num_met``."""
    return num_rows >= _WORTH_IT * num_met


def leaving_out(average: Average, table: Tensor) -> Average:
    """Return ``average`` for all weights but ``table``, whose average is kept by row."""

    def others(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        chosen = [i for i, weights in enumerate(current) if weights.data_ptr() != table.data_ptr()]
        average([averaged[i] for i in chosen], [current[i] for i in chosen], count)

    return others


def exchange_gradient(table: Tensor, read: Tensor, met: Tensor, ranks: Ranks) -> None:
    """Give the table on every rank the mean of the ranks' sparse gradients.

    A row that was read without a gradient counts as one of 0. So all ranks visit the same rows in the same step, and
    their tables stay equal to the bit.

    Args:
        table: ``[V, D]``, with this rank's gradient.
        read: distinct rows that this rank has read, rising ``[N]``.
        met: ``read`` of all ranks, one behind another.
        ranks: that exchange.
    """
    assert table.grad is not None
    gradient = table.grad.coalesce()
    values = gradient.values().new_zeros(len(read), table.shape[1])
    values[torch.searchsorted(read, gradient.indices()[0])] = gradient.values()
    mean = ranks.gather(values) / ranks.of
    table.grad = torch.sparse_coo_tensor(met[None], mean, table.shape, check_invariants=False)


class SparseRows(nn.Module):
    """What Adam and the average remember of each row, all in buffers, so that a checkpoint holds it.

    In a step: ``catch_up`` with the rows that will be read, then forward and backward with a sparse
    gradient, then ``step``. Before the table or its average is read as a whole: ``settle``.

    Args:
        num_rows: V.
        dim: D.
        num_steps: the most steps of the training.
        betas: of Adam.
        epsilon: of Adam.
    """

    last: Tensor
    mean: Tensor
    square: Tensor
    past: Tensor
    count: Tensor

    def __init__(
        self,
        num_rows: int,
        dim: int,
        *,
        num_steps: int,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__()
        self.betas, self.epsilon = betas, epsilon
        self.register_buffer("last", torch.zeros(num_rows, dtype=torch.int32))  # the step a row has come to
        self.register_buffer("mean", torch.zeros(num_rows, dim))
        self.register_buffer("square", torch.zeros(num_rows, dim))
        # By step l, as of now: what is left of momentum, drift, kept, average_drift.
        start = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
        self.register_buffer("past", start[:, None].repeat(1, num_steps + 1))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def catch_up(self, rows: Tensor, table: Tensor, average: Tensor | None = None) -> None:
        """Bring distinct rows ``[N]`` of the table ``[V, D]`` and of its average to the step reached."""
        now = int(self.count)
        rows = rows[self.last[rows] < now]
        if len(rows) == 0:
            return
        step = self.last[rows].long()
        _, drift, kept, average_drift = (values[:, None].float() for values in self.past[:, step])
        vecs, mean, square = table[rows], self.mean[rows], self.square[rows]
        epsilon = self.epsilon * (1 - self.betas[1] ** step.double()).sqrt()[:, None]
        toward = mean / (square.sqrt() + epsilon.float()).clamp_min(1e-30)
        table[rows] = vecs - toward * drift
        if average is not None:
            average[rows] = vecs + kept * (average[rows] - vecs) - toward * average_drift
        passed = (now - step).double()[:, None]
        self.mean[rows] = mean * (self.betas[0] ** passed).float()
        self.square[rows] = square * (self.betas[1] ** passed).float()
        self.last[rows] = now

    @torch.no_grad()
    def step(self, table: Tensor, average: Tensor | None = None, *, rate: float, share: float = 1.0) -> None:
        """Apply and drop the table's sparse gradient; its rows must have been caught up with.

        Args:
            table: ``[V, D]``.
            average: ``[V, D]``; ``None`` to keep none.
            rate: Adam's learning rate in this step.
            share: how far the average moves towards the table in this step, of the way between them.
        """
        now = int(self.count) + 1
        if table.grad is not None:
            gradient = table.grad.coalesce()
            rows, values = gradient.indices()[0], gradient.values()
            assert bool((self.last[rows] == now - 1).all()), "catch up with rows before they are read"
            self._adam(rows, values, table, rate=rate, now=now)
            if average is not None:
                average[rows] = torch.lerp(average[rows], table[rows], share)
            self.last[rows] = now
            table.grad = None
        self._age(now, rate=rate, share=share)

    def settle(self, table: Tensor, average: Tensor | None = None) -> None:
        """Catch up with every row; no step need follow."""
        for rows in torch.split(torch.arange(len(self.last), device=table.device), _ROWS_A_TIME):
            self.catch_up(rows, table, average)

    def _adam(self, rows: Tensor, gradient: Tensor, table: Tensor, *, rate: float, now: int) -> None:
        beta1, beta2 = self.betas
        mean = self.mean[rows].lerp_(gradient, 1 - beta1)
        square = self.square[rows].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        self.mean[rows], self.square[rows] = mean, square
        scale = square.sqrt_().div_(math.sqrt(1 - beta2**now)).add_(self.epsilon)
        table[rows] = table[rows].addcdiv_(mean, scale, value=-rate / (1 - beta1**now))

    def _age(self, now: int, *, rate: float, share: float) -> None:
        """Let one more step pass for all rows that were last met before it."""
        beta1, beta2 = self.betas
        corrected = rate * math.sqrt(1 - beta2**now) / (1 - beta1**now)
        momentum, drift, kept, average_drift = self.past[:, :now]
        recent = slice(max(0, now - _MOMENTUM_STEPS), now)
        momentum[recent] *= beta1 / math.sqrt(beta2)
        drift[recent] += corrected * momentum[recent]
        kept *= 1 - share
        average_drift.lerp_(drift, share)
        self.count += 1
