"""Items come and go between trainings: codes stay, new items stand by their content, the index is measured again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from features.build import FeatureSet
from features.contract.data_directory import write_data_directory
from features.errors import ReleaseError
from features.release import Part, ReleaseStore, layout, write_part
from features.repeats.repurchase import RepurchaseModel
from features.settings import EngineSettings, ShopSettings
from features.vocabulary import FIRST, Vocabulary
from tests.features.model_features import build_model_features
from training.retrieval import cells, indexing
from training.retrieval.config import TowerConfig
from training.retrieval.export import favourites, write_files
from training.retrieval.indexing import codes_of
from training.retrieval.item_changes import ItemChanges, Placement
from training.retrieval.recommender import TwoTowerRecommender
from training.retrieval.refresh_items import refresh_items
from training.retrieval.towers import TwoTower

_OLD = [f"i{number:02d}" for number in range(60)]
_GONE = _OLD[:3]
_NEW = ["a-new", "b-new", "z-new"]
_CONFIG = {"min_item_events": 1, "flat_index_limit": 1_000, "tower": {"content": True, "num_title_buckets": 50}}


def _features(root: Path, *, newer: bool) -> Path:
    """Each of 40 customers buys one item a day; the newer shop has three items more, and three no longer."""
    ids = [*_OLD, *_NEW] if newer else _OLD
    user, day = (grid.ravel() for grid in np.meshgrid(np.arange(40), np.arange(12), indexing="ij"))
    events = pd.DataFrame(
        {
            "user_id": [f"u{number:02d}" for number in user],
            "event_type": "purchase",
            "ts": pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(day, "D"),
            "item_id": [ids[one] for one in (user * 7 + day) % len(ids)],
            "event_id": [f"e{number}" for number in range(len(user))],
        }
    )
    items = pd.DataFrame({"item_id": ids, "category": ["tea" if n % 2 else "mugs" for n in range(len(ids))]})
    items["title"] = items["category"] + " of " + items["item_id"]
    items["active"] = ~items["item_id"].isin(_GONE) | (not newer)
    engine = EngineSettings(threads=1)
    write_data_directory(
        root / "data", {"events": events, "items": items}, shop=ShopSettings(), source="test", engine=engine
    )
    build_model_features(root / "data", root / "features", engine=engine)
    return root / "features"


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _features(tmp_path_factory.mktemp("newer"), newer=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one part."""
    root = tmp_path_factory.mktemp("older")
    found = FeatureSet.load(_features(root, newer=False))
    torch.manual_seed(0)
    towers = TwoTower(
        TowerConfig(dim=16, num_heads=2, max_length=7),
        known=torch.ones(len(found.vocabulary), dtype=torch.bool),
        num_price_bands=5,
        content=None,
    ).eval()
    candidates = np.arange(FIRST, len(found.vocabulary))
    with write_part(root / "store", "retrieval", data_fingerprint="f", run_id="r") as draft:
        about = write_files(
            draft.directory,
            towers,
            vocabulary=found.vocabulary,
            catalog=found.catalog,
            candidates=candidates,
            favourites=favourites(found.sequences, found.catalog, candidates=candidates, as_of_us=0, days=28),
            flat_index_limit=1_000,
        )
        end_us = int(found.sequences.ts.max()) + 1
        RepurchaseModel.fit(found.sequences, found.catalog, as_of_us=end_us).save(draft.directory / layout.REPURCHASE)
        draft.about.update(about | {"max_length": 7, "event_types": ["purchase"], "config": _CONFIG})
    return root / "store"


def _newest(store: Path) -> Part:
    part = ReleaseStore(root=store).latest_part("retrieval")
    assert part is not None
    return part


def test_refresh_when_items_came_and_went_then_codes_stay_and_new_ones_are_found(
    trained: Path, newer: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(trained, store)
    base = _newest(store)
    result = refresh_items(newer, store)
    part = _newest(store)
    assert (result["base"], result["added"], result["removed"], result["num_items"]) == (base.version, 3, 3, 60)
    assert part.about["items"]["changed_share"] == pytest.approx(6 / 60)
    before, after = (Vocabulary.load(one.path(layout.VOCABULARY)) for one in (base, part))
    assert after.ids.tolist() == [*before.ids, *_NEW]  # at their places, though new ids would sort before them
    old, vecs = (np.load(one.path(layout.ITEM_VECTORS)) for one in (base, part))
    np.testing.assert_array_equal(vecs[: len(old)], old)
    np.testing.assert_allclose(np.linalg.norm(vecs[len(old) :], axis=1), 1, atol=1e-5)
    expected = sorted({*after.encode(_OLD), *after.encode(_NEW)} - set(after.encode(_GONE)))
    assert codes_of(part.path(layout.INDEX)).tolist() == expected
    assert len(RepurchaseModel.load(part.path(layout.REPURCHASE)).cycles.again) == len(after)
    # A history of old items reads as it did; one with a new item reads that item too.
    towers = [TwoTowerRecommender.from_part(one) for one in (base, part)]
    query = FeatureSet.load(newer).sequences.take(np.arange(3))
    known = query.where(query.item < 5)
    np.testing.assert_allclose(*(one.encode_users(known) for one in towers), atol=1e-6)
    assert np.isfinite(towers[1].encode_users(query)).all()
    again = refresh_items(newer, store)
    assert (again["added"], again["removed"], again["added_since_training"]) == (0, 0, 3)


def test_refresh_when_the_index_is_in_shards_then_its_lists_change_and_recall_is_measured(
    trained: Path, newer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    shutil.copytree(trained, store)
    base = _newest(store)
    monkeypatch.setattr(indexing, "WHOLE_LIMIT", 10)
    monkeypatch.setattr(cells, "_ITEMS_A_CELL", 10)
    with write_part(store, "retrieval", data_fingerprint="f", run_id="r") as draft:
        for name in base.files:
            shutil.copyfile(base.path(name), draft.directory / name)
        vecs = np.load(base.path(layout.ITEM_VECTORS), mmap_mode="r")
        index = indexing.write_index(draft.directory, vecs, codes_of(base.path(layout.INDEX)), flat_limit=5)
        draft.about.update(dict(base.about) | {"index": index})
    result = refresh_items(newer, store)
    assert result["index"]["kind"].startswith("IVF6,SQ8")
    assert (result["index"]["added"], result["index"]["removed"], result["index"]["reaches_bar"]) == (3, 3, True)
    assert len(codes_of(_newest(store).path(layout.INDEX))) == 60


def test_refresh_when_too_much_has_changed_then_it_asks_for_a_training(trained: Path, newer: Path) -> None:
    with pytest.raises(ReleaseError, match=r"at most 5% of the items .* found 10\.0%; train again"):
        refresh_items(newer, trained, most_changed=0.05)


def test_changes_when_an_item_is_gone_from_the_features_then_it_is_known_and_not_shown(newer: Path) -> None:
    found = FeatureSet.load(newer)
    fewer = Vocabulary.from_ids(["i05", "fresh"])
    rows = found.vocabulary.encode(["i05", "z-new"])
    columns = {name: np.concatenate([values[:FIRST], values[rows]]) for name, values in vars(found.catalog).items()}
    changes = ItemChanges.between(found.vocabulary, found.catalog, fewer, type(found.catalog)(**columns))
    assert changes.vocabulary.ids.tolist() == [*found.vocabulary.ids, "fresh"]
    kept = changes.vocabulary.encode(["i05", "fresh"])
    assert np.flatnonzero(changes.catalog.available).tolist() == sorted(kept.tolist())
    assert changes.candidates(np.array([2, 3, kept[0]]), np.array([FIRST + 1])).tolist() == sorted(kept.tolist())


def test_placement_when_two_categories_lie_apart_then_a_new_item_lies_with_its_own(newer: Path) -> None:
    catalog = FeatureSet.load(newer).catalog
    is_tea = catalog.category == "tea"
    rng = np.random.default_rng(0)
    vecs = np.where(is_tea[:, None], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]) + 0.1 * rng.normal(size=(len(catalog), 3))
    new, taught = np.array([10, 11]), np.arange(20, len(catalog))
    placed = Placement.of(catalog, taught, num_title_buckets=50).unit_vectors(new, np.float32(vecs), length=0.5)
    np.testing.assert_allclose(np.linalg.norm(placed, axis=1), 0.5, atol=1e-6)
    for vec, code in zip(placed, new, strict=True):
        assert 2 * vec[0 if is_tea[code] else 1] > 0.95
