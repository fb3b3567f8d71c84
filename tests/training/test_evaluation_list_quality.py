from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from features.catalog import ItemCatalog
from features.recommendations import Recommendations
from features.sequences import Sequences
from features.vocabulary import Vocabulary
from training.evaluation.list_quality import ItemFacts, gini, list_quality

V = 9
CANDIDATES = np.arange(V) >= 2
RNG = np.random.default_rng(0)
VECTORS = RNG.random((V, 4))
VECTORS[:3] = 0  # 2 is an item of which nothing is known
VECTORS[3:] /= np.linalg.norm(VECTORS[3:], axis=1, keepdims=True)
CATEGORY = np.array([-1, -1, -1, 0, 0, 1, 1, 2, 2])
COUNTS = np.array([0, 0, 5, 0, 3, 3, 8, 1, 2])
FACTS = ItemFacts(counts=COUNTS, candidates=CANDIDATES, category=CATEGORY, profiles=sparse.csr_array(VECTORS))

ranked = st.permutations(range(2, V)).flatmap(lambda p: st.integers(0, V - 2).map(lambda n: p[:n]))
history = st.lists(st.integers(2, V - 1), max_size=6)


def lists(*rows: list[int]) -> Recommendations:
    items = [np.array(row, dtype=np.int32) for row in rows]
    return Recommendations.from_lists(items, [-np.arange(len(row), dtype=np.float32) for row in rows])


def sequences(*rows: list[int]) -> Sequences:
    offsets = np.cumsum([0] + [len(row) for row in rows])
    return Sequences.from_arrays(offsets=offsets, item=[item for row in rows for item in row])


def mean(values: list[float | None]) -> float:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else 0.0


def plain_diversity(shown: list[int]) -> float | None:
    pairs = list(itertools.combinations(shown, 2))
    return 1 - sum(float(VECTORS[i] @ VECTORS[j]) for i, j in pairs) / len(pairs) if pairs else None


def plain_percentile(item: int) -> float:
    others = [COUNTS[other] for other in range(2, V)]
    fewer, same = sum(n < COUNTS[item] for n in others), sum(n == COUNTS[item] for n in others)
    return (fewer + same / 2) / len(others)


def plain_lift(shown: list[int], past: list[int]) -> float | None:
    if not shown or not past or not COUNTS[past].sum():
        return None
    return float(COUNTS[shown].mean() / COUNTS[past].mean() - 1)


def plain_kl(shown: list[int], past: list[int]) -> float | None:
    shown, past = ([int(CATEGORY[i]) for i in row if CATEGORY[i] >= 0] for row in (shown, past))
    if not shown or not past:
        return None
    total = 0.0
    for category in set(past):
        liked = past.count(category) / len(past)
        total += liked * math.log(liked / (0.01 * liked + 0.99 * shown.count(category) / len(shown)))
    return total


def plain_gini(shows: list[int]) -> float:
    """Mean absolute difference over twice the mean."""
    if not sum(shows):
        return 0.0
    return sum(abs(a - b) for a in shows for b in shows) / (2 * len(shows) * sum(shows))


@given(questions=st.lists(st.tuples(ranked, history), min_size=1, max_size=6), k=st.integers(1, 8))
def test_list_quality_when_compared_with_plain_loops_then_equal(questions, k: int) -> None:
    shown, past = [row[:k] for row, _ in questions], [row for _, row in questions]
    found = list_quality(lists(*[row for row, _ in questions]), sequences(*past), FACTS, ks=(k,))
    every = [item for row in shown for item in row]
    expected = {
        f"diversity@{k}": mean([plain_diversity(row) for row in shown]),
        f"popularity_percentile@{k}": mean([plain_percentile(item) for item in every]),
        f"popularity_lift@{k}": mean([plain_lift(a, b) for a, b in zip(shown, past, strict=True)]),
        f"gini@{k}": plain_gini([every.count(item) for item in range(2, V)]),
        f"calibration_kl@{k}": mean([plain_kl(a, b) for a, b in zip(shown, past, strict=True)]),
    }
    assert found == pytest.approx(expected, abs=1e-9)


def test_list_quality_when_a_list_has_the_shares_of_the_history_then_it_is_calibrated() -> None:
    found = list_quality(lists([3, 5, 4, 6], [3, 4]), sequences([3, 5], [5]), FACTS, ks=(2, 4))
    assert found["calibration_kl@4"] == pytest.approx(
        (0 + math.log(1 / 0.01)) / 2
    )  # the second shows none of its liking


def test_gini_when_one_item_takes_all_then_near_one() -> None:
    assert gini(np.array([0] * 99 + [7])) == pytest.approx(0.99)
    assert gini(np.full(10, 3)) == 0
    assert gini(np.zeros(4, int)) == 0


def test_list_quality_when_nothing_is_known_of_items_then_content_figures_are_left_out() -> None:
    facts = ItemFacts.from_catalog(ItemCatalog.blank(V), counts=COUNTS, candidates=CANDIDATES)
    found = list_quality(lists([3, 4]), sequences([5]), facts, ks=(2,))
    assert set(found) == {"popularity_percentile@2", "popularity_lift@2", "gini@2"}


def test_item_facts_when_made_from_a_catalogue_then_the_top_level_of_the_path_is_the_category() -> None:
    items = pd.DataFrame({"item_id": ["a", "b", "c", "d"], "category": ["x/1", "y", "x/2", None]})
    catalog = ItemCatalog.from_items(items, Vocabulary.from_ids(list("abcd")))
    facts = ItemFacts.from_catalog(catalog, counts=np.zeros(6, int), candidates=np.arange(6) >= 2)
    assert facts.category.tolist() == [-1, -1, 0, 1, 0, -1]
