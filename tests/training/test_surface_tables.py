"""Complements from baskets, and what gains ground: known answers, a slow reference, and what may not be known."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest

from tests.training.surface_world import World, baskets_of, listed, own, row
from training.retrieval.surfaces import BoughtTogetherSettings

CATEGORIES = {"kettle": "home/kettles", "kettle2": "home/kettles", "tea": "food/tea", "milk": "food/milk"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Kettles go with tea; milk goes with everything, as often as chance has it; two kettles are compared.

    240 baskets: milk is in half of every kind, and the pot of noise items makes the shop.
    """
    rng = np.random.default_rng(0)
    noise = [f"n{number}" for number in range(12)]
    content = []
    for number in range(240):
        items = set(rng.choice(noise, 2, replace=False))
        if number % 2 == 0:
            items.add("milk")
        if number % 12 < 2:
            items |= {"kettle" if number % 24 < 12 else "kettle2", *(["tea"] if number % 3 else [])}
        content.append(sorted(items))
    rows = baskets_of(content)
    for number in range(60):  # both kettles are looked at in a session, and now and then both are bought
        viewer, day = f"v{number:03d}", number / 24
        rows += [row(viewer, "view", item, day, session=f"s{number}") for item in ("kettle", "kettle2")]
        if number % 20 == 0:
            rows += [row(viewer, "purchase", item, day, order=f"b{number}") for item in ("kettle", "kettle2")]
    for number in range(60):
        viewer, day = f"w{number:03d}", number / 24
        rows += [row(viewer, "view", item, day, session=f"t{number}") for item in (noise[number % 12], "tea")]
    categories = CATEGORIES | {item: f"other/{item[-1]}" for item in noise}
    return World(tmp_path_factory.mktemp("kettles"), rows, categories)


def test_bought_together_when_a_complement_is_planted_then_it_leads_and_what_is_merely_popular_stays_out(shop):
    frame = shop.together()
    assert own(frame, "kettle")[0] == "tea"
    assert set(own(frame, "tea")) == {"kettle", "kettle2"}
    assert "milk" not in own(frame, "kettle")
    assert own(frame, "milk") == []


def test_bought_together_when_two_items_are_compared_and_one_is_bought_then_they_are_no_complements(shop):
    weak = BoughtTogetherSettings(min_evidence=0.0)
    assert "kettle2" not in own(shop.together(weak), "kettle")


def test_bought_together_when_read_then_scores_fall_items_are_distinct_and_never_the_item_itself(shop):
    frame = shop.together()
    assert (frame["item"] != frame["neighbour"]).all()
    assert not frame.duplicated(["item", "neighbour"]).any()
    assert (frame.groupby("item")["score"].diff().dropna() <= 0).all()
    assert frame["score"].between(0, 1).all()
    assert [frame[name].dtype.name for name in ("item_code", "neighbour_code", "score", "support", "lift")] == [
        "int32",
        "int32",
        "float32",
        "int32",
        "float32",
    ]


def test_bought_together_when_an_item_may_not_be_shown_then_it_keeps_its_list_but_stands_in_none(shop):
    tea = shop.features.vocabulary.code_of("tea")
    frame = shop.together(candidates=np.setdiff1d(shop.everything(), [tea]))
    assert "tea" not in set(frame["neighbour"])
    assert own(frame, "tea")[0] in ("kettle", "kettle2")


def test_bought_together_when_an_item_has_no_baskets_then_its_category_speaks_marked_by_support_0(tmp_path):
    rng = np.random.default_rng(1)
    content = [["kettle", "tea"] for _ in range(30)] + [
        list(rng.choice([f"n{number}" for number in range(10)], 2, replace=False)) for _ in range(100)
    ]
    categories = CATEGORIES | {"new kettle": "home/kettles"} | {f"n{number}": "other" for number in range(10)}
    frame = World(tmp_path, baskets_of(content), categories).together()
    new = frame[frame["item"] == "new kettle"]
    assert new["neighbour"].tolist() == ["tea"]
    assert new["support"].tolist() == [0]
    assert "kettle" not in listed(frame, "new kettle")  # of its own category: no complement


def test_bought_together_when_no_order_is_named_then_one_customers_local_day_is_a_basket(tmp_path):
    rows = []
    for number in range(20):
        rows += [row(f"a{number}", "purchase", "x", 0), row(f"a{number}", "purchase", "y", 0.2)]
        rows += [row(f"b{number}", "purchase", "x", 0), row(f"b{number}", "purchase", "z", 1)]
        rows += [row(f"c{number}", "purchase", "p", 0), row(f"c{number}", "purchase", "q", 0)]
    frame = World(tmp_path, rows).together()
    assert own(frame, "x") == ["y"]
    assert frame.loc[(frame["item"] == "x") & (frame["neighbour"] == "y"), "support"].tolist() == [20]


def test_bought_together_when_a_list_is_too_long_then_the_best_stay(shop):
    settings = BoughtTogetherSettings(max_neighbours=1, fill_to=2)
    frame = shop.together(settings)
    assert frame.groupby("item").size().max() <= 2
    assert frame[frame["support"] > 0].groupby("item").size().max() == 1
    assert own(frame, "kettle") == own(shop.together(), "kettle")[:1]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bought_together_when_counted_slowly_then_the_same_pairs_scores_and_lifts(tmp_path, seed):
    rng = np.random.default_rng(seed)
    names = [f"i{number}" for number in range(8)]
    content = [list(rng.choice(names, rng.integers(1, 5), replace=False)) for _ in range(80)]
    content += [["i0", "i1"]] * 30
    categories = {name: f"c{number % 3}" for number, name in enumerate(names)}
    rows = baskets_of(content)
    for number in range(40):
        rows += [row(f"v{number}", "view", item, 1, session=f"s{number}") for item in rng.choice(names, 3)]
    settings = BoughtTogetherSettings(min_evidence=0.5, prior_baskets=3.0, fill_to=0)
    frame = World(tmp_path, rows, categories).together(settings)
    expected = slow_table(content, rows, categories, settings)
    columns = frame[["item", "neighbour", "score", "support", "lift"]]
    found = {(a, b): values for a, b, *values in columns.itertuples(index=False)}
    assert found.keys() == expected.keys()
    assert expected
    for pair, values in expected.items():
        assert found[pair] == pytest.approx(list(values), rel=1e-4)


def slow_table(content: Any, rows: Any, categories: Any, settings: BoughtTogetherSettings) -> dict[Any, Any]:
    """The formulas of the module's docstring, one loop each."""
    baskets = [set(items) for items in content if len(set(items)) > 1]
    support: Counter[Any] = Counter()
    votes: Counter[Any] = Counter()
    voters: Counter[Any] = Counter()
    for items in baskets:
        for item in items:
            voters[item] += 1
        for pair in permutations(items, 2):
            support[pair] += 1
            votes[pair] += 1 / (len(items) - 1)
    sessions: dict[str, set[str]] = {}
    for event in rows:
        if event["event_type"] == "view":
            sessions.setdefault(event["session_id"], set()).add(event["item_id"])
    views: Counter[Any] = Counter(
        pair for items in sessions.values() if len(items) > 1 for pair in combinations(sorted(items), 2)
    )
    rate = sum(support[pair] for pair in views) / sum(views.values())
    total, all_votes = len(baskets), sum(voters.values())

    def alike(shelf: str) -> float:
        inside = [item for item in voters if categories[item] == shelf]
        seen = sum(support[pair] for pair in permutations(inside, 2))
        chance = sum(voters[a] * voters[b] / total for a, b in permutations(inside, 2))
        return max(1.0, (seen + 1) / (chance + 1))

    kept = {}
    for (a, b), count in support.items():
        null = voters[a] * voters[b] / total
        if categories[a] == categories[b]:
            null *= alike(categories[a])
        evidence = 2 * (count * math.log(count / null) - count + null)
        browsing = rate * views[tuple(sorted((a, b)))]
        if count >= settings.min_support and count > max(null, browsing) and evidence >= settings.min_evidence:
            of_shelf = [item for item in voters if categories[item] == categories[a]]
            share, m = voters[b] / all_votes, settings.prior_baskets
            shelf = (sum(votes[item, b] for item in of_shelf) + m * share) / (sum(voters[i] for i in of_shelf) + m)
            score = (votes[a, b] + m * shelf) / (voters[a] + m)
            kept[a, b] = (score, count, score / share)
    return kept
