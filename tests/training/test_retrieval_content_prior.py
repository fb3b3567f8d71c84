"""Item vectors between what was learned and what their content says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from features.catalog import ItemCatalog
from features.errors import ConfigError
from features.vocabulary import FIRST, Vocabulary
from training.retrieval.config import RetrievalConfig, TowerConfig
from training.retrieval.content_prior import ContentPrior, ridge, unit

DIM = 6


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), num_rows=st.integers(1, 40), num_columns=st.integers(1, 30))
def test_ridge_when_any_matrix_then_equals_the_normal_equations(seed: int, num_rows: int, num_columns: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(num_rows, num_columns)) * (rng.random((num_rows, num_columns)) < 0.3)
    y = rng.normal(size=(num_rows, DIM))
    expected = np.linalg.solve(x.T @ x + 0.5 * np.eye(num_columns), x.T @ y)
    np.testing.assert_allclose(ridge(sparse.csr_array(x), y, penalty=0.5), expected, atol=1e-2)


def _world(num_brands: int = 4, a_brand: int = 25) -> tuple[ItemCatalog, np.ndarray, np.ndarray]:
    """Items lie around their brand's vector; the last of each brand has no events and a vector that says nothing."""
    rng = np.random.default_rng(0)
    brand = np.repeat(np.arange(num_brands), a_brand)
    ids = [f"i{number}" for number in range(len(brand))]
    items = pd.DataFrame({"item_id": ids, "brand": [f"b{number}" for number in brand]})
    centre = unit(rng.normal(size=(num_brands, DIM)))
    vecs = np.zeros((FIRST + len(brand), DIM), np.float32)
    vecs[FIRST:] = unit(centre[brand] + 0.2 * rng.normal(size=(len(brand), DIM)))
    events = np.full(len(vecs), 1000)
    events[:FIRST] = 0
    is_new = np.concatenate([np.zeros(FIRST, bool), np.arange(len(brand)) % a_brand == a_brand - 1])
    events[is_new] = 0
    vecs[is_new] = unit(rng.normal(size=(num_brands, DIM)))
    return ItemCatalog.from_items(items, Vocabulary.from_ids(ids)), vecs, events


def _prior(catalog: ItemCatalog, events: np.ndarray, **settings: float) -> ContentPrior:
    config = RetrievalConfig(tower=TowerConfig(dim=DIM, num_heads=1, num_title_buckets=1), **settings)  # type: ignore[arg-type]
    return ContentPrior.of(catalog, np.repeat(np.arange(len(events)), events), config)


def test_prior_when_an_item_is_new_then_it_lies_where_its_brand_does() -> None:
    catalog, vecs, events = _world()
    moved = _prior(catalog, events, content_events=2.0).applied(vecs)
    for brand in range(4):
        of_brand = np.arange(FIRST + 25 * brand, FIRST + 25 * brand + 24)
        assert moved[FIRST + 25 * brand + 24] @ unit(vecs[of_brand].mean(0)[None])[0] > 0.98
    np.testing.assert_allclose(np.linalg.norm(moved[FIRST:], axis=1), 1, atol=1e-5)
    assert not moved[:FIRST].any()


def test_prior_when_events_are_few_then_content_counts_as_so_many_more() -> None:
    """An item with 2 events and ``content_events=2`` ends half-way; one with 1,000 events hardly moves."""
    catalog, vecs, events = _world()
    events[FIRST] = 2
    moved = _prior(catalog, events, content_events=2.0).applied(vecs)
    said = _prior(catalog, events, content_events=1e9).applied(vecs)  # content alone
    np.testing.assert_allclose(moved[FIRST], unit((vecs[FIRST] + said[FIRST])[None])[0], atol=1e-4)
    assert np.abs(moved[FIRST + 1] - vecs[FIRST + 1]).max() < 0.005


def test_prior_when_a_length_is_set_then_new_items_alone_have_it() -> None:
    catalog, vecs, events = _world()
    lengths = np.linalg.norm(_prior(catalog, events, content_events=2.0, new_item_length=0.9).applied(vecs), axis=1)
    np.testing.assert_allclose(lengths[FIRST:], np.where(events[FIRST:] == 0, 0.9, 1), atol=1e-5)


def test_prior_when_nothing_is_known_of_items_then_they_stay_as_learned() -> None:
    _, vecs, events = _world()
    blank = ItemCatalog.blank(len(vecs))
    np.testing.assert_array_equal(_prior(blank, events, content_events=2.0).applied(vecs), vecs)


def test_prior_when_off_then_vectors_stay_and_no_content_is_read() -> None:
    catalog, vecs, events = _world()
    prior = _prior(catalog, events)
    assert prior.profiles.nnz == 0
    np.testing.assert_array_equal(prior.applied(vecs), vecs)


def test_prior_when_applied_then_the_given_vectors_are_unmodified() -> None:
    catalog, vecs, events = _world()
    before = vecs.copy()
    _prior(catalog, events, content_events=2.0).applied(vecs)
    np.testing.assert_array_equal(vecs, before)


@pytest.mark.parametrize("settings", [{"content_events": -1.0}, {"new_item_length": 0.0}])
def test_config_when_a_setting_makes_no_sense_then_it_says_so(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        RetrievalConfig(**settings)  # type: ignore[arg-type]
