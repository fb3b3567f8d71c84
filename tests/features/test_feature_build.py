from __future__ import annotations

import dataclasses
import datetime as dt
import json
import random
import shutil
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from features import columns as c
from features.build import FeatureSet, build_features
from features.customers.table import CustomerTable
from features.engine import connect
from features.errors import ConfigError, DataError, UnknownId
from features.files import sha256_of_file
from features.panel.build import PanelSettings
from features.settings import EngineSettings, ShopSettings
from features.stages.interface import Build, Finished
from features.stages.on_duckdb import DuckDBStages
from tests.features.model_features import build_model_features
from tests.features.tiny_shop import event, utc, write_shop

ENGINE = EngineSettings(memory_limit="500MB", threads=1)
SHOP = ShopSettings(name="tiny", time_zone="Europe/Paris", country="FR")
PANEL = PanelSettings(min_purchases=1, max_items=0, horizon=7)


def _events() -> list[dict[str, Any]]:
    generator = random.Random(5)
    return [
        event(
            f"u{generator.randrange(8)}",
            generator.choice(["view", "cart", "purchase", "impression"]),
            utc("2024-05-01 00:00") + dt.timedelta(hours=generator.randrange(24 * 20)),
            f"i{generator.randrange(6)}",
            event_id=f"e{n:03}",
            price=100,
        )
        for n in range(120)
    ]


ITEMS = [
    *(
        {"item_id": f"i{n}", "category": "a/b" if n < 3 else "c", "price": 100 * n + 100, "brand": "x"}
        for n in range(5)
    ),
    {"item_id": "never seen", "category": "c", "price": 900},
]
# All grant both purposes; u0 withdraws both at last, u1 only personalisation.
CONSENTS = [
    {"user_id": f"u{user}", "purpose": purpose, "granted": True, "at": utc("2024-04-01 00:00")}
    for user in range(8)
    for purpose in c.PURPOSES
] + [
    {"user_id": user, "purpose": purpose, "granted": False, "at": utc("2024-07-01 00:00")}
    for user, purpose in [("u0", "analytics"), ("u0", "personalisation"), ("u1", "personalisation")]
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    root = tmp_path_factory.mktemp("shop")
    data = write_shop(root / "data", shop=SHOP, events=_events(), items=ITEMS, consents=CONSENTS)
    build_features(data, root / "features", engine=ENGINE, panel=PANEL)
    return FeatureSet.load(root / "features")


def test_sequences_when_compared_with_a_loop_then_equal(built: FeatureSet) -> None:
    allowed = [row for row in _events() if row["user_id"] not in ("u0", "u1") and row["event_type"] != "impression"]
    users = sorted({row["user_id"] for row in allowed})
    assert built.users.ids.tolist() == users
    for number, user in enumerate(users):
        mine = sorted((r for r in allowed if r["user_id"] == user), key=lambda r: (r["ts"], r["event_id"]))
        span = slice(built.sequences.offsets[number], built.sequences.offsets[number + 1])
        assert built.vocabulary.decode(built.sequences.item[span]).tolist() == [r["item_id"] for r in mine]
        assert built.sequences.ts[span].tolist() == [round(r["ts"].timestamp() * 1_000_000) for r in mine]
        types = [c.EVENT_TYPE_CODES[r["event_type"]] for r in mine]
        assert built.sequences.event_type[span].tolist() == types
        bands = built.catalog.price_band[built.sequences.item[span]]
        assert built.sequences.price_band[span].tolist() == bands.tolist()


def test_vocabulary_when_built_then_by_count_of_usable_events_then_id(built: FeatureSet) -> None:
    usable = [r["item_id"] for r in _events() if r["user_id"] not in ("u0", "u1") and r["event_type"] != "impression"]
    everything = {r["item_id"] for r in _events()} | {row["item_id"] for row in ITEMS}
    assert built.vocabulary.ids.tolist() == sorted(everything, key=lambda id_: (-usable.count(id_), id_))
    assert "never seen" in built.vocabulary


def test_customers_when_built_then_only_users_who_allow_analytics(built: FeatureSet) -> None:
    table = CustomerTable.load(built.customers)
    assert table.frame["user_id"].tolist() == [f"u{n}" for n in range(1, 8)]
    assert "u1" in table
    assert "u0" not in table
    assert table.as_of == built.event_log.last_day
    with pytest.raises(UnknownId, match="expected a user seen up to"):
        table.lookup("u0")


def test_customers_when_looked_up_then_as_worked_out_from_the_events(built: FeatureSet) -> None:
    row = CustomerTable.load(built.customers).lookup("u3")
    mine = [r for r in _events() if r["user_id"] == "u3"]
    bought = [r for r in mine if r["event_type"] == "purchase"]
    days = sorted(r["ts"].astimezone(SHOP.zone).date() for r in bought)
    assert row["frequency"] == len(set(days))
    assert row["monetary"] == 100 * len(bought)
    assert row["average_basket"] == pytest.approx(100 * len(bought) / len(set(days)), rel=1e-12)
    assert (row["first_purchase_day"], row["last_purchase_day"]) == (days[0], days[-1])
    assert row["recency_days"] == (built.event_log.last_day - days[-1]).days
    assert row["num_interactions"] == sum(r["event_type"] != "impression" for r in mine)
    assert row["lifecycle"] == "new"
    assert row["last_region"] is None


def test_customers_when_as_of_is_earlier_then_nothing_later_is_looked_at(built: FeatureSet) -> None:
    day = dt.date(2024, 5, 9)
    early = CustomerTable.build(built.event_log, built.directory / "items.parquet", as_of=day, engine=ENGINE)
    assert early.frame["last_interaction_day"].max().date() <= day
    bought = {
        r["user_id"]
        for r in _events()
        if r["event_type"] == "purchase" and r["ts"].astimezone(SHOP.zone).date() <= day and r["user_id"] != "u0"
    }
    assert set(early.frame.loc[early.frame["frequency"] > 0, "user_id"]) == bought


def test_manifest_when_built_then_every_file_is_named_with_its_digest(built: FeatureSet) -> None:
    files = built.about["files"]
    present = {str(p.relative_to(built.directory)) for p in built.directory.rglob("*") if p.is_file()}
    assert set(files) == present - {"manifest.json"}
    assert all(sha256_of_file(built.directory / name) == digest for name, digest in files.items())
    assert built.about["fingerprint"] == built.fingerprint
    assert built.about["counts"]["events"] == 120
    assert built.shop == SHOP


def test_build_when_run_again_then_the_same_numbers(built: FeatureSet, tmp_path: Path) -> None:
    data = write_shop(tmp_path / "data", shop=SHOP, events=_events()[::-1], items=ITEMS, consents=CONSENTS)
    build_features(data, tmp_path / "features", engine=ENGINE, panel=PANEL)
    build_features(data, tmp_path / "features", engine=ENGINE, panel=PANEL)  # replaces the first
    again = FeatureSet.load(tmp_path / "features")
    assert again.fingerprint == built.fingerprint
    assert np.array_equal(again.sequences.item, built.sequences.item)
    np.testing.assert_array_equal(again.panel.units, built.panel.units)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_fingerprint_when_items_or_event_types_differ_then_it_differs_though_the_log_is_the_same(
    tmp_path: Path,
) -> None:
    shops = {
        "plain": (SHOP, ITEMS),
        "more items": (SHOP, [*ITEMS, {"item_id": "a new one"}]),
        "purchases alone": (dataclasses.replace(SHOP, event_types=("purchase",)), ITEMS),
    }
    found = []
    for name, (shop, items) in shops.items():
        data = write_shop(tmp_path / f"data {name}", shop=shop, events=_events(), items=items)
        build_model_features(data, tmp_path / name, engine=ENGINE, panel=PANEL)
        found.append(FeatureSet.load(tmp_path / name))
    assert len({features.event_log.fingerprint for features in found}) == 1
    assert len({features.fingerprint for features in found}) == 3


def test_build_when_only_events_are_given_then_the_rest_is_blank(tmp_path: Path) -> None:
    data = write_shop(tmp_path / "data", events=[event("ann", "purchase", "2024-05-01 10:00", "x")])
    build_features(data, tmp_path / "features", engine=ENGINE)
    built = FeatureSet.load(tmp_path / "features")
    assert built.catalog.price.tolist() == [-1, -1, -1]
    assert built.panel.num_items == 0  # fewer than the default number of purchases
    assert built.sequences.num_events == 1


@pytest.mark.parametrize("manifest", [None, "[]", '{"name": "an app"}', '{"format": 1, "files": {"index.faiss": ""}}'])
def test_build_when_something_else_is_there_then_left_alone(tmp_path: Path, manifest: str | None) -> None:
    data = write_shop(tmp_path / "data", events=_events())
    (tmp_path / "features").mkdir()
    if manifest is not None:  # such as a browser extension's, or a release part's
        (tmp_path / "features" / "manifest.json").write_text(manifest)
    (tmp_path / "features" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="expected nothing or an earlier feature directory, found something else"):
        build_features(data, tmp_path / "features", engine=ENGINE)
    assert (tmp_path / "features" / "thesis.txt").read_text() == "mine"


def test_build_when_it_fails_then_the_earlier_features_stay(tmp_path: Path) -> None:
    data = write_shop(tmp_path / "data", events=_events())
    build_model_features(data, tmp_path / "features", engine=ENGINE)
    before = FeatureSet.load(tmp_path / "features").fingerprint
    write_shop(data, events=[event("ann", "view", "2024-05-01 10:00")])  # no item
    with pytest.raises(DataError, match="item_id IS NULL"):
        build_features(data, tmp_path / "features", engine=ENGINE)
    assert FeatureSet.load(tmp_path / "features").fingerprint == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "features"]


def test_load_when_the_format_is_another_then_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a feature directory, found none; run `footfall features` first"):
        FeatureSet.load(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 99, "fingerprint": ""}))
    with pytest.raises(DataError, match="expected a feature directory of format 1, found 99"):
        FeatureSet.load(tmp_path)


def test_build_when_the_items_are_no_table_of_the_contract_then_named(tmp_path: Path) -> None:
    data = write_shop(tmp_path / "data", events=_events())
    (data / "items.parquet").write_bytes(b"no table")
    with pytest.raises(DataError, match=r"items\.parquet: expected a Parquet file"):
        build_features(data, tmp_path / "features", engine=ENGINE)
    pd.DataFrame({"sku": ["x"]}).to_parquet(data / "items.parquet")
    with pytest.raises(DataError, match=r"items\.parquet: expected column 'item_id', found sku"):
        build_features(data, tmp_path / "features", engine=ENGINE)


def test_build_when_memory_is_too_little_then_the_setting_is_named(tmp_path: Path) -> None:
    data = write_shop(tmp_path / "data", events=_events())
    with pytest.raises(ConfigError, match="memory_limit: expected enough"):
        build_features(data, tmp_path / "features", engine=EngineSettings(memory_limit="1KB", threads=1))


@pytest.mark.parametrize("name", ["users.parquet", "sequences/item.npy", "panel/units.npy", "shop.yaml"])
def test_load_when_a_file_is_gone_then_named(built: FeatureSet, tmp_path: Path, name: str) -> None:
    shutil.copytree(built.directory, tmp_path / "features")
    (tmp_path / "features" / name).unlink()
    with pytest.raises(DataError, match=f"{name}: expected a file of these features here"):
        FeatureSet.load(tmp_path / "features")


def test_panel_settings_when_they_make_no_sense_then_refused() -> None:
    with pytest.raises(ConfigError, match="expected min_purchases >= 1"):
        PanelSettings(min_purchases=0)


def test_build_when_engines_connect_then_all_spill_within_the_staged_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spills = []

    def connect_and_tell(settings: EngineSettings, *, spill: Path) -> duckdb.DuckDBPyConnection:
        spills.append(Path(settings.temp_directory or spill))
        return connect(settings, spill=spill)

    monkeypatch.setattr("features.engine.connect", connect_and_tell)
    data = write_shop(tmp_path / "data", shop=SHOP, events=_events(), items=ITEMS, consents=CONSENTS)
    build_features(data, tmp_path / "features", engine=ENGINE, panel=PANEL)
    assert len(spills) >= 4  # log, sequences, customers, panel
    assert {spill.parents[1] for spill in spills} == {tmp_path / ".features.building"}
    assert not [path for path in (tmp_path / "features").rglob("*") if "spill" in path.name]


def test_build_when_it_ran_out_of_memory_then_a_rerun_with_more_goes_on_and_ends_as_one_left_alone(
    built: FeatureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(_self: DuckDBStages, _build: Build) -> Finished:
        raise duckdb.OutOfMemoryException("failed to pin a block")

    data, out = built.directory.parent / "data", tmp_path / "features"
    with monkeypatch.context() as patched:
        patched.setattr(DuckDBStages, "sequences", out_of_memory)
        with pytest.raises(ConfigError, match="Raise memory_limit"):
            build_features(data, out, engine=ENGINE, panel=PANEL)
    assert [path.name for path in tmp_path.iterdir()] == [".features.building"]
    resumed = build_features(data, out, engine=dataclasses.replace(ENGINE, memory_limit="600MB"), panel=PANEL)
    assert resumed["resumed_from"] == "sequences"
    assert resumed["refresh"] == built.about["refresh"]
    for name in ("files", "fingerprint", "counts"):
        assert resumed[name] == built.about[name]
    assert [path.name for path in tmp_path.iterdir()] == ["features"]
