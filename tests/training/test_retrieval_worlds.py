"""Worlds whose answer is known: the two-tower must find it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from features.catalog import ItemCatalog
from features.sequences import Sequences
from features.splits import Holdout, Split
from features.vocabulary import FIRST, Vocabulary
from training.retrieval.candidates import candidate_items
from training.retrieval.config import LossConfig, RetrievalConfig, ScheduleConfig, TowerConfig
from training.retrieval.learn import Lesson, learn
from training.retrieval.recommender import TwoTowerRecommender


@pytest.mark.parametrize("kind", ["full", "sampled"])
def test_two_tower_when_next_item_follows_from_the_last_then_recall_at_1_is_1(kind: str, tmp_path: Path) -> None:
    num_items = 50
    rng = np.random.default_rng(0)
    follows = FIRST + rng.permutation(num_items)
    split = Split.leave_one_out(_walks(follows, num_users=600, rng=rng))
    config = RetrievalConfig(
        tower=TowerConfig(dim=16, max_length=8, dropout=0.0, num_layers=1),
        loss=LossConfig(kind=kind, num_negatives=32, horizon=1, repeat_weight=1.0),  # type: ignore[arg-type]
        schedule=ScheduleConfig(batch_tokens=256, max_epochs=20, learning_rate=1e-2, warmup_steps=5, patience=20),
        exclude_seen=False,
    )
    lesson = Lesson(
        fit=split.fit,
        validation=split.validation,
        catalog=ItemCatalog.blank(FIRST + num_items),
        candidates=np.arange(FIRST, FIRST + num_items),
        num_price_bands=5,
    )
    learned = learn(lesson, config, tmp_path)
    recommender = TwoTowerRecommender.from_towers(learned.towers, lesson.candidates)
    first = recommender.recommend(split.test.query, k=1, exclude_seen=False).top(1)[0][:, 0]
    assert (first == split.test.targets.item).mean() > 0.98


def test_two_tower_when_items_are_new_then_content_places_them(tmp_path: Path) -> None:
    """Users stay in one of five categories; each category has 10 known items and 4 that nobody has met."""
    categories, known, new = 5, 10, 4
    per_category = known + new
    ids = [f"i{number}" for number in range(categories * per_category)]
    items = pd.DataFrame(
        {
            "item_id": ids,
            "category": [f"c{number // per_category}" for number in range(len(ids))],
            "title": [f"thing {number}" for number in range(len(ids))],
            "created_at": pd.to_datetime(
                ["2024-06-01" if number % per_category >= known else "2020-01-01" for number in range(len(ids))]
            ),
        }
    )
    catalog = ItemCatalog.from_items(items, Vocabulary.from_ids(ids))
    rng = np.random.default_rng(1)
    category = rng.integers(0, categories, 400)
    item = FIRST + category[:, None] * per_category + rng.integers(0, known, (400, 8))
    sequences = Sequences.from_arrays(offsets=np.arange(0, 3201, 8), item=item.ravel())
    config = RetrievalConfig(
        tower=TowerConfig(dim=16, max_length=8, dropout=0.0, id_dropout=0.3, num_title_buckets=50),
        loss=LossConfig(horizon=1, repeat_weight=1.0),
        schedule=ScheduleConfig(batch_tokens=512, max_epochs=15, learning_rate=1e-2, warmup_steps=5, patience=15),
        exclude_seen=False,
        min_item_events=5,
    )
    as_of_us = pd.Timestamp("2024-06-15", tz="UTC").value // 1000
    candidates = candidate_items(sequences, catalog, as_of_us=as_of_us, config=config)
    assert len(candidates) == len(ids)  # met often enough, or created of late
    split = Split.leave_one_out(sequences)
    learned = learn(_lesson(split.fit, split.validation, catalog, candidates), config, tmp_path)
    is_new = catalog.created_at_us[candidates] == catalog.created_at_us.max()
    recommender = TwoTowerRecommender.from_towers(learned.towers, candidates[is_new])
    top = recommender.recommend(split.test.query, k=new, exclude_seen=False).top(new)[0]
    assert ((top - FIRST) // per_category == category[:, None]).mean() > 0.95


def test_learn_when_steps_are_fixed_then_exactly_so_many_and_no_validation(tmp_path: Path) -> None:
    sequences = _walks(FIRST + np.random.default_rng(0).permutation(20), num_users=40, rng=np.random.default_rng(0))
    config = RetrievalConfig(
        tower=TowerConfig(dim=8, max_length=4), schedule=ScheduleConfig(batch_tokens=64, warmup_steps=1)
    )
    lesson = _lesson(sequences, None, ItemCatalog.blank(22), np.arange(FIRST, 22))
    learned = learn(lesson, config, tmp_path, num_steps=7)
    assert (learned.steps, learned.score) == (7, 0.0)
    again = learn(lesson, config, tmp_path, num_steps=7)  # finished: only read back
    for one, other in zip(learned.towers.parameters(), again.towers.parameters(), strict=True):
        assert one.equal(other)


def _walks(follows: npt.NDArray[np.int64], *, num_users: int, rng: np.random.Generator) -> Sequences:
    """Users who start anywhere and then go where each item leads."""
    lengths = rng.integers(3, 15, num_users)
    events = []
    for length in lengths:
        code = int(rng.integers(FIRST, FIRST + len(follows)))
        for _ in range(length):
            events.append(code)
            code = int(follows[code - FIRST])
    return Sequences.from_arrays(offsets=np.cumsum([0, *lengths]), item=events)


def _lesson(
    fit: Sequences, validation: Holdout | None, catalog: ItemCatalog, candidates: npt.NDArray[np.int64]
) -> Lesson:
    return Lesson(fit=fit, validation=validation, catalog=catalog, candidates=candidates, num_price_bands=5)
