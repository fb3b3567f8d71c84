from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.errors import DataError, ReleaseError
from features.release.erasure import ErasureList
from features.release.part import MANIFEST_FILE, Part, PartKind, write_part
from features.release.release import ReleaseStore

FILES = {"vectors.npy": b"\x00\x01\x02\x03" * 8, "sub/vocabulary.parquet": b"PAR1 ids PAR1", "empty.txt": b""}
_SHARED_DIRECTORY = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def make_part(root: Path, kind: PartKind = "retrieval", version: str = "") -> Part:
    with write_part(root, kind, data_fingerprint="f" * 64, version=version) as draft:
        for name, content in FILES.items():
            (draft.directory / name).parent.mkdir(exist_ok=True)
            (draft.directory / name).write_bytes(content)
        draft.metrics["ndcg@10"] = 0.05
    directory = root / "parts" / kind
    return Part.open(max(directory.iterdir()) if not version else directory / version)


def test_part_when_written_then_opens_with_its_files_and_metrics(tmp_path: Path) -> None:
    part = make_part(tmp_path)
    assert set(part.files) == set(FILES)
    assert part.metrics == {"ndcg@10": 0.05}
    assert part.path("vectors.npy").read_bytes() == FILES["vectors.npy"]
    with pytest.raises(ReleaseError, match=r"expected the manifest to list 'index\.faiss'"):
        part.path("index.faiss")


def test_store_when_parts_and_releases_follow_within_a_second_then_the_last_is_the_newest(tmp_path: Path) -> None:
    store = ReleaseStore(root=tmp_path)
    ids = []
    for number in range(8):
        with write_part(tmp_path, "customers", data_fingerprint=str(number)):
            pass
        newest = store.latest_part("customers")
        assert newest is not None
        assert newest.data_fingerprint == str(number)
        ids.append(store.create({"customers": newest}).release_id)
    assert store.release_ids() == ids


@_SHARED_DIRECTORY
@given(data=st.data())
def test_part_when_one_bit_flips_then_refused_and_the_file_is_named(tmp_path: Path, data: st.DataObject) -> None:
    if not (tmp_path / "good").exists():
        make_part(tmp_path / "good", version="v1")
    shutil.rmtree(tmp_path / "bad", ignore_errors=True)
    shutil.copytree(tmp_path / "good" / "parts" / "retrieval" / "v1", tmp_path / "bad")
    name = data.draw(st.sampled_from(["vectors.npy", "sub/vocabulary.parquet"]))
    content = bytearray((tmp_path / "bad" / name).read_bytes())
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    (tmp_path / "bad" / name).write_bytes(content)
    with pytest.raises(ReleaseError, match=f"{name}: damaged"):
        Part.open(tmp_path / "bad")


@_SHARED_DIRECTORY
@given(data=st.data())
def test_release_when_a_manifest_byte_changes_or_is_cut_then_refused(tmp_path: Path, data: st.DataObject) -> None:
    root = tmp_path / "store"
    if not root.exists():
        part = make_part(root, version="v1")
        ReleaseStore(root=root).create({"retrieval": part})
    store = ReleaseStore(root=root)
    (release_id,) = store.release_ids()
    path = root / "parts" / "retrieval" / "v1" / MANIFEST_FILE
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:cut] if data.draw(st.booleans()) else whole[:cut] + bytes([whole[cut] ^ 1]) + whole[cut + 1 :]
    path.write_bytes(changed)
    try:
        with pytest.raises(ReleaseError, match=r"manifest\.json|expected|damaged|missing|unlisted"):
            store.open(release_id)
    finally:
        path.write_bytes(whole)
    assert store.open(release_id).part("retrieval") is not None


@pytest.mark.parametrize("name", ["vectors.npy", "sub/vocabulary.parquet", "empty.txt", MANIFEST_FILE])
def test_part_when_a_file_is_missing_then_named(tmp_path: Path, name: str) -> None:
    part = make_part(tmp_path)
    (part.directory / name).unlink()
    with pytest.raises(ReleaseError, match=name):
        Part.open(part.directory)


def test_part_when_a_file_is_not_listed_then_named(tmp_path: Path) -> None:
    part = make_part(tmp_path)
    (part.directory / "extra.txt").write_text("?")
    with pytest.raises(ReleaseError, match=r"extra\.txt: unlisted file"):
        Part.open(part.directory)


@pytest.mark.parametrize("suffix", [".pkl", ".pt", ".ckpt", ".joblib"])
def test_write_part_when_a_file_may_be_a_pickle_then_refused_and_nothing_stays(tmp_path: Path, suffix: str) -> None:
    with (
        pytest.raises(ReleaseError, match="holds no pickles"),
        write_part(tmp_path, "demand", data_fingerprint="f") as d,
    ):
        (d.directory / f"model{suffix}").write_bytes(b"")
    assert list((tmp_path / "parts" / "demand").iterdir()) == []


def test_release_when_two_parts_then_opens_with_both_and_becomes_current(tmp_path: Path) -> None:
    store = ReleaseStore(root=tmp_path)
    assert store.current_id is None
    release = store.create({"retrieval": make_part(tmp_path), "demand": make_part(tmp_path, "demand")})
    store.set_current(release.release_id)
    assert store.current_id == release.release_id
    opened = store.open(release.release_id)
    assert set(opened.parts) == {"retrieval", "demand"}
    assert opened.part("customers") is None


def test_set_current_when_a_part_is_damaged_then_the_old_one_stays(tmp_path: Path) -> None:
    store = ReleaseStore(root=tmp_path)
    good = store.create({"retrieval": make_part(tmp_path, version="v1")})
    store.set_current(good.release_id)
    bad = store.create({"retrieval": make_part(tmp_path, version="v2")})
    (tmp_path / "parts" / "retrieval" / "v2" / "vectors.npy").write_bytes(b"?")
    with pytest.raises(ReleaseError, match=r"vectors\.npy: damaged"):
        store.set_current(bad.release_id)
    assert store.current_id == good.release_id


def test_release_when_its_manifest_is_torn_or_absent_then_refused(tmp_path: Path) -> None:
    store = ReleaseStore(root=tmp_path)
    release = store.create({"retrieval": make_part(tmp_path)})
    path = tmp_path / "releases" / f"{release.release_id}.json"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ReleaseError, match="damaged release manifest"):
        store.open(release.release_id)
    with pytest.raises(ReleaseError, match="expected a release manifest here, found none"):
        store.open("20000101T000000-000000")
    with pytest.raises(ReleaseError, match="at least one part"):
        store.create({})


@given(users=st.lists(st.text(max_size=6), max_size=5), others=st.lists(st.text(max_size=6), max_size=5))
def test_erasure_list_when_users_are_added_then_only_they_are_in_it(
    tmp_path_factory: pytest.TempPathFactory, users: list[str], others: list[str]
) -> None:
    erasures = ErasureList(path=tmp_path_factory.mktemp("erase") / "erasures.jsonl")
    for user in users:
        erasures.add(user)
    loaded = erasures.load()
    assert len(loaded) == len(set(users))
    assert all(user in loaded for user in users)
    assert all((user in loaded) == (user in users) for user in others)


def test_part_of_run_when_another_runs_newer_part_is_damaged_then_found_all_the_same(tmp_path: Path) -> None:
    for version, run_id in [("1", "ours"), ("2", "ours"), ("3", "theirs"), ("4", "unreadable")]:
        with write_part(tmp_path, "demand", data_fingerprint="f", run_id=run_id, version=version) as draft:
            (draft.directory / "file").write_bytes(b"x")
    parts = tmp_path / "parts" / "demand"
    (parts / "3" / "file").write_bytes(b"y")
    (parts / "4" / MANIFEST_FILE).write_text("{")
    store = ReleaseStore(root=tmp_path)
    found = store.part_of_run("demand", "ours")
    assert found is not None
    assert found.version == "2"
    assert store.part_of_run("demand", "nobody's") is None
    assert store.part_of_run("retrieval", "ours") is None
    with pytest.raises(ReleaseError, match="damaged"):
        store.part_of_run("demand", "theirs")


def test_erasure_list_when_its_last_line_is_torn_then_the_rest_counts(tmp_path: Path) -> None:
    erasures = ErasureList(path=tmp_path / "erasures.jsonl")
    erasures.add("ann")
    with erasures.path.open("a") as file:
        file.write('{"user_hmac": "ab')
    assert "ann" in erasures.load()


def test_erasure_list_when_added_after_a_torn_line_then_nobody_is_lost(tmp_path: Path) -> None:
    erasures = ErasureList(path=tmp_path / "erasures.jsonl")
    erasures.add("ann")
    with erasures.path.open("a") as file:
        file.write('{"user_hmac": "ab')
    erasures.add("bob")
    erasures.add("eve")
    loaded = erasures.load()
    assert all(user in loaded for user in ("ann", "bob", "eve"))


def test_erasure_list_when_a_middle_line_is_damaged_then_refused(tmp_path: Path) -> None:
    path = tmp_path / "erasures.jsonl"
    ErasureList(path=path).add("ann")
    path.write_text("garbage\n" + path.read_text())
    with pytest.raises(DataError, match="line 1: expected an object with user_hmac, found 'garbage'"):
        ErasureList(path=path).load()


def test_erasure_list_when_read_by_eye_then_no_id_stands_in_it(tmp_path: Path) -> None:
    erasures = ErasureList(path=tmp_path / "erasures.jsonl")
    erasures.add("ann@example.org")
    assert "ann" not in erasures.path.read_text()
    assert set(json.loads(erasures.path.read_text())) == {"user_hmac", "at"}


def test_erasure_list_when_made_then_only_its_key_tells_who_is_in_it(tmp_path: Path) -> None:
    lists = [ErasureList(path=tmp_path / name / "erasures.jsonl") for name in ("one", "two")]
    for erasures in lists:
        erasures.add("17")
    digests = [json.loads(erasures.path.read_text())["user_hmac"] for erasures in lists]
    assert digests[0] != digests[1], "a plain digest of a short id is the same everywhere and can be guessed"
    assert [stat.S_IMODE(erasures.key_path.stat().st_mode) for erasures in lists] == [0o600, 0o600]
    assert repr(lists[0].load()).count("key") == 0


def test_erasure_list_when_its_key_is_gone_then_refused_rather_than_forgetting_nobody(tmp_path: Path) -> None:
    erasures = ErasureList(path=tmp_path / "erasures.jsonl")
    erasures.add("ann")
    erasures.key_path.unlink()
    with pytest.raises(DataError, match="expected the 32 bytes"):
        erasures.load()
    with pytest.raises(DataError, match="expected the 32 bytes"):
        erasures.add("bob")


def test_erasure_list_when_a_crash_left_a_key_before_the_first_row_then_it_serves(tmp_path: Path) -> None:
    erasures = ErasureList(path=tmp_path / "erasures.jsonl")
    erasures.key_path.write_bytes(b"k" * 32)
    erasures.add("ann")
    assert "ann" in erasures.load()
    assert erasures.key_path.read_bytes() == b"k" * 32


def test_erasure_list_when_its_only_row_is_of_another_kind_then_refused_rather_than_skipped(tmp_path: Path) -> None:
    erasures = ErasureList(path=tmp_path / "erasures.jsonl")
    erasures.path.write_text('{"user_sha256": "ab"}\n')
    with pytest.raises(DataError, match="line 1: expected an object with user_hmac"):
        erasures.load()
