"""The home page over a release that holds a blend: what is bought again beside what is new."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.columns import EVENT_TYPE_CODES
from features.recommendations import Recommendations
from features.vocabulary import FIRST
from serving.api.errors import RequestError
from serving.api.schemas import EventsRequest, Filters, RecommendAnswer, RecommendRequest
from serving.engine import Engine
from serving.history.stored import to_instant
from serving.privacy.erasures import ErasureWatch
from serving.release.state import ReleaseState
from tests.serving.asking import live_store
from tests.serving.tiny_release import AS_OF_US, DAY_US, TinyRelease, build, plain_blend

PURCHASE = EVENT_TYPE_CODES["purchase"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    return build(tmp_path_factory.mktemp("blended") / "store", blend=plain_blend())


@pytest.fixture(scope="module")
def state(tiny: TinyRelease) -> ReleaseState:
    return ReleaseState.load(tiny.store)


@pytest.fixture
def engine(state: ReleaseState, tiny: TinyRelease, tmp_path: Path) -> Engine:
    """An engine whose present is where the data end."""
    return engine_over(state, tiny, tmp_path)


def engine_over(state: ReleaseState, tiny: TinyRelease, directory: Path) -> Engine:
    live = live_store(directory / "live.sqlite")
    return Engine(state, live, ErasureWatch(type(tiny.store)(root=directory).erasures), wall=lambda: AS_OF_US)


def ask(engine: Engine, **request: object) -> RecommendAnswer:
    answer = engine.recommend([RecommendRequest(**request)])[0]
    assert not isinstance(answer, RequestError), answer
    return answer


def ids(answer: RecommendAnswer) -> list[str]:
    return [item.item_id for item in answer.items]


def expected(
    tiny: TinyRelease, state: ReleaseState, user: int, *, timing: bool, kind: str, k: int, keep: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """Score every item that the user has met, and every other one, one by one."""
    history = tiny.histories.take([user])
    vector = tiny.user_vec(history)[0]
    model, blend = state.surfaces.repurchase, state.surfaces.blend
    assert model is not None
    assert blend is not None
    met = model.score(history, now_us=AS_OF_US, timing=timing, kind=kind)  # type: ignore[arg-type]
    met = met.where(tiny.catalog.available[met.item])
    new = np.array([
        code for code in range(FIRST, len(tiny.catalog)) if tiny.catalog.available[code] and code not in history.item
    ])  # fmt: skip
    cosines = tiny.vectors[new] @ vector
    order = np.argsort(-cosines, kind="stable")[:200]
    nearest = Recommendations.from_lists([new[order]], [cosines[order]])
    mixed = blend.combine(nearest, met, tiny.vectors[met.item] @ vector, k=1000, timing=timing)
    rows = np.flatnonzero(keep[mixed.item])[:k]
    return list(tiny.vocabulary.decode(mixed.item[rows])), mixed.score[rows]


@pytest.mark.parametrize(
    ("repeat", "timing", "kind"), [("discount", True, "all"), ("allow", False, "all"), ("exclude", False, "met")]
)
@pytest.mark.parametrize("category", [None, "home"])
def test_for_you_when_the_release_blends_then_it_ranks_by_chance(  # noqa: PLR0917 - fixtures and cases
    engine: Engine, tiny: TinyRelease, state: ReleaseState, repeat: str, timing: bool, kind: str, category: str | None
) -> None:
    filters = Filters(category=category)
    keep = np.array([category is None or path.startswith("home/") for path in tiny.catalog.category])
    requests = [RecommendRequest(user_id=f"user-{user}", k=15, repeat=repeat, filters=filters) for user in range(28)]  # type: ignore[arg-type]
    for user, answer in enumerate(engine.recommend(requests)):
        assert isinstance(answer, RecommendAnswer)
        items, scores = expected(tiny, state, user, timing=timing, kind=kind, k=15, keep=keep)
        assert ids(answer) == items
        assert [item.score for item in answer.items] == pytest.approx(scores, rel=1e-4)


def test_for_you_when_the_shop_leaves_repeats_out_then_requests_follow_unless_they_say_otherwise(
    tmp_path: Path,
) -> None:
    strict = build(tmp_path / "store", blend=plain_blend(), repeat="exclude")
    engine = engine_over(ReleaseState.load(strict.store), strict, tmp_path)
    silent, said = ask(engine, user_id="user-4"), ask(engine, user_id="user-4", repeat="exclude")
    assert ids(silent) == ids(said)
    assert ids(ask(engine, user_id="user-4", repeat="allow")) != ids(silent)
    bought = set(ids(ask(engine, surface="buy_it_again", user_id="user-4", k=200)))
    assert bought
    for surface in ("for_you", "similar", "upgrade", "new_arrivals", "trending", "bought_together"):
        assert not bought & set(ids(ask(engine, surface=surface, item_id="item-9", user_id="user-4", k=200)))


def test_for_you_when_seen_items_are_excluded_then_the_tower_ranks_alone(engine: Engine, tiny: TinyRelease) -> None:
    answer = ask(engine, user_id="user-4", k=10, exclude_seen=True)
    row = tiny.users.code_of("user-4") - FIRST
    unseen = np.setdiff1d(np.flatnonzero(tiny.catalog.available), tiny.history_of("user-4"))
    cosines = tiny.vectors[unseen] @ tiny.user_vec(tiny.histories.take([row]))[0]
    assert ids(answer) == list(tiny.vocabulary.decode(unseen[np.argsort(-cosines, kind="stable")[:10]]))


def purchase(item_id: str, days_ago: float) -> dict[str, object]:
    instant = to_instant(int(AS_OF_US - days_ago * DAY_US))
    assert instant is not None
    return {"user_id": "buyer", "event_type": "purchase", "item_id": item_id, "ts": instant.isoformat()}


def test_for_you_when_an_item_was_bought_a_minute_ago_then_discount_holds_it_back_at_once(engine: Engine) -> None:
    def score_of(repeat: str) -> float:
        answer = ask(engine, user_id="buyer", k=200, repeat=repeat)
        return next(item.score for item in answer.items if item.item_id == "item-5")

    engine.add_events(EventsRequest(events=(purchase("item-5", 42), purchase("item-5", 21))))
    due, allowed = score_of("discount"), score_of("allow")
    engine.add_events(EventsRequest(events=(purchase("item-5", 1 / 1440),)))
    assert score_of("discount") < 0.5 * due  # three weeks are not over
    assert score_of("allow") == allowed  # without timing, chances are the item's own
    assert "item-5" not in ids(ask(engine, user_id="buyer", k=200, repeat="exclude"))


def test_for_you_when_asked_why_then_repeats_say_when_and_are_told_apart(engine: Engine) -> None:
    engine.add_events(EventsRequest(events=tuple(purchase("item-5", day) for day in (62, 41, 20))))
    answer = ask(engine, user_id="buyer", k=200, explain=True)
    again = next(item for item in answer.items if item.item_id == "item-5")
    assert again.reason == "Bought 3 times, about every 3 weeks, last 20 days ago"
    assert again.strategy == "buy_it_again"
    assert answer.strategy == "session"
    assert {item.reason for item in answer.items if item is not again} == {"Close to Thing number 5"}
