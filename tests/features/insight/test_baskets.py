"""Baskets: pairs and bundles against plain loops, lifts against the bootstrap, chance against shuffled baskets."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ConfigError
from features.insight.baskets.definition import BasketDefinition
from features.insight.baskets.rules import basket_rules
from tests.features.engines import assert_equal_tables

Baskets = list[set[int]]
ITEMS = pd.DataFrame(
    {"item_id": [f"i{n}" for n in range(12)], "category": [f"c{n // 4}" for n in range(12)], "brand": ["b"] * 12}
)


def events(baskets: Baskets) -> pd.DataFrame:
    rows = [(f"u{n % 5}", f"i{item}", f"o{n}") for n, basket in enumerate(baskets) for item in sorted(basket)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "order_id"]).astype("str")
    day = pd.Series(pd.to_datetime(["2026-03-02"] * len(frame))).astype("datetime64[us]")
    return frame.assign(event_type="purchase", local_day=day)


def slow(baskets: Baskets, size: int, least: int) -> dict[tuple[str, ...], int]:
    counted = Counter(
        names for basket in baskets for names in itertools.combinations(sorted(f"i{item}" for item in basket), size)
    )
    return {names: count for names, count in counted.items() if count >= least}


@settings(max_examples=12, deadline=None)
@given(st.lists(st.sets(st.integers(0, 6), min_size=1, max_size=5), min_size=1, max_size=30))
def test_rules_when_counted_by_plain_loops_then_equal(baskets: Baskets) -> None:
    rules, _, total = basket_rules(events(baskets), ITEMS, BasketDefinition(min_orders=2))
    alone = {names[0]: count for names, count in slow(baskets, 1, 1).items()}
    expected = {
        way: (count, count / alone[way[0]], count * len(baskets) / (alone[way[0]] * alone[way[1]]))
        for pair, count in slow(baskets, 2, 2).items()
        for way in (pair, pair[::-1])
    }
    found = {(row["if"], row["then"]): (row["orders"], row["confidence"], row["lift"]) for _, row in rules.iterrows()}
    assert total == len(baskets)
    assert found.keys() == expected.keys()
    assert all(found[way] == pytest.approx(expected[way]) for way in expected)


def planted(seed: int) -> Baskets:
    """Things at random, but 0 brings 1 along, and both bring 2."""
    rng = np.random.default_rng(seed)
    baskets = [set(map(int, np.flatnonzero(rng.random(12) < 0.08))) for _ in range(3_000)]
    for basket in baskets:
        if 0 in basket and rng.random() < 0.5:
            basket |= {1}
        if {0, 1} <= basket and rng.random() < 0.8:
            basket |= {2}
    return [basket for basket in baskets if basket]


def test_rules_when_things_are_planted_then_they_are_found_and_little_else() -> None:
    baskets = planted(0)
    rules, bundles, _ = basket_rules(events(baskets), ITEMS, BasketDefinition())
    found = {frozenset(way) for way in rules[rules["is_listed"] & (rules["lift_low"] > 1)][["if", "then"]].to_numpy()}
    true = {frozenset({f"i{a}", f"i{b}"}) for a, b in itertools.combinations(range(3), 2)}
    assert true <= found
    assert len(found - true) <= 2
    assert bundles.iloc[0][["thing_a", "thing_b", "thing_c"]].tolist() == ["i0", "i1", "i2"]
    assert bundles.iloc[0]["orders"] == slow(baskets, 3, 1)["i0", "i1", "i2"]
    assert bundles.iloc[0]["customers"] == 5


def test_lift_when_orders_are_drawn_anew_then_its_interval_holds_as_many() -> None:
    baskets = planted(1)
    rules, _, total = basket_rules(events(baskets), ITEMS, BasketDefinition())
    row = rules[(rules["if"] == "i0") & (rules["then"] == "i1")].iloc[0]
    has = np.array([[item in basket for item in (0, 1)] for basket in baskets])
    rng = np.random.default_rng(0)
    drawn = (has[rng.integers(0, total, total)] for _ in range(600))
    lifts = [one.all(axis=1).mean() / one.mean(axis=0).prod() for one in drawn]
    low, high = np.quantile(lifts, [0.025, 0.975])
    assert (row["lift_low"], row["lift_high"]) == pytest.approx((low, high), rel=0.05)


def test_rules_when_things_have_nothing_to_do_with_each_other_then_hardly_any_is_listed() -> None:
    rng = np.random.default_rng(2)
    draws = [set(map(int, np.flatnonzero(rng.random(12) < 0.2))) for _ in range(2_000)]
    rules, _, _ = basket_rules(events([basket for basket in draws if basket]), ITEMS, BasketDefinition())
    assert len(rules) == 132
    assert rules["is_listed"].sum() <= 2


def test_things_when_they_are_categories_then_an_order_counts_once_and_large_orders_are_left_out() -> None:
    baskets: Baskets = [{0, 1, 4}, {2, 5}, {8}, set(range(12))]
    definition = BasketDefinition(of="category", min_orders=2, max_order=2)
    rules, _, total = basket_rules(events(baskets), ITEMS, definition)
    assert total == 3
    assert rules[["if", "then", "orders"]].to_numpy().tolist() == [["c0", "c1", 2], ["c1", "c0", 2]]


@pytest.mark.xdist_group("spark")
def test_rules_when_run_by_another_engine_then_equal_to_pandas(connection: Any, spark: Any) -> None:
    rows, definition = events(planted(3)[:400]), BasketDefinition(min_orders=5)
    expected = basket_rules(rows, ITEMS, definition)
    assert len(expected[0]) > 10
    made = [
        [connection.from_df(rows), connection.from_df(ITEMS)],
        [spark.createDataFrame(pa.Table.from_pandas(frame)) for frame in (rows, ITEMS)],
    ]
    for frames in made:
        rules, bundles, total = basket_rules(*frames, definition)
        assert_equal_tables(rules, expected[0])
        assert_equal_tables(bundles, expected[1])
        assert total == expected[2]


def test_definition_when_it_does_not_fit_then_says_what_was_expected() -> None:
    with pytest.raises(ConfigError, match=r"baskets\.of: expected one of item, category, brand, found 'items'"):
        BasketDefinition.parse({"of": "items"}, where="baskets")
    with pytest.raises(ConfigError, match=r"baskets\.min_orders: expected a whole number of 2 or more, found 1"):
        BasketDefinition.parse({"min_orders": 1}, where="baskets")
