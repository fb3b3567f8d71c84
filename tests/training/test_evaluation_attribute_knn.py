from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from features.catalog import ItemCatalog
from features.content import ItemContent
from features.errors import DataError
from features.sequences import Sequences
from features.vocabulary import Vocabulary
from training.evaluation.baselines import AttributeKNN
from training.evaluation.baselines.attribute_knn import content_profiles

V, A = 7, 5
CANDIDATES = np.arange(V) >= 2
histories = st.lists(st.lists(st.integers(2, V - 1), max_size=5), min_size=1, max_size=4)
tables = st.lists(st.lists(st.booleans(), min_size=A, max_size=A), min_size=V, max_size=V)


def sequences(rows: list[list[int]]) -> Sequences:
    offsets = np.cumsum([0] + [len(row) for row in rows])
    return Sequences.from_arrays(offsets=offsets, item=[item for row in rows for item in row])


def unit(vector: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector


@given(table=tables, asked=histories, exclude_seen=st.booleans())
def test_attribute_knn_when_compared_with_plain_loops_then_scores_are_equal(table, asked, exclude_seen) -> None:
    has = np.array(table)
    has[:2] = False
    num_items = max(1, int(has.any(axis=1).sum()))
    idf = np.array([np.log(num_items / n) if n else 0.0 for n in has.sum(axis=0)])
    vectors = np.array([unit(row * idf) for row in has])
    fitted = AttributeKNN.from_matrix(sparse.csr_array(has.astype(float)), candidates=CANDIDATES)
    found = fitted.recommend(sequences(asked), k=V, exclude_seen=exclude_seen)
    for user, row in enumerate(asked):
        query = unit(sum((0.6**age * vectors[item] for age, item in enumerate(reversed(row))), np.zeros(A)))
        cosine = vectors @ query
        expected = {item for item in range(2, V) if cosine[item] > 1e-6} - (set(row) if exclude_seen else set())
        items, scores = found.list_of(user)
        assert set(items.tolist()) == expected
        assert scores == pytest.approx(cosine[items], abs=1e-5)


def test_attribute_knn_when_rows_do_not_match_the_items_then_error_counts_both() -> None:
    with pytest.raises(DataError, match="a row for each of 7 item codes, found 3"):
        AttributeKNN.from_matrix(sparse.csr_array(np.eye(3)), candidates=CANDIDATES)


def test_attribute_knn_when_items_are_described_alike_then_each_is_first_as_often() -> None:
    has = np.zeros((V, A))
    has[[2, 3, 4, 5], 0] = 1
    has[6, 1] = 1
    fitted = AttributeKNN.from_matrix(sparse.csr_array(has), candidates=CANDIDATES)
    found = fitted.recommend(sequences([[2]] * 600), k=1, exclude_seen=True)
    shares = np.bincount(found.item, minlength=V)[3:6] / 600
    assert shares == pytest.approx([1 / 3] * 3, abs=0.08)  # 4 standard errors


def items_table() -> tuple[ItemCatalog, Vocabulary]:
    items = pd.DataFrame(
        {
            "item_id": ["tea", "mate", "saw", "new", "bare"],
            "title": ["Green tea", "Green mate", "Hand saw", "White tea", None],
            "category": ["food/tea", "food/tea", "tools/saws", "food/tea", None],
            "brand": ["Leaf", "Leaf", "Steel", None, None],
            "price": [100, 200, 900, 110, None],
        }
    )
    vocabulary = Vocabulary.from_ids(items["item_id"].tolist())
    return ItemCatalog.from_items(items, vocabulary), vocabulary


def test_attribute_knn_when_an_item_is_new_then_content_ranks_it_and_blank_items_are_not_shown() -> None:
    catalog, vocabulary = items_table()
    content = ItemContent.from_catalog(catalog, num_title_buckets=1000)
    fitted = AttributeKNN.from_content(content, candidates=catalog.available)
    history = sequences([vocabulary.encode(["tea"]).tolist()])
    ranked = vocabulary.decode(fitted.recommend(history, k=9, exclude_seen=True).item)
    assert list(ranked[:2]) == ["mate", "new"]  # three fields alike, then two of three
    assert "bare" not in ranked


def test_attribute_knn_when_items_have_labels_alone_then_content_and_matrix_give_the_same() -> None:
    items = pd.DataFrame({"item_id": list("abc"), "labels": ["1|2", "2|3", "3"]})
    catalog = ItemCatalog.from_items(items, Vocabulary.from_ids(list("abc")))
    content = ItemContent.from_catalog(catalog, num_title_buckets=10)
    by_content = AttributeKNN.from_content(content, candidates=catalog.available)
    has = np.array([[0, 0, 0], [0, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]])
    by_matrix = AttributeKNN.from_matrix(sparse.csr_array(has), candidates=catalog.available)
    assert by_content.profiles.toarray() == pytest.approx(by_matrix.profiles.toarray())


def test_content_profiles_when_fields_are_many_or_few_then_each_counts_alike() -> None:
    catalog, vocabulary = items_table()
    profiles = content_profiles(ItemContent.from_catalog(catalog, num_title_buckets=1000)).toarray()
    assert np.linalg.norm(profiles, axis=1) == pytest.approx([0, 0, 1, 1, 1, 1, 0])
    tea, mate, saw, new = (profiles[code] for code in vocabulary.encode(["tea", "mate", "saw", "new"]))
    assert tea @ mate > tea @ new > tea @ saw
