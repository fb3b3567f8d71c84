"""The list that is evaluated as for_you is the one that serving's own pieces give, customer by customer."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from features.build import FeatureSet
from features.columns import EVENT_TYPE_CODES, PURCHASE
from features.recommendations import Recommendations
from features.release import Part, ReleaseStore, layout
from features.repeats.blend import NUM_NEW, ForYouBlend
from features.repeats.repurchase import RepurchaseModel
from features.sequences import Sequences
from features.settings import EngineSettings
from features.sources.synthetic import generate
from features.splits import Split
from serving.retrieval.user_tower import UserTower
from tests.features.model_features import build_model_features
from training.retrieval.config import RetrievalConfig, ScheduleConfig, SplitConfig, TowerConfig
from training.retrieval.fit import train_retrieval
from training.retrieval.for_you import BuyItAgain, ForYouRecommender
from training.retrieval.lessons import split_for

CONFIG = RetrievalConfig(
    tower=TowerConfig(dim=8, max_length=10, num_title_buckets=100),
    schedule=ScheduleConfig(batch_tokens=1024, max_epochs=1, warmup_steps=2),
    split=SplitConfig(validation_days=14, test_days=14),
    min_item_events=1,
    new_item_days=0,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Part, Part, Split]:
    """The evaluated part, the refitted one, and the split."""
    root = tmp_path_factory.mktemp("for_you")
    generate(root / "data", num_users=150, num_items=60, num_days=90, seed=4)
    build_model_features(root / "data", root / "features", engine=EngineSettings(threads=1))
    result = train_retrieval(root / "features", root / "store", CONFIG)
    evaluated = ReleaseStore(root=Path(result["evaluated_part"]).parents[2]).latest_part("retrieval")
    refitted = ReleaseStore(root=root / "store").latest_part("retrieval")
    assert evaluated is not None
    assert refitted is not None
    return evaluated, refitted, split_for(FeatureSet.load(root / "features").sequences, CONFIG)


@pytest.mark.parametrize("repeat", ["discount", "allow", "exclude"])
def test_for_you_when_recomputed_as_serving_does_then_the_same_lists(
    trained: tuple[Part, Part, Split], repeat: str
) -> None:
    part, _, split = trained
    assert split.cutoffs_us is not None
    now_us = split.cutoffs_us[1]
    query = split.test.query.take(np.arange(min(40, split.test.num_users)))
    evaluated = ForYouRecommender.from_part(part, now_us=now_us, repeat=repeat)  # type: ignore[arg-type]
    found = evaluated.recommend(query, k=10, exclude_seen=False)
    for user in range(query.num_users):
        items, scores = served(part, query.take([user]), now_us=now_us, repeat=repeat, k=10).list_of(0)
        assert found.list_of(user)[1] == pytest.approx(scores, rel=1e-4)
        assert set(found.list_of(user)[0][:9].tolist()) <= set(items.tolist()), "equal scores may change places"


def served(part: Part, history: Sequences, *, now_us: int, repeat: str, k: int) -> Recommendations:
    """Answer one customer from the part's files, with nothing of training."""
    vectors = np.load(part.path(layout.ITEM_VECTORS))
    tower = UserTower(part.path(layout.USER_TOWER), max_length=int(part.about["max_length"]))
    candidates = indexed(part)
    cosines = vectors @ tower.encode(history)[0]  # [V]
    unmet = np.setdiff1d(candidates, history.item)
    best = unmet[np.argsort(-cosines[unmet], kind="stable")][: max(NUM_NEW, k)]
    new = Recommendations.from_lists([best], [cosines[best]])
    repurchase, blend = RepurchaseModel.load(part.path(layout.REPURCHASE)), ForYouBlend.load(part.path(layout.BLEND))
    kind = "met" if repeat == "exclude" else "all"
    repeats = repurchase.score(history, now_us=now_us, timing=repeat == "discount", kind=kind)  # type: ignore[arg-type]
    repeats = repeats.where(np.isin(repeats.item, candidates))
    return blend.combine(new, repeats, cosines[repeats.item], k=k, timing=repeat == "discount")


def indexed(part: Part) -> np.ndarray:
    faiss = pytest.importorskip("faiss")
    index = faiss.read_index(str(part.path(layout.INDEX)))  # the map of ids lives as long as the index does
    return np.sort(faiss.vector_to_array(index.id_map))


def test_for_you_when_excluded_or_seen_is_excluded_then_nothing_bought_is_shown(
    trained: tuple[Part, Part, Split],
) -> None:
    part, _, split = trained
    query = split.test.query
    model = ForYouRecommender.from_part(part, now_us=None, repeat="exclude")
    found = model.recommend(query, k=10, exclude_seen=False)
    bought = query.where(query.event_type == EVENT_TYPE_CODES[PURCHASE])
    assert not shared(found, bought)
    assert model.recommend(query.take([]), k=10, exclude_seen=False).num_lists == 0, "nobody is asked, nobody answered"
    unseen = dataclasses.replace(model, repeat="allow").recommend(query, k=10, exclude_seen=True)
    assert not shared(unseen, query)
    again = BuyItAgain(repurchase=model.repurchase, candidates=np.ones(1000, bool), timing=True, now_us=None).recommend(
        query, k=10, exclude_seen=False
    )
    assert len(again.item)
    assert shared(again, bought) == len(again.item)


def test_parts_when_refitted_then_the_blend_is_the_one_chosen_on_validation(trained: tuple[Part, Part, Split]) -> None:
    evaluated, refitted, _ = trained
    assert evaluated.about["repeat"] == refitted.about["repeat"] == "discount"
    assert evaluated.path(layout.BLEND).read_bytes() == refitted.path(layout.BLEND).read_bytes()
    one, other = (RepurchaseModel.load(part.path(layout.REPURCHASE)) for part in (evaluated, refitted))
    assert one.horizon_days == other.horizon_days == 14
    assert not np.array_equal(one.cycles.rate, other.cycles.rate)


def shared(lists: Recommendations, sequences: Sequences) -> int:
    user = np.repeat(np.arange(lists.num_lists), np.diff(lists.offsets))
    return int(np.isin(user * 10_000 + lists.item, sequences.user_of_event * 10_000 + sequences.item).sum())
