"""FAISS and exact search, beside brute force."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from features.vocabulary import FIRST
from serving.retrieval import item_index
from serving.retrieval.item_index import Ask, ItemIndex


def make(kind: str, *, num_items: int = 3000, dim: int = 16, seed: int = 1) -> tuple[ItemIndex, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((num_items + FIRST, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[:FIRST] = 0
    available = rng.random(len(vectors)) < 0.9
    index = faiss.index_factory(dim, kind, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)  # rows are codes, PAD and UNKNOWN among them
    return ItemIndex(vectors=vectors, index=index, available=available), vectors, available


def brute_force(vectors: np.ndarray, vector: np.ndarray, keep: np.ndarray, k: int) -> list[int]:
    codes = np.flatnonzero(keep)
    codes = codes[codes >= FIRST]
    return codes[np.argsort(-(vectors[codes] @ vector), kind="stable")][:k].tolist()


KINDS = {
    "Flat": 0.999,
    "HNSW32": 0.9,
    "PQ16x4fs,Refine(SQfp16)": 0.9,
    "IVF16,PQ16x4fs,Refine(SQfp16)": 0.2,  # one of 16
    "IVF64,Flat": 0.2,  # one cell of 64
}


@pytest.mark.parametrize("few", [0, 40_000])
@pytest.mark.parametrize("kind", list(KINDS))
def test_search_when_items_are_excluded_or_filtered_then_no_list_is_short(
    kind: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_index, "_FEW_ITEMS", few)
    index, vectors, available = make(kind)
    rng = np.random.default_rng(2)
    users = rng.standard_normal((40, 16)).astype(np.float32)
    asks, keeps = [], []
    for question in range(40):
        keep = available.copy()
        excluded = np.sort(rng.choice(np.arange(FIRST, len(vectors)), 10 * question, replace=False))
        allowed = None if question % 2 else np.flatnonzero(rng.random(len(vectors)) < question / 40)
        keep[excluded] = False
        if allowed is not None:
            keep &= np.isin(np.arange(len(vectors)), allowed)
        keep[:FIRST] = False
        asks.append(Ask(k=25, excluded=excluded, allowed=allowed))
        keeps.append(keep)
    found = index.search(users, asks)
    hits = 0
    for question, ask in enumerate(asks):
        codes, scores = found.list_of(question)
        assert keeps[question][codes].all()
        assert len(codes) == min(ask.k, keeps[question].sum())
        np.testing.assert_allclose(
            scores, vectors[codes] @ users[question], rtol=1e-2 if "fp16" in kind else 1e-5, atol=1e-3
        )
        best = brute_force(vectors, users[question], keeps[question], ask.k)
        hits += len(set(best) & set(codes.tolist()))
        if kind == "Flat":
            assert codes.tolist() == best
    total = sum(min(25, keep.sum()) for keep in keeps)
    assert hits / total > KINDS[kind]


def test_search_when_a_filter_takes_just_what_is_nearest_then_the_index_is_asked_deeper(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(item_index, "_FEW_ITEMS", 0)
    index, vectors, available = make("Flat")
    user = np.random.default_rng(2).standard_normal((1, 16)).astype(np.float32)
    nearest = brute_force(vectors, user[0], available, 60)
    keep = available.copy()
    keep[nearest] = False
    monkeypatch.setattr(index, "search_exactly", lambda *_: pytest.fail("asked for every item"))
    found, _ = index.search(user, [Ask(k=25, excluded=np.zeros(0, np.int64), allowed=np.flatnonzero(keep))]).list_of(0)
    assert found.tolist() == brute_force(vectors, user[0], keep, 25)


def test_search_when_nothing_is_allowed_then_the_list_is_empty() -> None:
    index, _, _ = make("Flat", num_items=50)
    nothing = np.zeros(0, np.int64)
    found = index.search(np.ones((1, 16), np.float32), [Ask(k=5, excluded=nothing, allowed=nothing)])
    assert found.list_of(0)[0].tolist() == []


def test_search_exactly_when_scores_tie_then_the_smaller_code_comes_first() -> None:
    vectors = np.zeros((6, 2), np.float32)
    vectors[2:] = [1, 0]
    flat = faiss.IndexFlatIP(2)
    flat.add(vectors)
    index = ItemIndex(vectors=vectors, index=flat, available=np.ones(6, bool))
    codes, scores = index.search_exactly(np.array([1, 0], np.float32), Ask(k=9, excluded=np.array([3])))
    assert codes.tolist() == [2, 4, 5]
    assert scores.tolist() == [1, 1, 1]


def test_search_exactly_when_scores_tie_at_the_last_place_then_the_smaller_codes_are_kept() -> None:
    vectors = np.zeros((502, 2), np.float32)
    vectors[2:] = [1, 0]
    vectors[300] = [0, 1]
    flat = faiss.IndexFlatIP(2)
    flat.add(vectors)
    index = ItemIndex(vectors=vectors, index=flat, available=np.ones(502, bool))
    codes, _ = index.search_exactly(np.array([1, 2], np.float32), Ask(k=5, excluded=np.zeros(0, np.int64)))
    assert codes.tolist() == [300, 2, 3, 4, 5]


def test_search_when_the_index_holds_only_candidates_then_no_other_item_is_answered() -> None:
    vectors = np.eye(8, dtype=np.float32)
    candidates = np.array([2, 5, 6])
    mapped = faiss.IndexIDMap2(faiss.IndexFlatIP(8))
    mapped.add_with_ids(vectors[candidates], candidates)
    available = np.ones(8, bool)
    available[6] = False
    index = ItemIndex(vectors=vectors, index=mapped, available=available)
    asks = [Ask(k=8, excluded=np.zeros(0, np.int64), allowed=allowed) for allowed in (None, np.array([2, 3, 4]))]
    found = index.search(np.ones((2, 8), np.float32), asks)
    assert [found.list_of(question)[0].tolist() for question in range(2)] == [[2, 5], [2]]


def test_search_when_a_filter_leaves_little_then_exactly_what_brute_force_finds() -> None:
    index, vectors, available = make("IVF64,PQ16x4fs,Refine(SQfp16)", num_items=20_000)
    rng = np.random.default_rng(3)
    users = rng.standard_normal((20, 16)).astype(np.float32)
    kept = [rng.random(len(vectors)) < share for share in np.linspace(0.0005, 0.045, 20)]
    asks = [Ask(k=30, excluded=np.zeros(0, np.int64), allowed=np.flatnonzero(one)) for one in kept]
    found = index.search(users, asks)
    for question, keep in enumerate(kept):
        best = brute_force(vectors, users[question], keep & available, 30)
        assert found.list_of(question)[0].tolist() == best


def test_search_when_lists_differ_in_depth_then_each_is_as_where_asked_alone() -> None:
    index, _, _ = make("PQ16x4fs,Refine(SQfp16)", num_items=20_000)
    rng = np.random.default_rng(4)
    users = rng.standard_normal((6, 16)).astype(np.float32)
    asks = [
        Ask(k=10 + 40 * n, excluded=np.sort(rng.choice(np.arange(2, 20_000), 50 * n, replace=False))) for n in range(6)
    ]
    together = index.search(users, asks)
    for question, ask in enumerate(asks):
        alone = index.search(users[question : question + 1], [ask])
        assert together.list_of(question)[0].tolist() == alone.list_of(0)[0].tolist()
