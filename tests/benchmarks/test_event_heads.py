"""A user tower that is told the kind of event asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.event_heads import AddedKind, HeadPerKind, asking
from features.catalog import ItemCatalog
from features.columns import EVENT_TYPE_CODES, PURCHASE, VIEW
from features.history import encode_history
from features.sequences import Sequences
from features.splits import Split
from features.vocabulary import FIRST
from training.retrieval.batches import pack_queries
from training.retrieval.config import LossConfig, RetrievalConfig, ScheduleConfig, TowerConfig
from training.retrieval.learn import Lesson, build_module, learn
from training.retrieval.towers import TwoTower

KINDS = (EVENT_TYPE_CODES[VIEW], EVENT_TYPE_CODES[PURCHASE])
CONFIG = RetrievalConfig(
    tower=TowerConfig(dim=8, max_length=6),
    loss=LossConfig(repeat_weight=1.0, half_life_days=0),
    schedule=ScheduleConfig(batch_tokens=64, max_epochs=2),
    exclude_seen=False,
)


@pytest.fixture
def lesson() -> Lesson:
    rng = np.random.default_rng(0)
    lengths = rng.integers(4, 9, 40)
    kind, half = rng.choice(KINDS, lengths.sum()), (20 - FIRST) // 2
    item = FIRST + rng.integers(0, half, lengths.sum()) + half * (kind == KINDS[1])  # bought ones are never viewed
    split = Split.leave_one_out(Sequences.from_arrays(offsets=np.cumsum([0, *lengths]), item=item, event_type=kind))
    return Lesson(
        fit=split.fit,
        validation=split.validation,
        catalog=ItemCatalog.blank(20),
        candidates=np.arange(FIRST, 20),
        num_price_bands=1,
    )


def test_batch_when_targets_are_drawn_then_it_says_the_kind_of_each(lesson: Lesson) -> None:
    batch = asking(AddedKind)(lesson, CONFIG).batches.batch(3)
    bought = batch.target.numpy() >= FIRST + (20 - FIRST) // 2
    assert (batch.histories.asked.numpy() == np.where(bought, KINDS[1], KINDS[0])).all()


@pytest.mark.parametrize("tell", [AddedKind, HeadPerKind])
def test_tower_when_untrained_then_as_without_and_trained_then_kinds_part(
    tell: type, lesson: Lesson, tmp_path: Path
) -> None:
    packed, _ = pack_queries(encode_history(lesson.fit, max_length=6))
    torch.manual_seed(0)
    plain = build_module(lesson, CONFIG).towers.eval()
    torch.manual_seed(0)
    torch.testing.assert_close(asking(tell)(lesson, CONFIG).towers.eval().encode(packed), plain.encode(packed))
    towers = learn(lesson, CONFIG, tmp_path, build=asking(tell)).towers
    assert isinstance(towers, TwoTower)
    told = [vector for name, vector in towers.users.named_parameters() if ".tell." in name]
    moved = told[0].detach().flatten(1).abs().amax(1) > 0
    assert moved.nonzero().squeeze(1).tolist() == sorted(KINDS)  # those that were asked for, and no other
