"""Erasure through the command line: nothing is left of a customer, and all others stay."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

import footfall
from features.build import FeatureSet, build_features
from features.customers.table import CustomerTable
from features.panel.build import PanelSettings
from features.privacy.consents import ConsentBook
from features.privacy.erase_parts import erase_from_parts
from features.release import ReleaseStore, layout
from features.release.customers_part import write_customers_part
from features.settings import EngineSettings
from tests.features.privacy.traces import ERIN, PHONE, traces, write_erins_shop

ENGINE = EngineSettings(memory_limit="500MB", threads=1)
PANEL = PanelSettings(min_purchases=1, max_items=0, horizon=7)


def run(*words: object, capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, object]:
    assert footfall.main(["data", *map(str, words)]) == code
    printed = capsys.readouterr()
    return json.loads(printed.out) if code == 0 else {"error": printed.err}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, features, and a store with two releases that hold Erin."""
    tmp_path = tmp_path_factory.mktemp("built")
    data = write_erins_shop(tmp_path / "data")
    (data / "identity_denials.yaml").write_text(
        yaml.safe_dump([{"id_a": "ann", "id_b": "d1", "why": "sold"}, {"id_a": "bob", "id_b": PHONE, "why": "hers"}])
    )
    build_features(data, tmp_path / "features", engine=ENGINE, panel=PANEL)
    store = ReleaseStore(root=tmp_path / "store")
    for _ in range(2):
        part = write_customers_part(FeatureSet.load(tmp_path / "features"), store)
        store.set_current(store.create({"customers": part}).release_id)
    return tmp_path


@pytest.fixture
def shop(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path / "shop")
    return tmp_path / "shop"


def test_erase_when_every_place_is_given_then_no_file_holds_a_trace_and_all_others_stay(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [shop / name for name in ("data", "features", "store")]
    assert len(traces(places, ERIN)) > 15
    held = {Path(path).name for path in traces([places[2]], ERIN)}
    assert {layout.TAGS, layout.AUDIENCES, layout.RULE_EVENTS} <= held
    words = ["erase", "--user", PHONE, "--data", places[0], "--features", places[1], "--store", places[2]]
    report = run(*words, "--engine.threads", 1, capsys=capsys)

    assert traces(places, ERIN, PHONE) == []
    assert report["ids"] == 2
    assert report["data"]["removed"] == {
        "consents.parquet": 2, "coupons.parquet": 1, "events.parquet": 50, "exposures.parquet": 1,
        "identities.parquet": 1, "users.parquet": 1, "rejects/events.parquet": 1, "identity_denials.yaml": 1,
    }  # fmt: skip
    assert report["data"]["still_named_in"] == report["store"]["still_named_in"] == []
    assert pq.read_metadata(places[0] / "events.parquet").num_rows == 4 * 48
    table = CustomerTable.load(places[1] / "customers.parquet")
    assert table.frame["user_id"].tolist() == ["ann", "bob", "cid", "dan"]

    again = run("erase", PHONE, "--data", places[0], "--store", places[2], capsys=capsys)
    assert (again["data"]["removed"], again["store"]["rows"]) == ({}, 0)


def test_erase_when_releases_name_rewritten_parts_then_every_one_opens_under_its_own_id(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ReleaseStore(root=shop / "store")
    before = store.release_ids()
    report = run("erase", ERIN, "--store", store.root, capsys=capsys)["store"]
    assert report["releases"] == store.release_ids() == before
    for release_id in before:
        part = store.open(release_id).parts["customers"]
        assert part.version.endswith(".e1")
        assert part.about["num_customers"] == 4
        for name in (layout.TAGS, layout.RULE_EVENTS):
            assert set(pq.read_table(part.path(name))["user_id"].to_pylist()) == {"ann", "bob", "cid", "dan"}
        assert ConsentBook.load(part.path(layout.CONSENTS)).users.ids.tolist() == ["ann", "bob", "cid", "dan"]
    assert PHONE not in store.erasures.load() or ERIN in store.erasures.load()
    assert store.latest_part("customers").version == part.version


def test_parts_when_erasing_is_cut_off_at_any_step_then_releases_open_and_a_second_run_finishes(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ReleaseStore(root=shop / "store")
    with monkeypatch.context() as cut:
        cut.setattr("features.privacy.erase_parts.shutil.rmtree", _power_cut)
        with pytest.raises(KeyboardInterrupt):
            erase_from_parts(store, [ERIN, PHONE])
    with monkeypatch.context() as cut:
        cut.setattr(ReleaseStore, "replace_part", _power_cut)
        with pytest.raises(KeyboardInterrupt):
            erase_from_parts(store, [ERIN, PHONE])
    assert [store.open(one).release_id for one in store.release_ids()] == store.release_ids()
    erase_from_parts(store, [ERIN, PHONE])
    assert traces([store.root / "parts"], ERIN, PHONE) == []
    assert [store.open(one).release_id for one in store.release_ids()] == store.release_ids()


def _power_cut(*args: object, **kwargs: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["erase", "ann"], "expected --data, --features or --store, found none"),
        (["erase", "ann", "--features", "f"], "expected --data beside it"),
        (["erase", "", "--data", "d"], "--user: expected an id, found none"),
        (["erase", "ann", "--data", "d", "--settings", "s.yaml"], "expected --store beside them"),
    ],
)
def test_erase_when_it_is_not_said_where_then_it_asks(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in str(run(*words, capsys=capsys, code=2)["error"])


def test_erase_when_a_directory_is_absent_then_nothing_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = run("erase", "ann", "--data", tmp_path / "x", "--store", tmp_path / "y", capsys=capsys, code=3)["error"]
    assert "expected a release store, found none" in str(error)
    assert list(tmp_path.iterdir()) == []
