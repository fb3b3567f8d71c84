"""Blocks of other architectures: causal, packed as one at a time, and equal to their slow forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.mixers import (
    FrequencyBlock,
    HSTUBlock,
    RecurrentBlock,
    low_pass,
    with_blocks,
)
from features.catalog import ItemCatalog
from features.sequences import Sequences
from features.splits import Split
from features.vocabulary import FIRST
from training.retrieval.config import LossConfig, RetrievalConfig, ScheduleConfig, TowerConfig
from training.retrieval.learn import Lesson, learn

TOWER = TowerConfig(dim=8, num_heads=2, max_length=12, dropout=0.3)
MIXERS = [HSTUBlock, FrequencyBlock, RecurrentBlock]
LENGTHS = [(1, 3), (2, 2), (5, 1), (11, 2)]

Make = Callable[[TowerConfig], nn.Module]


@pytest.fixture(params=MIXERS, ids=lambda make: make.__name__)
def block(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    made: nn.Module = request.param(TOWER).eval()
    if isinstance(made, HSTUBlock):
        nn.init.normal_(made.distance_bias)  # 0 at first, which would hide a wrong distance
    return made


def test_mixer_when_later_events_change_then_earlier_outputs_stay(block: nn.Module) -> None:
    x = torch.randn(2 * 7, 8)  # two histories of seven events
    changed = x.clone()
    changed[4:7] += torch.randn(3, 8)  # the first one's last three
    before, after = block(x, [(7, 2)]), block(changed, [(7, 2)])
    same = torch.ones(14, dtype=torch.bool)
    same[4:7] = False
    torch.testing.assert_close(after[same], before[same])
    assert not torch.isclose(after[4:7], before[4:7]).all(dim=1).any()


def test_mixer_when_an_earlier_event_changes_then_later_outputs_hear_it(block: nn.Module) -> None:
    x = torch.randn(7, 8)
    changed = x.clone()
    changed[0] += torch.randn(8)
    assert not torch.isclose(block(changed, [(7, 1)])[1:], block(x, [(7, 1)])[1:]).all(dim=1).any()


def test_mixer_when_packed_then_equal_to_one_history_at_a_time(block: nn.Module) -> None:
    x = torch.randn(sum(length * count for length, count in LENGTHS), 8)
    singles = torch.split(x, [length for length, count in LENGTHS for _ in range(count)])
    alone = torch.cat([block(single, [(len(single), 1)]) for single in singles])
    torch.testing.assert_close(block(x, LENGTHS), alone)


def test_frequency_filter_when_each_prefix_is_a_padded_row_then_equal_to_its_fourier_form() -> None:
    length, cutoff = 12, 5
    x = torch.randn(9, 8)
    slow = []
    for stop in range(1, 10):
        row = F.pad(x[:stop], (0, 0, length - stop, 0))
        waves = torch.fft.rfft(row, dim=0, norm="ortho")
        waves[cutoff // 2 + 1 :] = 0
        slow.append(torch.fft.irfft(waves, n=length, dim=0, norm="ortho")[-1])
    kernel = low_pass(length, cutoff)
    fast = torch.stack([sum((kernel[t - s] * x[s] for s in range(t + 1)), torch.zeros(8)) for t in range(9)])
    torch.testing.assert_close(fast, torch.stack(slow), rtol=1e-4, atol=1e-5)


def test_frequency_block_when_the_filter_is_all_then_equal_to_the_kernel_written_out() -> None:
    block = FrequencyBlock(TOWER, share=1.0).eval()
    x = torch.randn(4, 8)
    normed = block.norm(x)
    low = torch.stack([sum((block.kernel[t - s] * normed[s] for s in range(t + 1)), torch.zeros(8)) for t in range(4)])
    mixed = x + low + block.beta**2 * (normed - low)
    torch.testing.assert_close(block(x, [(4, 1)]), mixed + block.feed_forward(mixed))


def test_recurrence_when_scanned_then_equal_to_a_loop() -> None:
    torch.manual_seed(0)
    block = RecurrentBlock(TOWER)
    inputs = torch.randn(sum(length * count for length, count in LENGTHS), 8, dtype=torch.complex64)
    decay = torch.exp(torch.complex(-block.log_rate.exp(), block.log_phase.exp()))
    slow: list[Tensor] = []
    for history in torch.split(inputs, [length for length, count in LENGTHS for _ in range(count)]):
        state = torch.zeros(8, dtype=torch.complex64)
        for event in history:
            state = decay * state + event
            slow.append(state)
    torch.testing.assert_close(block.scan(inputs, LENGTHS), torch.stack(slow))
    assert (decay.abs() < 1).all()


def _lesson() -> Lesson:
    rng = np.random.default_rng(0)
    lengths = rng.integers(4, 9, 40)
    sequences = Sequences.from_arrays(offsets=np.cumsum([0, *lengths]), item=rng.integers(FIRST, 20, lengths.sum()))
    split = Split.leave_one_out(sequences)
    return Lesson(
        fit=split.fit,
        validation=split.validation,
        catalog=ItemCatalog.blank(20),
        candidates=np.arange(FIRST, 20),
        num_price_bands=1,
    )


CONFIG = RetrievalConfig(
    tower=TOWER,
    loss=LossConfig(horizon=1, repeat_weight=1.0, half_life_days=0, neighbour_share=0.2, bf16=False),
    schedule=ScheduleConfig(batch_tokens=64, max_epochs=1),
    exclude_seen=False,
)


@pytest.mark.parametrize("make", MIXERS, ids=lambda make: make.__name__)
def test_learn_when_blocks_are_others_then_they_are_what_is_averaged_and_returned(make: Make, tmp_path: Path) -> None:
    towers = learn(_lesson(), CONFIG, tmp_path, build=with_blocks(make)).towers
    assert [type(block) for block in towers.users.blocks] == [make]
    torch.manual_seed(CONFIG.seed)
    untrained = with_blocks(make)(_lesson(), CONFIG).towers
    moved = zip(towers.users.blocks.parameters(), untrained.users.blocks.parameters(), strict=True)
    assert any(not torch.equal(now, before) for now, before in moved)
