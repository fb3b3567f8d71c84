"""What each surface answers over a small release whose every table is known."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.columns import EVENT_TYPE_CODES
from features.surfaces import new_arrivals, upgrade_items
from features.vocabulary import FIRST
from serving.engine import Engine
from serving.erasures import ErasureWatch
from serving.errors import RequestError
from serving.histories import to_instant
from serving.live_events import LiveEvents
from serving.release_state import ReleaseState
from serving.schemas import EventsRequest, Filters, InlineEvent, RecommendAnswer, RecommendRequest
from serving.surfaces.clock import Clock
from serving.surfaces.question import Ranked
from serving.surfaces.words import bought_before
from tests.serving.tiny_release import AS_OF_US, DAY_US, TinyRelease, build

PURCHASE = EVENT_TYPE_CODES["purchase"]


@pytest.fixture
def engine(tiny_state: ReleaseState, tiny: TinyRelease, tmp_path: Path) -> Engine:
    return engine_over(tiny_state, tiny, tmp_path)


def engine_over(state: ReleaseState, tiny: TinyRelease, directory: Path) -> Engine:
    """An engine whose present is where the data end."""
    live = LiveEvents(directory / "live.sqlite", max_events=20)
    erasures = type(tiny.store)(root=directory).erasures
    return Engine(state, live, ErasureWatch(erasures), wall=lambda: AS_OF_US)


def ask(engine: Engine, **request: object) -> RecommendAnswer:
    answer = engine.recommend([RecommendRequest(**request)])[0]
    if isinstance(answer, RequestError):
        raise answer
    return answer


def ids(answer: RecommendAnswer) -> list[str]:
    return [item.item_id for item in answer.items]


def strategies(answer: RecommendAnswer) -> list[str]:
    return [item.strategy or answer.strategy for item in answer.items]


def reasons(answer: RecommendAnswer) -> list[str | None]:
    return [item.reason for item in answer.items]


def nearest(tiny: TinyRelease, item_id: str, codes: np.ndarray, k: int) -> list[str]:
    codes = codes[tiny.catalog.available[codes]]
    closeness = tiny.vectors[codes] @ tiny.vectors[tiny.vocabulary.code_of(item_id)]
    return list(tiny.vocabulary.decode(codes[np.argsort(-closeness, kind="stable")][:k]))


def bought_of(tiny: TinyRelease, user_id: str) -> set[str]:
    row = tiny.users.code_of(user_id) - FIRST
    span = slice(tiny.histories.offsets[row], tiny.histories.offsets[row + 1])
    codes = tiny.histories.item[span][tiny.histories.event_type[span] == PURCHASE]
    return set(tiny.vocabulary.decode(codes))


# similar and upgrade


def test_similar_when_asked_then_the_nearest_other_items_answer(engine: Engine, tiny: TinyRelease) -> None:
    answer = ask(engine, surface="similar", item_id="item-4", k=9, explain=True)
    others = np.array([code for code in range(FIRST, len(tiny.catalog)) if code != tiny.vocabulary.code_of("item-4")])
    assert ids(answer) == nearest(tiny, "item-4", others, 9)
    assert answer.strategy == "similar"
    assert set(reasons(answer)) == {"Similar to Thing number 4"}


def test_similar_when_the_item_is_sold_out_then_it_still_answers_and_is_not_shown(engine: Engine) -> None:
    answer = ask(engine, surface="similar", item_id="item-7", k=200)
    assert "item-7" not in ids(answer)
    assert len(answer.items) == 200 - 7  # seven are sold out


def test_upgrade_when_asked_then_only_the_next_price_band_of_the_category_answers(
    engine: Engine, tiny: TinyRelease
) -> None:
    for number in range(0, 60, 7):
        code = tiny.vocabulary.code_of(f"item-{number}")
        answer = ask(engine, surface="upgrade", item_id=f"item-{number}", k=5)
        assert ids(answer) == nearest(tiny, f"item-{number}", upgrade_items(tiny.catalog, code), 5)
        for item in ids(answer):
            assert tiny.catalog.price_band[tiny.vocabulary.code_of(item)] == tiny.catalog.price_band[code] + 1


def test_upgrade_when_the_item_is_in_the_highest_band_then_the_list_is_empty(engine: Engine, tiny: TinyRelease) -> None:
    dearest = tiny.vocabulary.decode(np.flatnonzero(tiny.catalog.price_band == 5))[0]
    answer = ask(engine, surface="upgrade", item_id=dearest)
    assert (answer.items, answer.strategy) == ([], "upgrade")


# bought_together


def test_bought_together_when_the_table_has_the_item_then_its_neighbours_come_first(engine: Engine) -> None:
    answer = ask(engine, surface="bought_together", item_id="item-20", k=5, explain=True)
    assert ids(answer)[:3] == ["item-21", "item-25", "item-22"]
    assert reasons(answer)[:3] == [
        "Bought with Thing number 20 in 12 baskets",
        "Bought with Thing number 20 in 7 baskets",
        "Bought with Thing number 20 in 3 baskets",
    ]
    # Items of food/fruit (every fifth) are bought with food/bread (n + 1: 12 baskets each) and home/lamps (n + 2: 3);
    # n + 5 is of the same category, which is no complement. Favourites are item-0, item-1 ...
    assert ids(answer)[3:] == ["item-1", "item-2"]
    assert strategies(answer) == ["bought_together"] * 3 + ["complements"] * 2
    assert reasons(answer)[3] == "A favourite in food/bread, which goes with fruit"
    assert all(better.score >= worse.score for better, worse in pairwise(answer.items))


def test_bought_together_when_an_item_has_no_neighbours_then_its_category_does_and_similar_items_come_last(
    engine: Engine, tiny: TinyRelease
) -> None:
    answer = ask(engine, surface="bought_together", item_id="item-50", k=100)
    # item-0 to item-99 are favourites; of food/bread are 1, 6, ..., of home/lamps 2, 7, ...; item-7, 36 are sold out.
    complements = [n for n in range(100) if n % 5 in (1, 2) and n % 29 != 7]
    assert answer.strategy == "complements"
    assert ids(answer)[: len(complements)] == [f"item-{n}" for n in complements]
    similar = ids(ask(engine, surface="similar", item_id="item-50", k=200))
    rest = [item for item in similar if item not in ids(answer)[: len(complements)]]
    assert ids(answer)[len(complements) :] == rest[: 100 - len(complements)]
    assert set(strategies(answer)[len(complements) :]) == {"similar"}


def test_bought_together_when_only_the_category_speaks_for_a_pair_then_the_answer_says_so(engine: Engine) -> None:
    answer = ask(engine, surface="bought_together", item_id="item-60", k=3, explain=True)
    assert ids(answer) == ["item-61", "item-62", "item-1"]  # item-65 is sold out
    assert answer.strategy == "complements"
    assert reasons(answer)[:2] == ["Goes with items like Thing number 60"] * 2


# buy_it_again


def test_buy_it_again_when_a_customer_bought_before_then_only_that_answers_by_chance(
    engine: Engine, tiny: TinyRelease, tiny_state: ReleaseState
) -> None:
    answer = ask(engine, surface="buy_it_again", user_id="user-4", k=100, exclude_seen=True, repeat="exclude")
    shown = {item for item in bought_of(tiny, "user-4") if tiny.catalog.available[tiny.vocabulary.code_of(item)]}
    assert set(ids(answer)) == shown
    row = tiny.users.code_of("user-4") - FIRST
    model = tiny_state.surfaces.repurchase
    assert model is not None
    scored = model.score(tiny.histories.take([row]), now_us=AS_OF_US, timing=True)
    expected = [item for item in tiny.vocabulary.decode(scored.item) if item in shown]
    assert ids(answer) == expected


def test_buy_it_again_when_nothing_was_bought_then_the_list_is_empty(engine: Engine) -> None:
    for who in ({}, {"user_id": "nobody"}, {"events": (InlineEvent(event_type="view", item_id="item-1"),)}):
        answer = ask(engine, surface="buy_it_again", **who)
        assert (answer.items, answer.strategy) == ([], "buy_it_again")


def test_buy_it_again_when_explained_then_it_says_how_often_and_when(engine: Engine) -> None:
    days = (62, 41, 20)
    events = tuple(
        {"user_id": "buyer", "event_type": "purchase", "item_id": "item-3", "ts": to_instant(AS_OF_US - day * DAY_US)}
        for day in days
    )
    engine.add_events(EventsRequest(events=tuple(one | {"ts": one["ts"].isoformat()} for one in events)))  # type: ignore[union-attr]
    answer = ask(engine, surface="buy_it_again", user_id="buyer", explain=True)
    assert ids(answer) == ["item-3"]
    assert reasons(answer) == ["Bought 3 times, about every 3 weeks, last 20 days ago"]


@pytest.mark.parametrize(
    ("days_ago", "words"),
    [
        ([0.5], "Bought once, today"),
        ([1.5], "Bought once, a day ago"),
        ([40, 40.01], "Bought once, 40 days ago"),
        ([400, 300, 200], "Bought 3 times, about every 3 months, last 7 months ago"),
        ([11, 10], "Bought 2 times, about every day, last 10 days ago"),
        ([1500, 750], "Bought 2 times, about every 2 years, last 2 years ago"),
    ],
)
def test_bought_before_when_spans_differ_then_the_unit_suits_them(days_ago: list[float], words: str) -> None:
    now = 20_000 * DAY_US + DAY_US // 2
    assert bought_before(np.array([int(now - day * DAY_US) for day in days_ago]), now) == words


def test_bought_before_when_instants_are_unknown_then_only_the_count_is_said() -> None:
    assert bought_before(np.zeros(4, np.int64), AS_OF_US) == "Bought 4 times"


# new_arrivals


def test_new_arrivals_when_the_user_is_known_then_the_nearest_new_items_come_first(
    engine: Engine, tiny: TinyRelease
) -> None:
    new = set(tiny.vocabulary.decode(new_arrivals(tiny.catalog, AS_OF_US)))
    by_taste = [item for item in ids(ask(engine, user_id="user-4", k=200)) if item in new]
    answer = ask(engine, surface="new_arrivals", user_id="user-4", k=8)
    assert ids(answer) == by_taste[:8]
    assert answer.strategy == "new_arrivals"


def test_new_arrivals_when_nobody_is_known_then_the_newest_come_first(engine: Engine, tiny: TinyRelease) -> None:
    # item-3 came a day before the end, item-13 two days, ...; item-123 and item-65's like are sold out.
    numbers = [n for n in range(3, 200, 10) if n % 29 != 7]
    answer = ask(engine, surface="new_arrivals", k=30, explain=True)
    assert ids(answer) == [f"item-{n}" for n in numbers]
    came = to_instant(AS_OF_US - DAY_US)
    assert came is not None
    assert reasons(answer)[0] == f"New since {came.day} {came:%b}"


# trending


def test_trending_when_the_customer_has_a_category_then_it_comes_first(engine: Engine, tiny: TinyRelease) -> None:
    # user-28 likes home best: of the even numbers, greatest first, those of home/lamps (2 of 5) and its desk (3 of 5).
    home = [n for n in range(198, -1, -2) if n % 5 in (2, 3) and n % 29 != 7]
    others = [n for n in range(198, -1, -2) if n % 5 not in (2, 3) and n % 29 != 7]
    answer = ask(engine, surface="trending", user_id="user-28", k=60, explain=True)
    assert ids(answer) == [f"item-{n}" for n in [*home, *others][:60]]
    assert answer.strategy == "trending"
    assert reasons(answer)[len(home) - 1 :][:2] == ["Gaining ground in home", "Gaining ground in the shop"]


def test_trending_when_only_a_session_is_known_then_its_category_comes_first(engine: Engine, tiny: TinyRelease) -> None:
    events = tuple(InlineEvent(event_type="view", item_id=f"item-{n}") for n in (4, 9, 0))  # toys, toys, food
    answer = ask(engine, surface="trending", events=events, k=5)
    assert ids(answer) == [f"item-{n}" for n in (194, 184, 174, 164, 154) if n % 29 != 7]


def test_trending_when_it_is_short_then_favourites_fill_it_and_say_so(engine: Engine) -> None:
    # Trending of food/bread: 196, 186, ..., 6; its favourites: 1, 6, 11, ..., 96.
    filters = Filters(category="food/bread")
    rising = [f"item-{n}" for n in range(196, -1, -10) if n % 29 != 7]
    answer = ask(engine, surface="trending", filters=filters, k=len(rising) + 3)
    assert ids(answer) == [*rising, "item-1", "item-11", "item-21"]
    assert strategies(answer) == ["trending"] * len(rising) + ["favourites"] * 3


# every surface

EVERY = ("for_you", "similar", "upgrade", "bought_together", "buy_it_again", "new_arrivals", "trending")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    surface=st.sampled_from(EVERY),
    user=st.none() | st.integers(0, 29),
    item=st.integers(0, 199),
    k=st.integers(1, 60),
    exclude_seen=st.booleans(),
    repeat=st.sampled_from([None, "allow", "discount", "exclude"]),
    filters=st.builds(
        Filters,
        category=st.sampled_from([None, "food", "home/lamps"]),
        brand=st.sampled_from([None, "brand-6"]),
        max_price=st.none() | st.integers(500, 2100),
    ),
)
def test_surfaces_when_asked_anything_then_lists_are_clean(  # noqa: PLR0917 - hypothesis gives them
    engine: Engine,
    tiny: TinyRelease,
    surface: str,
    user: int | None,
    item: int,
    k: int,
    exclude_seen: bool,
    repeat: str | None,
    filters: Filters,
) -> None:
    user_id = None if user is None else f"user-{user}"
    answer = ask(
        engine, surface=surface, user_id=user_id, item_id=f"item-{item}", k=k, exclude_seen=exclude_seen,
        repeat=repeat, filters=filters, explain=True,
    )  # fmt: skip
    codes = tiny.vocabulary.encode(ids(answer))
    assert len(set(ids(answer))) == len(answer.items) <= k
    assert tiny.catalog.available[codes].all()
    assert all(better.score >= worse.score for better, worse in pairwise(answer.items))
    assert all(reasons(answer))
    for code in codes:
        assert filters.brand in (None, tiny.catalog.brand[code])
        assert f"{tiny.catalog.category[code]}/".startswith(f"{filters.category}/" if filters.category else "")
        assert filters.max_price is None or 0 <= tiny.catalog.price[code] <= filters.max_price
    if surface in ("similar", "upgrade", "bought_together"):
        assert f"item-{item}" not in ids(answer)
    if user_id is not None and surface != "buy_it_again":
        seen = set(tiny.vocabulary.decode(tiny.history_of(user_id)))
        assert not (exclude_seen and seen & set(ids(answer)))
        assert not (repeat == "exclude" and bought_of(tiny, user_id) & set(ids(answer)))


def test_surfaces_when_asked_together_then_each_answer_is_that_of_one_by_one(engine: Engine) -> None:
    requests = [
        RecommendRequest(user_id=f"user-{n}", surface=EVERY[n % 7], item_id=f"item-{n}", k=4 + n)  # type: ignore[arg-type]
        for n in range(30)
    ]
    requests.append(RecommendRequest(surface="similar"))
    for request, answer in zip(requests, engine.recommend(requests), strict=True):
        alone = engine.recommend([request])[0]
        if isinstance(answer, RequestError):
            assert isinstance(alone, RequestError)
        else:
            assert not isinstance(alone, RequestError)
            assert (ids(answer), strategies(answer)) == (ids(alone), strategies(alone))


@pytest.mark.parametrize("surface", ["similar", "upgrade", "bought_together"])
def test_item_surfaces_when_the_item_is_missing_or_unknown_then_the_error_says_so(engine: Engine, surface: str) -> None:
    with pytest.raises(RequestError, match="expects the item that the page shows, found none") as missing:
        ask(engine, surface=surface)
    assert (missing.value.status, missing.value.code) == (422, "item_id_missing")
    with pytest.raises(RequestError, match="item_id: the release knows no item 'nope'") as unknown:
        ask(engine, surface=surface, item_id="nope")
    assert (unknown.value.status, unknown.value.code) == (422, "unknown_item")


def test_surfaces_when_the_customer_is_erased_then_nothing_of_them_is_used(engine: Engine) -> None:
    engine.erase("user-4")
    assert ids(ask(engine, surface="buy_it_again", user_id="user-4")) == []
    for surface in ("for_you", "new_arrivals", "trending"):
        assert ids(ask(engine, surface=surface, user_id="user-4")) == ids(ask(engine, surface=surface))


@pytest.fixture(scope="module")
def plain_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Over a release that was made before there were surfaces."""
    plain = build(tmp_path_factory.mktemp("plain") / "store", surfaces=False)
    return engine_over(ReleaseState.load(plain.store), plain, tmp_path_factory.mktemp("live"))


@pytest.mark.parametrize(
    ("surface", "file"),
    [
        ("bought_together", "bought_together.parquet"),
        ("trending", "trending.parquet"),
        ("buy_it_again", "repurchase.parquet"),
    ],
)
def test_surfaces_when_the_release_lacks_their_file_then_the_error_says_train_again(
    plain_engine: Engine, surface: str, file: str
) -> None:
    with pytest.raises(RequestError, match=rf"no {file}, .* train the retrieval part again") as missing:
        ask(plain_engine, surface=surface, item_id="item-1")
    assert (missing.value.status, missing.value.code) == (409, "surface_missing")


def test_surfaces_when_the_release_is_older_than_they_are_then_the_rest_answers(plain_engine: Engine) -> None:
    for surface in ("for_you", "similar", "upgrade", "new_arrivals"):
        assert ask(plain_engine, surface=surface, item_id="item-0", user_id="user-1", k=3).strategy


# customers alike


def group_shares(tiny: TinyRelease, members: list[int], prior: np.ndarray | None) -> np.ndarray:
    """What some users bought, halved every 30 days, drawn towards a larger group's shares by 50 events."""
    weight = np.zeros(len(tiny.catalog))
    newest = tiny.histories.ts.max()
    for row in members:
        for event in range(tiny.histories.offsets[row], tiny.histories.offsets[row + 1]):
            item = tiny.histories.item[event]
            if tiny.histories.event_type[event] == PURCHASE and tiny.catalog.available[item]:
                weight[item] += 0.5 ** ((newest - tiny.histories.ts[event]) / DAY_US / 30)
    return weight / weight.sum() if prior is None else (weight + 50 * prior) / (weight.sum() + 50)


def test_for_you_when_a_customer_has_no_events_then_those_alike_answer(engine: Engine, tiny: TinyRelease) -> None:
    # user-28 is active and likes home best, as users 1, 4, 7, ... are and do.
    alike = [row for row in range(28) if row % 3 == 1]
    shop = group_shares(tiny, list(range(28)), None)
    shares = group_shares(tiny, alike, group_shares(tiny, alike, shop))
    best = np.lexsort((np.arange(len(shares)), -shares.astype(np.float64)))[:15]
    answer = ask(engine, user_id="user-28", k=15, explain=True)
    assert ids(answer) == list(tiny.vocabulary.decode(best))
    assert [item.score for item in answer.items] == pytest.approx(shares[best], abs=1e-6)
    assert answer.strategy == "segment"
    assert set(reasons(answer)) == {"Liked by active customers who like home best"}


def test_for_you_when_only_the_stage_is_known_then_customers_of_that_stage_answer(
    engine: Engine, tiny: TinyRelease
) -> None:
    # user-29 is dormant and has no favourite category, like users 2, 5, 8, ...
    shares = group_shares(tiny, [row for row in range(28) if row % 3 == 2], group_shares(tiny, list(range(28)), None))
    best = np.lexsort((np.arange(len(shares)), -shares))[:15]
    answer = ask(engine, user_id="user-29", k=15, explain=True)
    assert ids(answer) == list(tiny.vocabulary.decode(best))
    assert answer.strategy == "stage"
    assert set(reasons(answer)) == {"Liked by dormant customers"}


def test_for_you_when_those_alike_bought_little_then_favourites_fill_the_list(engine: Engine) -> None:
    answer = ask(engine, user_id="user-28", k=30, filters=Filters(brand="brand-3", category="home/lamps/desk"))
    # Favourites that are 3 of 5 and 3 of 7; those that nobody in the histories bought come last, as the category's.
    assert {"item-3", "item-38", "item-73"} <= set(ids(answer))
    assert set(strategies(answer)) <= {"segment", "favourites"}


def test_segments_when_a_group_is_small_then_the_larger_one_stands_for_it(tmp_path: Path) -> None:
    # 6 users, of whom the last two have no history: 2 of each kind are too few for a list of their own.
    small = build(tmp_path / "store", num_users=6, surfaces=False)
    state = ReleaseState.load(small.store)
    assert state.surfaces.segments is not None
    assert state.surfaces.segments.groups == {}


def test_for_you_when_nobody_alike_is_known_then_the_categorys_favourites_answer(
    tmp_path: Path, tiny_state: ReleaseState, tiny: TinyRelease
) -> None:
    alone = dataclasses.replace(tiny_state.surfaces, segments=None)
    engine = engine_over(dataclasses.replace(tiny_state, surfaces=alone), tiny, tmp_path)
    shown = [number for number in range(100) if number % 29 != 7]
    home = [f"item-{number}" for number in shown if number % 5 in (2, 3)]
    others = [f"item-{number}" for number in shown if number % 5 not in (2, 3)]
    answer = ask(engine, user_id="user-28", k=60, explain=True)
    assert ids(answer) == [*home, *others][:60]
    assert strategies(answer) == ["segment"] * len(home) + ["favourites"] * (60 - len(home))
    assert reasons(answer)[len(home) - 1 :][:2] == ["A favourite in home", "A favourite of the shop"]
    assert all(better.score >= worse.score for better, worse in pairwise(answer.items))


# the clock and lists


@pytest.mark.parametrize(
    ("wall_days", "newest_days", "expected_days"),
    [(1, None, 1), (1, -5, 1), (1, 3, 3), (1000, -5, 0), (1000, 1000, 1000)],
)
def test_clock_when_the_data_are_old_then_it_stands_where_they_end(
    wall_days: int, newest_days: int | None, expected_days: int, tiny_state: ReleaseState
) -> None:
    """Days after the end of the data; a release of 1000 days ago is one of old data."""
    histories = tiny_state.histories
    assert histories is not None
    events = histories.of_user("user-1").where(np.zeros(len(histories.of_user("user-1")), bool))
    if newest_days is not None:
        ts = np.array([AS_OF_US + newest_days * DAY_US])
        one = np.ones(1, np.int8)
        events = dataclasses.replace(events, item=one, event_type=one, ts=ts, price_band=one)
    now = Clock(as_of_us=AS_OF_US, wall=lambda: AS_OF_US + wall_days * DAY_US).now_us(events)
    assert now - AS_OF_US - expected_days * DAY_US in (0, 1)
    assert now > events.ts.max(initial=0)


def test_ranked_when_filled_then_nothing_comes_twice_and_scores_never_rise() -> None:
    first = Ranked.by("trending", np.array([5, 3]), np.array([2, 1], np.float32), ["a", "b"])
    more = Ranked.by("favourites", np.array([3, 8, 9]), np.array([9, 8, 0.5], np.float32), ["c", "d", "e"])
    both = first.then(more, k=4)
    assert both.codes.tolist() == [5, 3, 8, 9]
    assert both.scores.tolist() == [2, 1, 1, 0.5]
    assert both.reasons == ["a", "b", "d", "e"]
    assert (both.strategy, both.strategies[2]) == ("trending", "favourites")
    nothing = Ranked.by("trending", np.zeros(0, np.int64), np.zeros(0, np.float32))
    assert nothing.then(more, k=1).strategy == "favourites"
