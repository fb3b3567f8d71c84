"""Lists of many users at once are those that the service gives to each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.columns import ANALYTICS, PERSONALISATION
from features.release import ReleaseStore
from serving.api.errors import RequestError
from serving.api.schemas import Filters, RecommendRequest
from serving.bulk.answers import BulkAnswers
from serving.bulk.settings import BulkSettings
from serving.bulk.standing import SaidConsents
from serving.engine import Engine
from serving.live.store import ConsentChange
from serving.merchandising.house import Merchandising
from serving.merchandising.parse import read_rule_set
from serving.release.state import ReleaseState
from serving.surfaces.rows import rounded
from tests.serving.asking import engine_over, live_store
from tests.serving.tiny_release import AS_OF_US, TinyRelease, build, plain_blend

STRANGERS = ["nobody", "nobody else"]


@pytest.fixture(scope="module")
def blended(tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyRelease, ReleaseState]:
    tiny = build(tmp_path_factory.mktemp("blended") / "store", kinds=("retrieval", "customers"), blend=plain_blend())
    return tiny, ReleaseState.load(tiny.store)


def check_equal(engine: Engine, bulk: BulkAnswers, users: list[str]) -> None:
    lists = bulk.lists(users, bulk.standing(users))
    for row, (user, answer) in enumerate(
        zip(users, engine.recommend([bulk.settings.request(user) for user in users]), strict=True)
    ):
        assert not isinstance(answer, RequestError)
        codes, scores = lists.found.list_of(row)
        assert engine.state.item_ids[codes].tolist() == [one.item_id for one in answer.items], user
        np.testing.assert_allclose(rounded(scores), [one.score for one in answer.items], rtol=1e-5, atol=1e-6)
        assert lists.strategies[row] == answer.strategy
        assert lists.known[row] or answer.strategy != "history"


ASKED: dict[str, dict[str, Any]] = {
    "plain": {},
    "long": {"k": 170},  # favourites fill it
    "exclude_seen": {"exclude_seen": True, "k": 60},
    "exclude": {"repeat": "exclude"},
    "allow": {"repeat": "allow", "k": 50},
    "filters": {"filters": Filters(category="food", not_purchased_days=20)},
    "diversity": {"diversity": 0.5},
    "buy_it_again": {"surface": "buy_it_again"},
    "trending": {"surface": "trending"},
    "new_arrivals": {"surface": "new_arrivals"},
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_lists_at_once_equal_the_answers_one_by_one(
    asked: dict[str, Any], tiny: TinyRelease, tiny_state: ReleaseState, blended: Any, tmp_path: Path
) -> None:
    for number, (release, state) in enumerate([(tiny, tiny_state), blended]):
        directory = tmp_path / str(number)
        directory.mkdir()
        engine = engine_over(state, release, directory)
        bulk = BulkAnswers(ReleaseStore(root=directory), state, BulkSettings(**asked), now_us=AS_OF_US)
        assert bulk.is_vectorised == (not asked.keys() & {"filters", "diversity", "surface"})
        check_equal(engine, bulk, [*reversed(release.users.ids.tolist()), *STRANGERS])


def test_exact_lists_equal_those_of_an_exact_index(blended: Any, tmp_path: Path) -> None:
    release, state = blended  # whose index is exact
    engine = engine_over(state, release, tmp_path)
    for asked in ({"k": 20}, {"exclude_seen": True, "k": 60}, {"k": 170}):
        bulk = BulkAnswers(ReleaseStore(root=tmp_path), state, BulkSettings(exact=True, **asked), now_us=AS_OF_US)  # type: ignore[arg-type]
        check_equal(engine, bulk, release.users.ids.tolist())


def test_rules_hold_as_they_are_served(tiny: TinyRelease, tiny_state: ReleaseState, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("rules: {no fruit: {ban: {category: food/fruit}}, lamps first: {boost: {category: home, by: 0.5}}}")
    rules = read_rule_set(file)
    house = Merchandising(rules=lambda: rules)
    engine = engine_over(tiny_state, tiny, tmp_path, merchandising=house)
    bulk = BulkAnswers(ReleaseStore(root=tmp_path), tiny_state, BulkSettings(), now_us=AS_OF_US, merchandising=house)
    assert not bulk.is_vectorised
    check_equal(engine, bulk, [*tiny.users.ids[:12].tolist(), *STRANGERS])


def test_consents_told_to_the_service_are_respected(blended: Any, tmp_path: Path) -> None:
    release, state = blended
    said = [("user-1", PERSONALISATION), ("user-2", ANALYTICS), ("user-29", ANALYTICS), ("user-3", PERSONALISATION)]
    engine = engine_over(state, release, tmp_path)
    live = live_store(tmp_path / "live.sqlite")
    for user, purpose in said:
        live.add_consent(ConsentChange(user_id=user, purpose=purpose, granted=False, at_us=AS_OF_US - 1000))
    live.add_consent(ConsentChange("user-3", PERSONALISATION, granted=True, at_us=AS_OF_US - 10))
    consents = SaidConsents.of(live)
    bulk = BulkAnswers(ReleaseStore(root=tmp_path), state, BulkSettings(), now_us=AS_OF_US, said=consents)
    users = [*release.users.ids.tolist(), *STRANGERS]
    check_equal(engine, bulk, users)
    known = dict(zip(users, bulk.lists(users, bulk.standing(users)).known.tolist(), strict=True))
    assert [user for user in users if not known[user]] == ["user-1", "user-3", "user-28", "user-29", *STRANGERS]
    before = BulkAnswers(ReleaseStore(root=tmp_path), state, BulkSettings(), now_us=AS_OF_US)
    assert bulk.standing(users).digest() != before.standing(users).digest()
    assert bulk.standing(["user-5"]).digest() == before.standing(["user-5"]).digest()


def test_who_is_asked_makes_no_difference_to_others(blended: Any, tmp_path: Path) -> None:
    release, state = blended
    bulk = BulkAnswers(ReleaseStore(root=tmp_path), state, BulkSettings(k=10), now_us=AS_OF_US)
    users = release.users.ids.tolist()
    whole = bulk.lists(users, bulk.standing(users))
    for row in (0, 7, 29):
        alone = bulk.lists([users[row]], bulk.standing([users[row]]))
        assert alone.found.item.tolist() == whole.found.list_of(row)[0].tolist()


def test_request_is_the_one_of_the_service() -> None:
    settings = BulkSettings(surface="trending", k=3, exclude_seen=True, repeat="allow", diversity=0.25)
    expected = RecommendRequest(user_id="u", surface="trending", k=3, exclude_seen=True, repeat="allow", diversity=0.25)
    assert settings.request("u") == expected
