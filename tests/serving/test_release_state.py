"""A release is checked before it is read, and refused by the name of the file that is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from features.errors import ReleaseError
from features.release import ReleaseStore, layout
from serving.api.customer_schemas import SegmentsRequest
from serving.api.demand_schemas import AlertsRequest, DemandRequest
from serving.api.errors import RequestError
from serving.api.schemas import CustomersRequest
from serving.engine import Engine
from serving.privacy.erasures import ErasureWatch
from serving.release.state import ReleaseState, open_release
from tests.serving.asking import live_store
from tests.serving.tiny_release import TinyRelease, build

FILES = [
    *(f"retrieval/{name}" for name in (layout.VOCABULARY, layout.CATALOG, layout.ITEM_VECTORS, layout.INDEX)),
    *(f"retrieval/{name}" for name in (layout.USER_TOWER, layout.FAVOURITES, "manifest.json")),
    *(f"retrieval/{name}" for name in (layout.BOUGHT_TOGETHER, layout.TRENDING, layout.REPURCHASE)),
    *(f"customers/{name}" for name in (layout.CUSTOMERS, layout.USERS, layout.HISTORY_VOCABULARY, "manifest.json")),
    *(f"customers/{name}" for name in (layout.TAGS, layout.AUDIENCES, layout.RULE_EVENTS, layout.ITEM_FACTS)),
    *(f"customers/{name}" for name in (layout.RULES, layout.INTENT)),
    *(f"customers/{layout.HISTORIES}/{name}.npy" for name in ("offsets", "item", "event_type", "ts", "price_band")),
    *(f"demand/{name}" for name in (layout.FORECASTS, layout.DECISIONS, "manifest.json")),
    *(f"demand/{name}" for name in (layout.ALERTS, layout.WHAT_IF_MODEL)),
    *(f"demand/{layout.WHAT_IF}/{name}.npy" for name in ("level", "horizon_plan", "seen_low", "seen_high")),
    *(f"demand/{layout.WHAT_IF}/{name}" for name in ("items.parquet", "plan_columns.json")),
]


def flip_one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["releases", "current.json"])
def test_load_when_any_bit_of_a_pointer_is_flipped_then_it_is_refused_by_name(
    tiny: TinyRelease, copied: Path, file: str
) -> None:
    path = copied / file if file.endswith(".json") else copied / file / f"{tiny.release.release_id}.json"
    whole = path.read_bytes()
    try:
        for position in range(len(whole)):
            content = bytearray(whole)
            content[position] ^= 1 << position % 8
            path.write_bytes(content)
            try:
                loaded = open_release(ReleaseStore(root=copied))
            except ReleaseError as error:
                assert str(path) in str(error), position  # noqa: PT017 - some flips change only white space
            else:
                assert loaded.release_id == tiny.release.release_id
                assert whole[position : position + 1].isspace()
    finally:
        path.write_bytes(whole)


def file_of(tiny: TinyRelease, root: Path, file: str) -> Path:
    kind, name = file.split("/", 1)
    return root / "parts" / kind / tiny.release.parts[kind].version / name  # type: ignore[index]


@pytest.fixture(scope="module")
def copied(tiny: TinyRelease, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("copied") / "store"
    shutil.copytree(tiny.store.root, root)
    return root


@pytest.mark.parametrize("file", FILES)
def test_load_when_one_bit_of_a_file_is_flipped_then_it_is_refused_by_name(
    tiny: TinyRelease, copied: Path, file: str
) -> None:
    path = file_of(tiny, copied, file)
    whole = path.read_bytes()
    flip_one_bit(path)
    try:
        with pytest.raises(ReleaseError) as refused:
            ReleaseState.load(ReleaseStore(root=copied))
        assert str(path) in str(refused.value)
    finally:
        path.write_bytes(whole)


def test_files_when_listed_here_then_they_are_all_that_a_release_has(tiny: TinyRelease) -> None:
    parts = tiny.release.parts
    manifests = {f"{kind}/manifest.json" for kind in parts}
    assert {f"{kind}/{name}" for kind, part in parts.items() for name in part.files} | manifests == set(FILES)


def test_load_when_nothing_was_promoted_then_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="expected a release to serve, found none; run `footfall promote` first"):
        ReleaseState.load(ReleaseStore(root=tmp_path))


def test_load_when_the_release_has_no_retrieval_part_then_it_is_refused(tiny: TinyRelease, copied: Path) -> None:
    store = ReleaseStore(root=copied)
    demand = store.latest_part("demand")
    assert demand is not None
    release = store.create({"demand": demand})
    with pytest.raises(ReleaseError, match=r"expected a retrieval part, found \['demand'\]"):
        ReleaseState.load(store, release.release_id)


def test_endpoints_when_their_part_is_missing_then_they_say_so(tmp_path: Path) -> None:
    tiny = build(tmp_path / "store", kinds=("retrieval",), num_items=20, num_users=3)
    live = live_store(tmp_path / "live.sqlite")
    engine = Engine(ReleaseState.load(tiny.store), live, ErasureWatch(tiny.store.erasures))
    with pytest.raises(RequestError, match="has no demand part") as missing:
        engine.demand(DemandRequest(item_ids=("item-1",)))
    assert missing.value.status == 503
    with pytest.raises(RequestError, match="has no demand part"):
        engine.alerts(AlertsRequest())
    for call in (
        lambda: engine.customer("user-1"),
        lambda: engine.segments(SegmentsRequest(user_ids=("a",))),
        lambda: engine.customers(CustomersRequest()),
    ):
        with pytest.raises(RequestError, match="has no customers part"):
            call()


@pytest.mark.parametrize("offset", [0, 3])
def test_histories_when_their_vocabulary_differs_then_codes_are_translated(tmp_path: Path, offset: int) -> None:
    tiny = build(tmp_path / "store", history_vocabulary_offset=offset)
    histories = ReleaseState.load(tiny.store).histories
    assert histories is not None
    for user_id in tiny.users.ids:
        np.testing.assert_array_equal(histories.of_user(user_id).item, tiny.history_of(user_id))
    assert len(histories.of_user("nobody")) == 0
