"""The fused softmax against the obvious one, gradients included."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from training.retrieval import losses
from training.retrieval.losses import own_columns, soft_target_pull, softmax_loss

TEMPERATURE = 0.1


def vectors(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float32), dim=-1)


def slow_loss(
    *,
    users: torch.Tensor,
    items: torch.Tensor,
    target: torch.Tensor,
    pool: torch.Tensor,
    log_expected: torch.Tensor,
    weight: torch.Tensor,
) -> torch.Tensor:
    total = torch.zeros(())
    for user, code, share in zip(users, target, weight, strict=True):
        score = user @ items[code] / TEMPERATURE
        others = [
            user @ items[other] / TEMPERATURE - log
            for other, log in zip(pool, log_expected, strict=True)
            if other != code
        ]
        total = total + share * (torch.logsumexp(torch.stack([score, *others]), 0) - score)
    return total / weight.sum()


@pytest.mark.parametrize("chunk_cells", [16, 1 << 20])
def test_sampled_loss_when_pool_repeats_and_holds_targets_then_equals_the_slow_one(
    chunk_cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "_CHUNK_CELLS", chunk_cells)
    target = torch.tensor([3, 5, 3, 9, 0, 7, 7])
    pool = torch.tensor([5, 3, 3, 8, 1, 5])
    log_expected = torch.log(torch.tensor([0.5, 1.5, 1.5, 0.2, 0.3, 0.5]))
    weight = torch.tensor([1.0, 0.5, 0.0, 1.0, 2.0, 1.0, 1.0])
    fast_in = [vectors(7, 4, seed=0).requires_grad_(), vectors(10, 4, seed=1).requires_grad_()]
    slow_in = [tensor.detach().clone().requires_grad_() for tensor in fast_in]
    fast = softmax_loss(
        fast_in[0], fast_in[1][target], fast_in[1][pool], target=target, pool=pool,
        log_expected=log_expected, weight=weight, temperature=TEMPERATURE,
    )  # fmt: skip
    slow = slow_loss(
        users=slow_in[0], items=slow_in[1], target=target, pool=pool, log_expected=log_expected, weight=weight
    )
    fast.backward()
    slow.backward()
    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-6)
    for a, b in zip(fast_in, slow_in, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("bf16", "tolerance"), [(False, 1e-5), (True, 3e-2)])
def test_full_loss_when_pool_is_all_items_then_equals_cross_entropy(bf16: bool, tolerance: float) -> None:
    users, items = vectors(20, 8, seed=2), vectors(30, 8, seed=3)
    target = torch.arange(20) % 30
    loss = softmax_loss(
        users, items[target], items, target=target, pool=torch.arange(30), log_expected=None,
        weight=torch.ones(20), temperature=TEMPERATURE, bf16=bf16,
    )  # fmt: skip
    expected = F.cross_entropy(users @ items.T / TEMPERATURE, target)
    torch.testing.assert_close(loss, expected, rtol=tolerance, atol=tolerance)


def test_own_columns_when_targets_repeat_in_the_pool_then_all_are_found() -> None:
    target, pool = torch.tensor([7, 5, 6]), torch.tensor([5, 7, 5, 9])
    rows, columns, starts = own_columns(target, pool)
    assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0), (1, 2)]
    assert starts.tolist() == [0, 1, 3, 3]


def test_label_smoothing_when_spread_evenly_then_equals_torchs_cross_entropy() -> None:
    users, items = (vectors(n, 4, seed=n).requires_grad_() for n in (6, 9))
    target, pool = torch.tensor([0, 8, 3, 3, 5, 1]), torch.arange(9)
    hard = softmax_loss(
        users, items[target], items, target=target, pool=pool,
        log_expected=None, weight=torch.ones(6), temperature=TEMPERATURE,
    )  # fmt: skip
    pull = soft_target_pull(users, items[target], items.mean(0), mass=1.0, weight=torch.ones(6))
    fast = hard + 0.3 / TEMPERATURE * pull
    slow = F.cross_entropy(users @ items.T / TEMPERATURE, target, label_smoothing=0.3)
    torch.testing.assert_close(fast, slow)
    for one, other in zip(
        torch.autograd.grad(fast, [users, items]), torch.autograd.grad(slow, [users, items]), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
