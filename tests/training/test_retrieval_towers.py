"""The user tower's blocks: causal, and packed as one history at a time, padded, written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from training.retrieval.batches import PackedHistories
from training.retrieval.config import TowerConfig
from training.retrieval.towers import Block, GatedBlock, UserTower

LENGTHS = [(1, 3), (2, 2), (5, 1), (7, 2)]
NUM_POSITIONS = sum(length * count for length, count in LENGTHS)


@pytest.fixture(params=["attention", "ligr"])
def config(request: pytest.FixtureRequest) -> TowerConfig:
    return TowerConfig(dim=8, num_layers=2, num_heads=2, max_length=7, dropout=0.5, mixer=request.param)


def _block(config: TowerConfig) -> Block:
    torch.manual_seed(0)
    return (GatedBlock if config.mixer == "ligr" else Block)(config).eval()


def _slow(block: Block, x: Tensor, padded_to: int) -> Tensor:
    """One history ``[L, D]``, padded on its left, attention as a masked softmax over all places."""
    length, dim = x.shape
    padded = F.pad(x, (0, 0, padded_to - length, 0))
    q, k, v = (
        t.view(padded_to, block.num_heads, -1).transpose(0, 1)
        for t in block.query_key_value(block.attention_norm(padded)).chunk(3, dim=-1)
    )
    index = torch.arange(padded_to)
    seen = (index[None, :] <= index[:, None]) & (index[None, :] >= padded_to - length)
    scores = (q @ k.transpose(-1, -2) / (dim / block.num_heads) ** 0.5).masked_fill(~seen, -torch.inf)
    attended = (scores.softmax(-1) @ v).transpose(0, 1).reshape(padded_to, dim)[-length:]
    if not isinstance(block, GatedBlock):
        after = x + block.attention_out(attended)
        return after + block.feed_out(F.gelu(block.feed_in(block.feed_norm(after))))
    after = x + torch.sigmoid(block.attention_gate(x)) * block.attention_out(attended)
    inner = block.feed_in(block.feed_norm(after))
    fed = block.feed_out(inner[:, :32] * F.silu(inner[:, 32:]))
    return after + torch.sigmoid(block.feed_gate(after)) * fed


def test_block_when_packed_then_equal_to_padded_histories_one_by_one(config: TowerConfig) -> None:
    block, x = _block(config), torch.randn(NUM_POSITIONS, 8)
    singles = torch.split(x, [length for length, count in LENGTHS for _ in range(count)])
    slow = torch.cat([_slow(block, single, padded_to=9) for single in singles])
    torch.testing.assert_close(block(x, LENGTHS), slow)


def test_tower_when_later_events_change_then_earlier_vectors_stay(config: TowerConfig) -> None:
    torch.manual_seed(0)
    tower = UserTower(config, num_price_bands=3).eval()
    rng = np.random.default_rng(0)
    fields = {
        name: torch.from_numpy(rng.integers(0, 3, NUM_POSITIONS))
        for name in ("item", "event_type", "gap", "price_band")
    }
    position = torch.cat([torch.arange(length).repeat(count) for length, count in LENGTHS])
    histories = PackedHistories(lengths=LENGTHS, position=position, **fields)
    vecs = torch.randn(NUM_POSITIONS, 8)
    changed = vecs.clone()
    changed[-3:] = torch.randn(3, 8)  # the last three events of the last history
    before, after = tower(vecs, histories), tower(changed, histories)
    torch.testing.assert_close(after[:-3], before[:-3])
    assert not torch.isclose(after[-3:], before[-3:]).all(dim=1).any()
