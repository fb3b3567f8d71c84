"""The home page that is evaluated is the one that is served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.repeats.blend import NUM_NEW
from serving.api.schemas import RecommendAnswer, RecommendRequest
from serving.engine import Engine
from serving.privacy.erasures import ErasureWatch
from serving.release.state import ReleaseState
from tests.serving.asking import live_store
from tests.serving.tiny_release import AS_OF_US, build, plain_blend
from training.retrieval.for_you import ForYouRecommender


@pytest.mark.parametrize("repeat", ["allow", "discount", "exclude"])
@pytest.mark.parametrize("exclude_seen", [False, True])
def test_for_you_when_evaluated_and_served_then_the_lists_are_equal(
    tmp_path: Path, repeat: str, exclude_seen: bool
) -> None:
    """The same histories at the same instant, over one release."""
    tiny = build(tmp_path / "store", num_items=2 * NUM_NEW, blend=plain_blend(), repeat=repeat)
    recommender = ForYouRecommender.from_part(tiny.release.parts["retrieval"], now_us=AS_OF_US)
    evaluated = recommender.recommend(tiny.histories, k=20, exclude_seen=exclude_seen)
    live = live_store(tmp_path / "live.sqlite")
    engine = Engine(
        ReleaseState.load(tiny.store), live, ErasureWatch(tiny.store.erasures), wall=lambda: AS_OF_US
    )  # fmt: skip
    with_history = np.flatnonzero(tiny.histories.lengths)
    requests = [RecommendRequest(user_id=f"user-{user}", k=20, exclude_seen=exclude_seen) for user in with_history]
    for user, answer in zip(with_history, engine.recommend(requests), strict=True):
        assert isinstance(answer, RecommendAnswer)
        codes, scores = evaluated.list_of(int(user))
        assert [item.item_id for item in answer.items] == list(tiny.vocabulary.decode(codes))
        assert [item.score for item in answer.items] == pytest.approx(scores, rel=1e-5, abs=1e-6)
