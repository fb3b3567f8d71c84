"""An index in shards on disk: as training builds and changes it, and as the service maps it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from features.errors import ReleaseError
from features.release import layout
from features.vocabulary import FIRST
from serving.retrieval.cell_index import CellIndex
from serving.retrieval.item_index import Ask, ItemIndex
from training.retrieval import cells, indexing
from training.retrieval.cell_update import update_cells
from training.retrieval.cells import build_cells, exact_rows

_DIM = 32
_NUM = 4_000
_CANDIDATES = np.arange(FIRST, FIRST + _NUM - 100)


def _unit(vecs: np.ndarray) -> np.ndarray:
    return np.asarray(vecs / np.linalg.norm(vecs, axis=1, keepdims=True), np.float32)


def _world(num_directions: int) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors by code, and users of so many directions."""
    rng = np.random.default_rng(0)
    coded = np.concatenate([np.zeros((FIRST, _DIM)), _unit(rng.normal(size=(_NUM, _DIM)))]).astype(np.float32)
    users = rng.normal(size=(400, num_directions)) @ rng.normal(size=(num_directions, _DIM))
    return coded, _unit(users + 0.01 * rng.normal(size=users.shape))


@pytest.fixture(scope="module", params=[5, _DIM], ids=["few directions", "all directions"])
def world(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    return _world(request.param)


def _built(directory: Path, vecs: np.ndarray, users: np.ndarray, codes: np.ndarray = _CANDIDATES) -> dict:
    directory.mkdir()
    np.save(directory / layout.ITEM_VECTORS, vecs)
    mapped = np.load(directory / layout.ITEM_VECTORS, mmap_mode="r")
    return build_cells(directory, mapped, codes, queries=users[:200], recall=0.95, num_cells=40, num_asked=100)


def _served(directory: Path) -> ItemIndex:
    vectors = directory / layout.ITEM_VECTORS
    num_codes = len(np.load(vectors, mmap_mode="r"))
    return ItemIndex.load(vectors=vectors, index=directory / layout.INDEX, available=np.ones(num_codes, bool))


def _ask(k: int = 100, allowed: np.ndarray | None = None, excluded: np.ndarray | None = None) -> Ask:
    return Ask(k=k, excluded=np.zeros(0, np.int64) if excluded is None else excluded, allowed=allowed)


def _recall(index: ItemIndex, vecs: np.ndarray, users: np.ndarray, codes: np.ndarray) -> float:
    """Count by brute force."""
    shares = []
    for user in users:
        best = codes[np.argsort(-(vecs[codes] @ user))[:100]]
        shares.append(len(set(index.search(user[None], [_ask()]).item) & set(best)) / 100)
    return float(np.mean(shares))


def test_cells_when_built_then_served_recall_is_what_the_manifest_says(
    tmp_path: Path, world: tuple[np.ndarray, np.ndarray]
) -> None:
    vecs, users = world
    about = _built(tmp_path / "part", vecs, users)
    served = _served(tmp_path / "part")
    tuned_on = cells.split_queries(vecs, _CANDIDATES, users[:200], 100)[0]
    assert about["reaches_bar"]
    if "15 directions" in about["kind"]:  # in all of them random items have no neighbours, and every cell is visited
        assert about["visited"] < about["cells"]
    assert about["recall@100"] == pytest.approx(_recall(served, vecs, tuned_on, _CANDIDATES), abs=2e-3)
    assert _recall(served, vecs, users[200:], _CANDIDATES) >= 0.94  # whom nothing was tuned to
    assert served.num_available == len(_CANDIDATES)


def test_cells_when_filtered_or_excluded_then_answers_are_exact_or_of_what_is_left(
    tmp_path: Path, world: tuple[np.ndarray, np.ndarray]
) -> None:
    vecs, users = world
    _built(tmp_path / "part", vecs, users)
    served, user = _served(tmp_path / "part"), users[300]
    some = _CANDIDATES[::7]
    best = some[np.argsort(-(vecs[some] @ user))[:100]]
    assert served.search(user[None], [_ask(allowed=some)]).item.tolist() == best.tolist()
    first = served.search(user[None], [_ask()])
    np.testing.assert_allclose(first.score, vecs[first.item] @ user, atol=1e-5)  # by whole vectors
    second = served.search(user[None], [_ask(excluded=np.sort(first.item))])
    assert len(second.item) == 100
    assert not set(first.item) & set(second.item)
    everything = served.search(user[None], [_ask(k=_NUM)]).item
    assert sorted(everything.tolist()) == _CANDIDATES.tolist()


def test_cells_when_in_many_shards_then_answers_are_those_of_one_and_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vecs, users = _world(5)
    one = _built(tmp_path / "one", vecs, users)
    monkeypatch.setattr(cells, "SHARD_BYTES", 10_000)
    many = _built(tmp_path / "many", vecs, users)
    assert (one["shards"], many["shards"] > 5) == (1, True)
    indexes = [CellIndex(tmp_path / name, vecs) for name in ("one", "many")]
    answers = [index.search(users[200:], 50) for index in indexes]
    np.testing.assert_array_equal(answers[0][1], answers[1][1])
    np.testing.assert_array_equal(answers[0][0], answers[1][0])
    in_memory = cells.Cells.learn(
        vecs, _CANDIDATES, cells.split_queries(vecs, _CANDIDATES, users[:200], 100)[1], num_cells=40
    )
    in_memory.add(vecs, _CANDIDATES)
    settings = {"visited": many["visited"], "reranked": many["reranked"], "recall": 0.95}
    exact = exact_rows(vecs, _CANDIDATES, users[200:], k=100)
    mapped, _kept_alive, codes = cells.opened(tmp_path / "many")
    assert codes.tolist() == _CANDIDATES.tolist()
    assert cells.measured(in_memory.index, vecs, users[200:], exact, **settings) == cells.measured(
        mapped, vecs, users[200:], exact, **settings
    )


def test_update_when_items_come_and_go_then_it_equals_what_never_changed(tmp_path: Path) -> None:
    vecs, users = _world(5)
    _built(tmp_path / "before", vecs, users)
    more = np.concatenate([vecs, _unit(np.random.default_rng(1).normal(size=(300, _DIM)))])
    new = np.arange(len(vecs), len(more))

    def updated(source: str, target: str, vecs: np.ndarray, codes: np.ndarray) -> dict:
        (tmp_path / target).mkdir()
        np.save(tmp_path / target / layout.ITEM_VECTORS, vecs)
        return update_cells(tmp_path / source, tmp_path / target, vecs, codes, queries=users[:200], recall=0.95)

    grown = updated("before", "grown", more, np.concatenate([_CANDIDATES[50:], new]))
    assert (grown["added"], grown["removed"]) == (300, 50)
    served = _served(tmp_path / "grown")
    codes = np.concatenate([_CANDIDATES[50:], new])
    assert _recall(served, more, users[200:], codes) >= 0.94
    for code in (new[0], new[-1]):
        assert served.search(more[code][None], [_ask(k=1)]).item.tolist() == [code]
    back = updated("grown", "back", more, _CANDIDATES)
    assert (back["added"], back["removed"]) == (50, 300)
    answers = [CellIndex(tmp_path / name, more).search(users[200:], 50) for name in ("before", "back")]
    np.testing.assert_array_equal(answers[0][1], answers[1][1])


def test_exact_rows_when_read_in_blocks_then_they_are_those_of_one_product(monkeypatch: pytest.MonkeyPatch) -> None:
    vecs, users = _world(_DIM)
    monkeypatch.setattr(cells, "BLOCK", 333)
    expected = _CANDIDATES[np.argsort(-(users[:20] @ vecs[_CANDIDATES].T), axis=1)[:, :30]]
    np.testing.assert_array_equal(exact_rows(vecs, _CANDIDATES, users[:20], k=30), expected)


def test_write_index_when_items_are_millions_then_in_shards_and_a_miss_is_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    vecs, users = _world(_DIM)
    monkeypatch.setattr(indexing, "WHOLE_LIMIT", 1_000)
    monkeypatch.setattr(cells, "_VISITED_SHARES", ())
    monkeypatch.setattr(cells, "_RERANKED", 1)  # a byte a direction alone cannot order them
    about = indexing.write_index(tmp_path, vecs, _CANDIDATES, flat_limit=10, queries=users, least_recall=0.9999)
    assert not about["reaches_bar"]
    assert "items are missing from lists" in caplog.text
    assert indexing.codes_of(tmp_path / layout.INDEX).tolist() == _CANDIDATES.tolist()


def test_cells_when_of_another_format_or_torn_then_the_error_names_the_file(tmp_path: Path) -> None:
    vecs, users = _world(5)
    _built(tmp_path / "part", vecs, users)
    plan = tmp_path / "part" / layout.INDEX_SEARCH
    text = plan.read_text()
    plan.write_text(json.dumps(json.loads(text) | {"format": 9}))
    with pytest.raises(ReleaseError, match="found 9; upgrade Footfall"):
        _served(tmp_path / "part")
    plan.write_text(text)
    shard = tmp_path / "part" / layout.INDEX_SHARD.format(0)
    shard.write_bytes(shard.read_bytes()[:10])
    with pytest.raises(ReleaseError, match=r"index-00000\.faiss"):
        _served(tmp_path / "part")
