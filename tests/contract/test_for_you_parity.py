"""The home page that is evaluated is the one that is served."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from features.chances.logistic import QuadraticLogit
from features.repeats.blend import NEW, NUM_NEW, ForYouBlend
from serving.api.schemas import RecommendAnswer, RecommendRequest
from serving.engine import Engine
from serving.privacy.erasures import ErasureWatch
from serving.release.state import ReleaseState
from tests.serving.asking import live_store
from tests.serving.tiny_release import AS_OF_US, build, plain_blend
from training.retrieval.for_you import ForYouRecommender


def bent_blend() -> ForYouBlend:
    """Items at a cosine of 0.3 are the likeliest of the new ones: the nearest are not."""
    bend = QuadraticLogit.plain(NEW, {"cosine": 6.0}, bias=-3.0)
    square = np.diag([-10.0, 0.0, 0.0])
    return dataclasses.replace(plain_blend(), new=dataclasses.replace(bend, square=square))


@pytest.mark.parametrize(
    ("repeat", "exclude_seen", "blend"),
    [
        *((repeat, seen, plain_blend()) for repeat in ("allow", "discount", "exclude") for seen in (False, True)),
        ("discount", False, bent_blend()),
    ],
)
def test_for_you_when_evaluated_and_served_then_the_lists_are_equal(
    tmp_path: Path, repeat: str, exclude_seen: bool, blend: ForYouBlend
) -> None:
    """The same histories at the same instant, over one release; some blends like what is farther better."""
    tiny = build(tmp_path / "store", num_items=2 * NUM_NEW, blend=blend, repeat=repeat)
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
