"""Soft targets from co-occurrence equal the softmax over explicit distributions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from features.catalog import ItemCatalog
from features.sequences import Sequences
from features.splits import Split
from features.vocabulary import FIRST
from training.retrieval.batches import TrainingBatches
from training.retrieval.config import LossConfig, RetrievalConfig, TowerConfig
from training.retrieval.learn import Lesson, build_module
from training.retrieval.losses import soft_target_pull, softmax_loss
from training.retrieval.neighbours import Neighbours

NUM_CODES, TEMPERATURE, SHARE, DECAY = 12, 0.1, 0.3, 0.5
CANDIDATES = np.arange(FIRST, NUM_CODES)


@pytest.fixture
def sequences() -> Sequences:
    rng = np.random.default_rng(3)
    lengths = rng.integers(1, 7, 25)
    item = rng.integers(FIRST, NUM_CODES - 1, lengths.sum())  # nobody meets the last code
    return Sequences.from_arrays(offsets=np.cumsum([0, *lengths]), item=item)


def _dense_distribution(neighbours: Neighbours, items: list[int]) -> Tensor:
    """The definition, one history at a time."""
    weights = [DECAY**age for age in range(len(items))][::-1]
    rows = neighbours.rows.to_dense()
    return sum(w * rows[item] for w, item in zip(weights, items, strict=True)) / sum(weights)


def test_neighbour_loss_when_written_out_in_full_then_value_and_gradients_agree(sequences: Sequences) -> None:
    neighbours = Neighbours.fit(sequences, candidates=CANDIDATES, num_codes=NUM_CODES, most=3, decay=DECAY)
    batches = TrainingBatches.from_sequences(
        sequences, candidates=CANDIDATES, num_codes=NUM_CODES, max_length=4, batch_tokens=200,
        loss=LossConfig(kind="full", horizon=1, repeat_weight=0.5, half_life_days=0), seed=0,
    )  # fmt: skip
    batch = batches.batch(0)
    torch.manual_seed(0)
    users = F.normalize(torch.randn(len(batch.target), 6), dim=-1).requires_grad_()
    items = F.normalize(torch.randn(NUM_CODES, 6), dim=-1).requires_grad_()
    fast = softmax_loss(
        users, items[batch.target], items[FIRST:], target=batch.target, pool=torch.from_numpy(CANDIDATES),
        log_expected=None, weight=batch.weight, temperature=TEMPERATURE,
    )  # fmt: skip
    expected, mass = neighbours.expected(items, batch.histories)
    pull = soft_target_pull(users, items[batch.target], expected, mass=mass, weight=batch.weight)
    fast = fast + SHARE / TEMPERATURE * pull

    logits = users @ items[FIRST:].T / TEMPERATURE
    history = batch.histories
    soft = torch.zeros(len(batch.target), NUM_CODES)
    for row, position in enumerate(history.position.tolist()):
        soft[row] = _dense_distribution(neighbours, history.item[row - position : row + 1].tolist())
    target = SHARE * soft
    target[torch.arange(len(soft)), batch.target] += 1 - SHARE * soft.sum(1)
    slow_each = -(target[:, FIRST:] * logits.log_softmax(1)).sum(1)
    slow = (slow_each * batch.weight).sum() / batch.weight.sum()

    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-6)
    for one, other in zip(
        torch.autograd.grad(fast, [users, items], retain_graph=True),
        torch.autograd.grad(slow, [users, items]),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_neighbours_when_fitted_then_rows_are_distributions_over_the_nearest_others(sequences: Sequences) -> None:
    neighbours = Neighbours.fit(sequences, candidates=CANDIDATES, num_codes=NUM_CODES, most=3, decay=DECAY)
    rows = neighbours.rows.to_dense()
    torch.testing.assert_close(rows.sum(1), neighbours.has)
    assert (rows > 0).sum(1).max() <= 3
    assert not rows.diagonal().any()
    assert not rows[NUM_CODES - 1].any()  # nobody met it
    torch.testing.assert_close(neighbours.columns.to_dense(), rows.T)


def test_neighbour_share_when_the_pool_is_sampled_then_it_is_left_out_and_said(
    sequences: Sequences, caplog: pytest.LogCaptureFixture
) -> None:
    split = Split.leave_one_out(sequences.take(np.flatnonzero(sequences.lengths > 2)))
    lesson = Lesson(
        fit=split.fit, validation=None, catalog=ItemCatalog.blank(NUM_CODES), candidates=CANDIDATES, num_price_bands=5
    )
    config = RetrievalConfig(loss=LossConfig(kind="sampled", neighbour_share=0.2))
    assert build_module(lesson, config, num_steps=1).neighbours is None
    assert "neighbour_share counts only where all candidates compete" in caplog.text


def test_label_smoothing_when_set_then_a_steps_loss_grows_by_its_pull(sequences: Sequences) -> None:
    split = Split.leave_one_out(sequences.take(np.flatnonzero(sequences.lengths > 2)))
    lesson = Lesson(
        fit=split.fit, validation=None, catalog=ItemCatalog.blank(NUM_CODES), candidates=CANDIDATES, num_price_bands=5
    )
    tower = TowerConfig(dim=8, num_heads=2, dropout=0.0, id_dropout=0.0)
    losses = {}
    for smoothing in (0.0, 0.3):
        loss = LossConfig(neighbour_share=0.2, label_smoothing=smoothing, temperature=TEMPERATURE, bf16=False)
        torch.manual_seed(1)
        module = build_module(lesson, RetrievalConfig(tower=tower, loss=loss), num_steps=1)
        batch = module.batches.batch(0)
        losses[smoothing] = module.training_step(batch)
    raw = module.towers.raw_items(torch.arange(NUM_CODES))
    unit = F.normalize(raw, dim=-1)
    users = module.towers.users(raw[batch.histories.item], batch.histories)
    above = (users * (unit[batch.target] - unit[module.candidates].mean(0))).sum(-1)
    pull = (above * batch.weight).sum() / batch.weight.sum()
    torch.testing.assert_close(losses[0.3], losses[0.0] + 0.3 / TEMPERATURE * pull, rtol=1e-4, atol=1e-5)
