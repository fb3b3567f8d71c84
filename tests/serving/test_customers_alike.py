"""Who answers for a customer without events, and where the clock of timing stands."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from serving.api.schemas import Filters
from serving.engine import Engine
from serving.release.state import ReleaseState
from serving.surfaces.clock import Clock
from serving.surfaces.question import Ranked
from tests.serving.asking import PURCHASE, ask, engine_over, ids, reasons, strategies
from tests.serving.tiny_release import AS_OF_US, DAY_US, TinyRelease, build

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
