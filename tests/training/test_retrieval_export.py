"""The exported part answers as the towers do."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pandas as pd
import pytest
import torch

from features.catalog import ItemCatalog
from features.columns import EVENT_TYPE_CODES
from features.errors import DataError
from features.release import Part, ReleaseStore, layout, write_part
from features.sequences import Sequences
from features.splits import Holdout
from features.vocabulary import FIRST, Vocabulary
from training.retrieval import indexing
from training.retrieval.config import TowerConfig
from training.retrieval.export import favourites, item_vectors, write_files
from training.retrieval.indexing import build_index
from training.retrieval.questions import Questions, user_vectors
from training.retrieval.recommender import TwoTowerRecommender
from training.retrieval.towers import TwoTower

NUM_CODES, MAX_LENGTH = 40, 7
CANDIDATES = np.arange(5, 35)


def random_sequences(num_users: int, *, longest: int, seed: int) -> Sequences:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest + 1, num_users)
    return Sequences.from_arrays(
        offsets=np.cumsum([0, *lengths]),
        item=rng.integers(1, NUM_CODES, lengths.sum()),  # UNKNOWN is met too
        event_type=rng.integers(1, 10, lengths.sum()),
        ts=np.concatenate([np.cumsum(rng.integers(1, 10**11, n)) for n in lengths]),
        price_band=rng.integers(0, 6, lengths.sum()),
    )


@pytest.fixture(scope="module", params=["attention", "ligr"])
def towers(request: pytest.FixtureRequest) -> TwoTower:
    torch.manual_seed(0)
    config = TowerConfig(dim=16, num_layers=2, mixer=request.param, num_heads=2, max_length=MAX_LENGTH, dropout=0.5)
    towers = TwoTower(config, known=torch.ones(NUM_CODES, dtype=torch.bool), num_price_bands=5, content=None)
    with torch.no_grad():  # larger than at the start of training, so that a mistake shows
        for parameter in towers.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return towers.eval()


@pytest.fixture(scope="module")
def part(towers: TwoTower, tmp_path_factory: pytest.TempPathFactory) -> Part:
    root: Path = tmp_path_factory.mktemp("store")
    catalog = ItemCatalog.blank(NUM_CODES)
    with write_part(root, "retrieval", data_fingerprint="f") as draft:
        write_files(
            draft.directory,
            towers,
            vocabulary=Vocabulary.from_ids([f"i{code}" for code in range(FIRST, NUM_CODES)]),
            catalog=catalog,
            candidates=CANDIDATES,
            favourites=favourites(
                random_sequences(20, longest=5, seed=0), catalog, candidates=CANDIDATES, as_of_us=0, days=28
            ),
            flat_index_limit=1000,
        )
        draft.about["max_length"] = MAX_LENGTH
    found = ReleaseStore(root=root).latest_part("retrieval")
    assert found is not None
    return found


@pytest.mark.parametrize(("num_users", "longest"), [(1, 1), (1, 5), (3, 1), (64, 20)])
def test_exported_tower_when_batch_and_length_vary_then_equals_torch(
    part: Part, towers: TwoTower, num_users: int, longest: int
) -> None:
    query = random_sequences(num_users, longest=longest, seed=num_users + longest)
    exported = TwoTowerRecommender.from_part(part).encode_users(query)
    np.testing.assert_allclose(exported, user_vectors(towers, query).numpy(), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(exported, axis=1), 1, atol=1e-5)


def test_exported_tower_when_batched_then_equals_one_by_one(part: Part) -> None:
    recommender = TwoTowerRecommender.from_part(part)
    query = random_sequences(12, longest=9, seed=4)
    alone = np.concatenate([recommender.encode_users(query.take([user])) for user in range(12)])
    np.testing.assert_allclose(recommender.encode_users(query), alone, atol=1e-5)


def test_exported_tower_when_users_are_many_then_a_slice_at_a_time_answers_alike(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, encode = random_sequences(12, longest=9, seed=5), TwoTowerRecommender.from_part(part).encode_users
    whole = encode(query)
    monkeypatch.setattr("training.retrieval.recommender._USERS_A_RUN", 5)
    np.testing.assert_allclose(encode(query), whole, atol=1e-5)


def test_validation_when_candidates_are_few_then_an_item_that_is_none_is_no_hit(towers: TwoTower) -> None:
    """Three candidates fill three places; the other seven of the first ten are empty."""
    query = Sequences.from_arrays(offsets=[0, 1], item=[20])
    asked = Holdout(users=np.array([0]), query=query, targets=Sequences.from_arrays(offsets=[0, 1], item=[2]))
    others = [Questions(holdout=asked, candidates=torch.tensor([30, 31, code]), exclude_seen=False) for code in (32, 2)]
    assert others[0].ndcg_at_10(towers) == 0
    assert others[1].ndcg_at_10(towers) >= 0.5  # the target is one of three


def test_validation_when_all_targets_were_seen_then_it_says_what_to_set() -> None:
    seen = Sequences.from_arrays(offsets=[0, 1], item=[20])
    holdout = Holdout(users=np.array([0]), query=seen, targets=seen)
    with pytest.raises(DataError, match="found repeats only; set exclude_seen to false"):
        Questions.draw(holdout, candidates=torch.tensor([20]), exclude_seen=True, most=5, seed=0)


def test_recommend_when_seen_is_excluded_then_equals_brute_force_over_candidates(part: Part, towers: TwoTower) -> None:
    query = random_sequences(9, longest=12, seed=7)
    answers = TwoTowerRecommender.from_part(part).recommend(query, k=10, exclude_seen=True)
    scores = user_vectors(towers, query).numpy() @ item_vectors(towers).T
    for user in range(9):
        allowed = [code for code in CANDIDATES if code not in set(query.items_of(user))]
        expected = sorted(allowed, key=lambda code: -scores[user, code])[:10]
        assert answers.list_of(user)[0].tolist() == expected


def test_recommend_when_history_is_empty_then_no_answer(part: Part) -> None:
    query = Sequences.from_arrays(offsets=[0, 0, 1], item=[6])
    answers = TwoTowerRecommender.from_part(part).recommend(query, k=50, exclude_seen=False)
    assert np.diff(answers.offsets).tolist() == [0, len(CANDIDATES)]  # a short list stays short


def test_part_when_written_then_index_holds_the_candidates_alone(part: Part) -> None:
    vecs = np.load(part.path(layout.ITEM_VECTORS))
    assert (vecs[:FIRST] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(vecs[FIRST:], axis=1), 1, atol=1e-5)
    index = faiss.read_index(str(part.path(layout.INDEX)))
    _, found = index.search(vecs[CANDIDATES[:3]], 1)
    assert found[:, 0].tolist() == CANDIDATES[:3].tolist()
    assert index.ntotal == len(CANDIDATES)


@pytest.mark.parametrize("scanned_limit", [5000, 100])
def test_index_when_over_the_flat_limit_then_nearly_right_and_says_how_nearly(
    scanned_limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "SCANNED_LIMIT", scanned_limit)
    monkeypatch.setattr(indexing, "_NUM_CELLS", 32)
    rng = np.random.default_rng(0)
    vecs, queries = (rng.normal(size=(number, 16)).astype(np.float32) for number in (3000, 50))
    vecs /= np.linalg.norm(vecs, axis=1, keepdims=True)
    codes = np.arange(FIRST, 3000)
    exact, graph = (build_index(vecs, codes, flat_limit=limit, queries=queries) for limit in (5000, 100))
    right, found = exact.index.search(queries, 100)[1], graph.index.search(queries, 100)[1]
    recall = np.mean([len(set(a) & set(b)) / 100 for a, b in zip(right, found, strict=True)])
    assert exact.about == {"kind": "Flat", "num_items": 2998}
    assert recall >= 0.99
    assert graph.about["recall@100"] == pytest.approx(recall, abs=1e-3)
    assert ("visited" in graph.about) is (scanned_limit == 100)


def test_favourites_when_some_are_old_then_recent_purchases_count() -> None:
    day = 86_400_000_000
    purchase, view = EVENT_TYPE_CODES["purchase"], EVENT_TYPE_CODES["view"]
    sequences = Sequences.from_arrays(
        offsets=[0, 6],
        item=[9, 9, 9, 8, 8, 7],
        event_type=[purchase, purchase, view, purchase, purchase, purchase],
        ts=[day, 2 * day, 95 * day, 96 * day, 97 * day, 98 * day],
    )
    catalog = ItemCatalog.blank(NUM_CODES)
    table = favourites(sequences, catalog, candidates=CANDIDATES, as_of_us=100 * day, days=28)
    expected = pd.DataFrame({"item_code": [8, 7], "score": [2.0, 1.0], "category": ["", ""]})
    pd.testing.assert_frame_equal(table, expected, check_dtype=False)
