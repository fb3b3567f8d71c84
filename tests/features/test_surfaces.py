from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.catalog import ItemCatalog
from features.surfaces import DAY_US, SurfaceItems, new_arrivals, upgrade_items
from features.vocabulary import FIRST


def catalog_of(rows: list[tuple[str, int, bool, int]]) -> ItemCatalog:
    """Rows of (category, price band, available, created_at_us), the first of them code 2."""
    every = [("", 0, False, 0)] * FIRST + rows
    blank = np.array([""] * len(every), object)
    category, band, available, created = zip(*every, strict=True)
    return ItemCatalog(
        title=blank,
        category=np.array(category, object),
        brand=blank,
        labels=blank,
        price=np.array(band, np.int64) * 100,
        price_band=np.array(band, np.int8),
        available=np.array(available, bool),
        created_at_us=np.array(created, np.int64),
    )


def test_upgrade_when_the_category_has_a_dearer_band_then_only_the_next_band_of_it():
    rows = [("a/x", 1, True, 0), ("a/x", 2, True, 0), ("a/x", 3, True, 0), ("a/y", 2, True, 0), ("a/x", 2, False, 0)]
    assert upgrade_items(catalog_of(rows), 2).tolist() == [3]


def test_upgrade_when_the_category_has_none_then_one_level_up_answers():
    rows = [("a/x/p", 1, True, 0), ("a/x/q", 2, True, 0), ("a/y/r", 2, True, 0), ("a/x", 2, True, 0)]
    assert upgrade_items(catalog_of(rows), 2).tolist() == [3, 5]


def test_upgrade_when_only_two_levels_up_has_any_then_nothing():
    rows = [("a/x/p", 1, True, 0), ("a/y/r", 2, True, 0)]
    assert upgrade_items(catalog_of(rows), 2).tolist() == []


def test_upgrade_when_a_category_name_begins_like_another_then_they_stay_apart():
    assert upgrade_items(catalog_of([("tea", 1, True, 0), ("teapots", 2, True, 0)]), 2).tolist() == []


@pytest.mark.parametrize("row", [("", 1, True, 0), ("a", 0, True, 0), ("a", 5, True, 0)])
def test_upgrade_when_category_or_band_is_unknown_or_highest_then_nothing(row):
    catalog = catalog_of([row, ("a", 1, True, 0), ("", 2, True, 0)])
    assert upgrade_items(catalog, 2).tolist() == []
    assert SurfaceItems.of(catalog).upgrade(2).tolist() == []


def test_new_arrivals_when_as_of_moves_then_the_window_moves_and_unknown_age_is_not_new():
    day = [0, 1 * DAY_US, 5 * DAY_US, 6 * DAY_US, 9 * DAY_US]
    catalog = catalog_of([("", 0, True, at) for at in day] + [("", 0, False, 6 * DAY_US)])
    assert new_arrivals(catalog, 6 * DAY_US, 1).tolist() == [4, 5]
    assert SurfaceItems.of(catalog).new_arrivals(9 * DAY_US, 4).tolist() == [4, 5, 6]


def test_similar_when_asked_about_an_item_then_all_others_that_are_available():
    catalog = catalog_of([("", 0, True, 0), ("", 0, True, 0), ("", 0, False, 0)])
    assert SurfaceItems.of(catalog).similar(2, available=catalog.available).tolist() == [3]


paths = st.sampled_from(["", "a", "b", "a/x", "a/y", "a/x/p", "a/x/q", "b/x", "b/x/p/z"])
items = st.lists(st.tuples(paths, st.integers(0, 4), st.booleans(), st.integers(0, 5)), max_size=25)


@settings(deadline=None, max_examples=60)
@given(rows=items, as_of=st.integers(0, 6), days=st.integers(0, 4))
def test_prepared_rules_when_asked_about_any_item_then_they_equal_the_plain_ones(rows, as_of, days):
    catalog = catalog_of([(path, band, shown, day * DAY_US) for path, band, shown, day in rows])
    prepared = SurfaceItems.of(catalog)
    for code in range(len(catalog)):
        assert prepared.upgrade(code).tolist() == upgrade_items(catalog, code).tolist()
    expected = new_arrivals(catalog, as_of * DAY_US, days).tolist()
    assert prepared.new_arrivals(as_of * DAY_US, days).tolist() == expected


def test_prepared_rules_when_the_catalogue_has_100k_items_then_an_answer_takes_microseconds():
    rng = np.random.default_rng(0)
    rows = [
        (f"a{d}/b{s}/c{t}", int(b), True, int(day) * DAY_US) for d, s, t, b, day in rng.integers(1, 6, (100_000, 5))
    ]
    prepared = SurfaceItems.of(catalog_of(rows))
    started = time.perf_counter()
    for code in range(2, 1_002):
        prepared.upgrade(code)
    assert (time.perf_counter() - started) / 1_000 < 0.2e-3
