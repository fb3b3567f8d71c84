"""An ensemble is its members' mean cosine, wherever it is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from features.catalog import ItemCatalog
from features.errors import ConfigError
from features.history import encode_history
from features.sequences import Sequences
from features.splits import Split
from features.vocabulary import FIRST
from training.retrieval.config import LossConfig, RetrievalConfig, ScheduleConfig, TowerConfig
from training.retrieval.ensemble import TowerEnsemble
from training.retrieval.export import INPUTS, export_user_tower, item_vectors
from training.retrieval.learn import Learned, Lesson, learn, member_configs
from training.retrieval.questions import user_vectors
from training.retrieval.recommender import TwoTowerRecommender

NUM_CODES = 30
CONFIG = RetrievalConfig(
    tower=TowerConfig(dim=8, max_length=6),
    loss=LossConfig(horizon=1, repeat_weight=1.0, half_life_days=0),
    schedule=ScheduleConfig(batch_tokens=64, max_epochs=2),
    exclude_seen=False,
    num_members=2,
)


@pytest.fixture(scope="module")
def lesson() -> Lesson:
    rng = np.random.default_rng(0)
    lengths = rng.integers(4, 9, 60)
    sequences = Sequences.from_arrays(
        offsets=np.cumsum([0, *lengths]), item=rng.integers(FIRST, NUM_CODES, lengths.sum())
    )
    split = Split.leave_one_out(sequences)
    return Lesson(
        fit=split.fit,
        validation=split.validation,
        catalog=ItemCatalog.blank(NUM_CODES),
        candidates=np.arange(FIRST, NUM_CODES),
        num_price_bands=5,
    )


@pytest.fixture(scope="module")
def learned(lesson: Lesson, tmp_path_factory: pytest.TempPathFactory) -> Learned:
    return learn(lesson, CONFIG, tmp_path_factory.mktemp("ensemble"))


def test_ensemble_when_asked_then_scores_are_the_mean_cosine_of_its_members(learned: Learned, lesson: Lesson) -> None:
    assert isinstance(learned.towers, TowerEnsemble)
    query = lesson.fit
    scores = user_vectors(learned.towers, query).numpy() @ item_vectors(learned.towers).T
    of_each = [user_vectors(member, query).numpy() @ item_vectors(member).T for member in learned.towers]
    np.testing.assert_allclose(scores, np.mean(of_each, axis=0), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(item_vectors(learned.towers)[FIRST:], axis=1), 1, atol=1e-5)
    assert not np.allclose(of_each[0], of_each[1], atol=0.05)  # different seeds


def test_ensemble_when_exported_then_equals_torch(learned: Learned, lesson: Lesson, tmp_path: Path) -> None:
    export_user_tower(learned.towers, tmp_path / "tower.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "tower.onnx"))
    inputs = encode_history(lesson.fit, max_length=CONFIG.tower.max_length).padded()
    exported = session.run(None, {name: inputs[name] for name in INPUTS})[0]
    np.testing.assert_allclose(exported, user_vectors(learned.towers, lesson.fit).numpy(), atol=1e-5)


def test_ensemble_when_trained_then_its_first_member_is_the_single_one(
    learned: Learned, lesson: Lesson, tmp_path: Path
) -> None:
    single = member_configs(CONFIG)[0]
    assert (single.seed, single.num_members) == (CONFIG.seed, 1)
    alone = learn(lesson, single, tmp_path).towers
    assert isinstance(learned.towers, TowerEnsemble)
    for one, other in zip(next(iter(learned.towers)).parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_ensemble_when_refitted_then_each_member_takes_the_steps_given(lesson: Lesson, tmp_path: Path) -> None:
    again = learn(lesson, CONFIG, tmp_path, num_steps=3)
    assert (again.steps, again.score) == (3, 0.0)
    assert again.member_steps == (3, 3)


def test_ensemble_when_refitted_by_member_then_each_takes_its_own_steps(
    learned: Learned, lesson: Lesson, tmp_path: Path
) -> None:
    assert len(learned.member_steps) == CONFIG.num_members
    assert learned.steps == round(sum(learned.member_steps) / 2)
    again = learn(lesson, CONFIG, tmp_path, num_steps=[2, 5])
    assert again.member_steps == (2, 5)
    with pytest.raises(ValueError, match="zip"):
        learn(lesson, CONFIG, tmp_path / "other", num_steps=[2])


def test_num_members_when_none_then_refused() -> None:
    with pytest.raises(ConfigError, match="num_members: expected at least 1, found 0"):
        RetrievalConfig(num_members=0)


def test_plain_members_when_asked_for_then_the_last_learn_without_content_and_neighbours() -> None:
    config = RetrievalConfig(num_members=3, num_plain_members=1, loss=LossConfig(neighbour_share=0.2))
    members = member_configs(config)
    assert [member.tower.content for member in members] == [True, True, False]
    assert [member.loss.neighbour_share for member in members] == [0.2, 0.2, 0.0]
    assert len({member.seed for member in members}) == 3
    assert [member.seed for member in member_configs(RetrievalConfig(num_members=2))] == [m.seed for m in members[:2]]


def test_plain_members_when_nobody_else_is_left_then_refused() -> None:
    with pytest.raises(ConfigError, match="num_plain_members: expected fewer than num_members = 2, found 2"):
        RetrievalConfig(num_members=2, num_plain_members=2)


def test_learn_when_all_members_are_done_then_nothing_is_learned_and_no_speed_is_claimed(
    lesson: Lesson, tmp_path: Path
) -> None:
    first = learn(lesson, CONFIG, tmp_path)
    again = learn(lesson, CONFIG, tmp_path)
    assert first.positions_per_second > 0
    assert again.positions_per_second == 0, "no position was learned from in the time that this took"
    assert (again.steps, again.score) == (first.steps, first.score)
    np.testing.assert_array_equal(item_vectors(again.towers), item_vectors(first.towers))


def test_recommender_when_users_are_more_than_a_slice_then_each_has_the_vector_of_being_asked_alone(
    learned: Learned, lesson: Lesson
) -> None:
    many = lesson.fit.take(np.arange(1_100) % lesson.fit.num_users)
    vecs = TwoTowerRecommender.from_towers(learned.towers, lesson.candidates).encode_users(many)
    alone = user_vectors(learned.towers, lesson.fit).numpy()
    np.testing.assert_allclose(vecs, alone[np.arange(1_100) % lesson.fit.num_users], atol=1e-5)
