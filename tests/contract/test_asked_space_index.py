"""An index over the few directions that users ask about: as training builds it, and as the service reads it."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest

from features.vocabulary import FIRST
from serving.retrieval.item_index import Ask, ItemIndex
from training.retrieval import indexing
from training.retrieval.asked_space import AskedSpace
from training.retrieval.indexing import build_index, exact_search

_DIM = 32
_NUM = 6_000


def _world(num_directions: int) -> tuple[np.ndarray, np.ndarray]:
    """Return items, half of them in pairs that are the same, and users of so many directions."""
    rng = np.random.default_rng(0)
    items = rng.normal(size=(_NUM, _DIM)).astype(np.float32)
    items[1::4] = items[::4]
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    users = (rng.normal(size=(900, num_directions)) @ rng.normal(size=(num_directions, _DIM))).astype(np.float32)
    users += 0.01 * rng.normal(size=users.shape).astype(np.float32)
    return items, users / np.linalg.norm(users, axis=1, keepdims=True)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SCANNED_LIMIT": 100, "_NUM_CELLS": 64, "_CELLS_VISITED": (4, 8, 16, 32, 64)}.items():
        monkeypatch.setattr(indexing, name, value)
    monkeypatch.setattr(indexing, "_MOST_VISITED", 0.5)


@pytest.mark.usefixtures("small")
def test_index_when_users_ask_about_few_directions_then_it_is_built_in_them_and_served(tmp_path: Path) -> None:
    items, users = _world(5)
    coded = np.concatenate([np.zeros((FIRST, _DIM), np.float32), items])
    tuned_on, others = users[:800], users[800:]
    built = build_index(coded, np.arange(FIRST, len(coded)), flat_limit=50, queries=tuned_on)
    assert built.about["kind"] == "IVF64,SQ8 of 15 directions,Refine(SQfp16)"
    assert built.about["directions_share"] > 0.995
    assert built.about["visited"] <= 32
    faiss.write_index(built.index, str(tmp_path / "index"))
    np.save(tmp_path / "vectors.npy", coded)
    served = ItemIndex.load(
        vectors=tmp_path / "vectors.npy", index=tmp_path / "index", available=np.ones(len(coded), bool)
    )
    exact, hits = exact_search(items, others, k=100), 0.0
    for row, user in enumerate(others):
        found = served.search(user[None], [Ask(k=100, excluded=np.zeros(0, np.int64))])
        worst = items[exact[row, -1]] @ user - 1e-4
        hits += np.mean(coded[found.item] @ user >= worst)
        np.testing.assert_allclose(found.score, coded[found.item] @ user, atol=1e-3)  # whole vectors, not codes
    assert hits / len(others) >= 0.985
    deep = served.search(others[:1], [Ask(k=1_000, excluded=np.zeros(0, np.int64))])
    assert len(np.unique(deep.item)) == 1_000


@pytest.mark.usefixtures("small")
def test_index_when_users_ask_about_everything_then_it_is_of_all_dimensions() -> None:
    items, users = _world(_DIM)
    built = build_index(items, np.arange(_NUM), flat_limit=50, queries=users)
    assert built.about["kind"] == f"IVF64,PQ{_DIM}x4fs,Refine(SQfp16)"
    assert built.about["recall@100"] >= 0.99


def test_asked_space_when_it_holds_all_directions_then_inner_products_are_those_of_the_vectors() -> None:
    items, users = _world(5)
    whole = AskedSpace.learn(users, items, num_directions=_DIM)
    np.testing.assert_allclose(
        (items[:50] @ whole.of_items.T) @ (users[:50] @ whole.of_users.T).T, items[:50] @ users[:50].T, atol=1e-2
    )
    assert whole.share == pytest.approx(1)
    assert AskedSpace.learn(users, items, num_directions=5).share > 0.99
