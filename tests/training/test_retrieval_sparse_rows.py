"""Rows that are visited only when met end where dense Adam and a dense average would have them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from features.catalog import ItemCatalog
from features.sequences import Sequences
from features.splits import Split
from training.retrieval.config import LossConfig, RetrievalConfig, ScheduleConfig, TowerConfig
from training.retrieval.learn import Lesson, build_module, learn
from training.retrieval.sparse_rows import SparseRows, is_worth_it, leaving_out

NUM_ROWS, DIM = 40, 3


def dense(table: Tensor, met: list[list[int]], gradients: Tensor, *, decay: float) -> tuple[Tensor, Tensor]:
    """Every row, every step: torch's Adam, and an average of all that it leaves."""
    weights = table.clone().requires_grad_()
    average = table.clone()
    optimizer = torch.optim.Adam([weights], lr=1.0)
    for step, rows in enumerate(met):
        optimizer.param_groups[0]["lr"] = rate(step)
        weights.grad = torch.zeros_like(weights)
        weights.grad[rows] = gradients[step, : len(rows)]
        optimizer.step()
        average.lerp_(weights.detach(), 1 - decay)
    return weights.detach(), average


def sparse(table: Tensor, met: list[list[int]], gradients: Tensor, *, decay: float) -> tuple[Tensor, Tensor]:
    weights = table.clone().requires_grad_()
    average = table.clone()
    state = SparseRows(NUM_ROWS, DIM, num_steps=len(met))
    for step, rows in enumerate(met):
        codes = torch.tensor(rows, dtype=torch.int64)
        state.catch_up(codes, weights, average)
        if rows:
            (F.embedding(codes, weights, sparse=True) * gradients[step, : len(rows)]).sum().backward()
        state.step(weights, average, rate=rate(step), share=1 - decay)
    state.settle(weights, average)
    return weights.detach(), average


def rate(step: int) -> float:
    """Warm-up, then a slow fall."""
    return 0.02 * min(1.0, (step + 1) / 10) * 0.99**step


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), num_steps=st.integers(1, 60), decay=st.sampled_from([0.0, 0.5, 0.99]))
def test_rows_when_met_now_and_then_end_where_dense_adam_and_its_average_have_them(
    seed: int, num_steps: int, decay: float
) -> None:
    rng = np.random.default_rng(seed)
    met = [rng.choice(NUM_ROWS, rng.integers(0, 4), replace=False).tolist() for _ in range(num_steps)]
    table, gradients = torch.randn(NUM_ROWS, DIM), torch.randn(num_steps, 4, DIM)
    expected, expected_average = dense(table, met, gradients, decay=decay)
    found, average = sparse(table, met, gradients, decay=decay)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(average, expected_average, rtol=1e-5, atol=1e-6)


def test_row_when_met_once_and_left_for_a_thousand_steps_then_ends_where_dense_has_it() -> None:
    met: list[list[int]] = [[7], *([[3]] * 1_000)]
    table, gradients = torch.randn(NUM_ROWS, DIM), torch.randn(len(met), 1, DIM)
    expected, expected_average = dense(table, met, gradients, decay=0.995)
    found, average = sparse(table, met, gradients, decay=0.995)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(average, expected_average, rtol=1e-4, atol=1e-5)
    assert torch.equal(found[0], table[0])  # never met, never moved


def test_settle_when_repeated_then_nothing_moves() -> None:
    state = SparseRows(NUM_ROWS, DIM, num_steps=3)
    weights, average = torch.randn(NUM_ROWS, DIM).requires_grad_(), torch.zeros(NUM_ROWS, DIM)
    for step in range(3):
        codes = torch.tensor([step])
        state.catch_up(codes, weights, average)
        F.embedding(codes, weights, sparse=True).square().sum().backward()
        state.step(weights, average, rate=0.1, share=0.5)
    state.settle(weights, average)
    before = weights.detach().clone(), average.clone()
    state.settle(weights, average)
    assert torch.equal(weights, before[0])
    assert torch.equal(average, before[1])


def test_step_when_a_row_was_not_caught_up_with_then_it_is_refused() -> None:
    state = SparseRows(NUM_ROWS, DIM, num_steps=2)
    weights = torch.randn(NUM_ROWS, DIM).requires_grad_()
    state.step(weights, rate=0.1)
    F.embedding(torch.tensor([1]), weights, sparse=True).sum().backward()
    with pytest.raises(AssertionError, match="catch up"):
        state.step(weights, rate=0.1)


def test_average_when_a_table_is_left_out_then_only_the_others_move() -> None:
    table, other = torch.ones(2), torch.ones(3)
    averaged = [torch.zeros(2), torch.zeros(3)]

    def copy(into: list[Tensor], current: list[Tensor], _count: Tensor) -> None:
        for mean, weights in zip(into, current, strict=True):
            mean.copy_(weights)

    leaving_out(copy, table)(averaged, [table.detach(), other.detach()], torch.tensor(1))
    assert averaged[0].tolist() == [0, 0]
    assert averaged[1].tolist() == [1, 1, 1]


def lesson(num_items: int) -> Lesson:
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 9, 120)
    item = 2 + (num_items * rng.random(lengths.sum()) ** 3).astype(np.int64)
    split = Split.leave_one_out(Sequences.from_arrays(offsets=np.cumsum([0, *lengths]), item=item))
    return Lesson(
        fit=split.fit,
        validation=split.validation,
        catalog=ItemCatalog.blank(num_items + 2),
        candidates=np.arange(2, num_items + 2),
        num_price_bands=1,
    )


def config(**schedule: float) -> RetrievalConfig:
    values = {"batch_tokens": 32, "max_epochs": 2, "patience": 9, "warmup_steps": 4, "ema_decay": 0.9} | schedule
    return RetrievalConfig(
        tower=TowerConfig(dim=16, dropout=0.1, max_length=6, content=False),
        loss=LossConfig(kind="sampled", num_negatives=16, horizon=1, repeat_weight=1.0, half_life_days=0, bf16=False),
        schedule=ScheduleConfig(**values),  # type: ignore[arg-type]
        exclude_seen=False,
    )


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_training_when_the_catalogue_is_tall_then_it_learns_what_dense_adam_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ema_decay: float
) -> None:
    settings_, subject = config(ema_decay=ema_decay), lesson(2_700)
    assert build_module(subject, settings_).rows is not None
    rows = learn(subject, settings_, tmp_path / "rows")
    monkeypatch.setattr("training.retrieval.module.is_worth_it", lambda *_args, **_kwargs: False)
    whole = learn(subject, settings_, tmp_path / "whole")
    assert rows.steps == whole.steps
    assert rows.score == pytest.approx(whole.score, abs=1e-3)
    # Weights whose true gradient is 0, such as a key's bias, follow rounding alone; items and their users do not.
    found, expected = rows.towers.items.id_table, whole.towers.items.id_table
    moved = (expected - build_module(subject, settings_).towers.items.id_table).detach().abs().mean()
    assert float((found - expected).detach().abs().mean()) < 0.01 * float(moved)


def test_module_when_the_catalogue_is_small_or_ranked_in_full_then_the_dense_rules_stay() -> None:
    tall, small = lesson(2_700), lesson(300)
    assert build_module(small, config()).rows is None
    full = dataclasses.replace(config(), loss=dataclasses.replace(config().loss, kind="full"))
    assert build_module(tall, full).rows is None
    assert is_worth_it(2560, num_met=80)
    assert not is_worth_it(2559, num_met=80)
