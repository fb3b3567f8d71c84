"""What each surface answers over a small release whose every table is known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from features.surfaces import new_arrivals, upgrade_items
from features.vocabulary import FIRST
from serving.api.schemas import EventsRequest, Filters, InlineEvent
from serving.engine import Engine
from serving.history.stored import to_instant
from serving.release.state import ReleaseState
from serving.surfaces.words import bought_before
from tests.serving.asking import ask, bought_of, ids, nearest, reasons, strategies
from tests.serving.tiny_release import AS_OF_US, DAY_US, TinyRelease

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
