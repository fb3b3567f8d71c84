"""Softmax over a pool of items, without ever holding all logits.

Shapes: ``M`` positions, ``K`` pool items, ``D`` width.

The loss of position i with target t and pool S is

    log(exp(s_it) + sum over j in S, j is not t, of exp(s_ij - log_expected_j)) - s_it,    s = cosine / temperature

With S all candidates and ``log_expected`` 0 this is the full softmax; with a drawn pool it is the
sampled softmax whose normaliser is estimated without bias (Bengio and Senécal 2008), the target
itself being present for certain and so left uncorrected.

Cosines are bounded, so exp needs no running maximum: ``exp(s - 1 / temperature) <= 1``. Forward
computes the gradients as well, chunk by chunk while a chunk is in cache, and backward only hands
them out: three matrix products and one pass of exp for each chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_CHUNK_CELLS = 1 << 21  # measured: 1 << 18 takes 1.6 times as long, 1 << 23 1.3 times


def softmax_loss(
    user_vecs: Tensor,
    target_vecs: Tensor,
    pool_vecs: Tensor,
    *,
    target: Tensor,
    pool: Tensor,
    log_expected: Tensor | None,
    weight: Tensor,
    temperature: float,
    bf16: bool = False,
) -> Tensor:
    """Return the weighted mean loss, a scalar.

    Args:
        user_vecs: unit vectors ``[M, D]``.
        target_vecs: unit vectors of the targets ``[M, D]``.
        pool_vecs: unit vectors of the pool ``[K, D]``.
        target: item code of each target ``[M]``.
        pool: item code of each pool row ``[K]``; a code that is the target's own is left out of its sum.
        log_expected: how often each pool row was expected to be drawn, as a log ``[K]``; ``None`` for all candidates.
        weight: of each position ``[M]``, not negative.
        temperature: cosines are divided by it.
        bf16: multiply in bfloat16.
    """
    score = (user_vecs * target_vecs).sum(-1) / temperature  # [M]
    rest: Tensor = _LogSumExp.apply(
        user_vecs, pool_vecs, score.detach(), target, pool, log_expected, weight, temperature, bf16
    )  # type: ignore[no-untyped-call]
    losses = torch.logaddexp(rest, score) - score
    return (losses * weight).sum() / weight.sum().clamp_min(1e-9)


def soft_target_pull(
    user_vecs: Tensor, target_vecs: Tensor, expected: Tensor, *, mass: Tensor | float, weight: Tensor
) -> Tensor:
    """Return by how much the mean cosine of the targets is above that of a distribution over items, a scalar.

    Times share / temperature, it is what a softmax loss gains when the share of each target goes to the distribution:
    of the softmax only the numerator changes, and there the expected vector stands for the items.

    Args:
        user_vecs: unit vectors ``[M, D]``.
        target_vecs: unit vectors of the targets ``[M, D]``.
        expected: mean vector of the distribution, ``[M, D]`` or the same for all ``[D]``.
        mass: how much of a distribution each position has, at most 1, ``[M]`` or the same for all.
        weight: of each position ``[M]``.
    """
    whole = torch.as_tensor(mass, dtype=target_vecs.dtype, device=target_vecs.device).unsqueeze(-1)
    above = (user_vecs * (whole * target_vecs - expected)).sum(-1)
    return (above * weight).sum() / weight.sum().clamp_min(1e-9)


class _LogSumExp(torch.autograd.Function):
    """``rest_i = log(sum over j of exp(s_ij - log_expected_j))`` ``[M]``, target left out.

    The gradient of the pool needs each row's share of the final loss, which is known here because
    the weights and the target scores are: ``weight_i / sum(weight) * exp(rest_i) / Z_i``.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd's own form
        ctx: Any,
        user_vecs: Tensor,
        pool_vecs: Tensor,
        score: Tensor,
        target: Tensor,
        pool: Tensor,
        log_expected: Tensor | None,
        weight: Tensor,
        temperature: float,
        bf16: bool,
    ) -> Tensor:
        dtype = torch.bfloat16 if bf16 else user_vecs.dtype
        users, items = (user_vecs / temperature).to(dtype), pool_vecs.to(dtype)
        bound = 1 / temperature
        shift = None if log_expected is None else torch.exp(-log_expected).to(dtype)  # [K]
        share = weight / weight.sum().clamp_min(1e-9)
        rest, grad_users = torch.empty_like(score), torch.empty_like(user_vecs)
        grad_pool = torch.zeros_like(pool_vecs)
        hit_rows, hit_columns, hit_starts = own_columns(target, pool)
        chunk = max(1, min(len(score), _CHUNK_CELLS // max(1, len(pool))))
        buffer = torch.empty(
            chunk, len(pool), dtype=dtype, device=score.device
        )  # one for all chunks: fresh memory costs page faults
        for start in range(0, len(score), chunk):
            rows = slice(start, min(start + chunk, len(score)))
            cells = torch.mm(users[rows], items.T, out=buffer[: rows.stop - start]).sub_(bound).exp_()  # [chunk, K]
            if shift is not None:
                cells *= shift
            hits = slice(hit_starts[rows.start], hit_starts[rows.stop])
            cells[hit_rows[hits] - start, hit_columns[hits]] = 0
            total = cells.sum(1, dtype=torch.float32).clamp_min(1e-30)  # [chunk]
            rest[rows] = total.log() + bound
            scale = share[rows] / (total + torch.exp(score[rows] - bound))
            grad_users[rows] = (cells @ items).float() * (scale / temperature)[:, None]
            grad_pool += (cells.T @ (users[rows] * scale[:, None]).to(dtype)).float()
        ctx.save_for_backward(grad_users, grad_pool)
        return rest

    @staticmethod
    def backward(ctx: Any, *_grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_users, grad_pool = ctx.saved_tensors
        return grad_users, grad_pool, None, None, None, None, None, None, None


def own_columns(target: Tensor, pool: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return where the pool holds a position's own target.

    Returns:
        rows (rising), columns, and where each row's hits start ``[M + 1]``.

    >>> rows, columns, _ = own_columns(torch.tensor([7, 5]), torch.tensor([5, 9, 5]))
    >>> rows.tolist(), columns.tolist()
    ([1, 1], [0, 2])
    """
    ordered, order = torch.sort(pool, stable=True)
    first = torch.searchsorted(ordered, target)
    count = torch.searchsorted(ordered, target, right=True) - first
    starts = F.pad(count.cumsum(0), (1, 0))
    rows = torch.repeat_interleave(torch.arange(len(target), device=target.device), count)
    within = torch.arange(len(rows), device=target.device) - starts[rows]
    return rows, order[first[rows] + within], starts
