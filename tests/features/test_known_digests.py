"""Digests are remembered for as long as the file is the same one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from features.errors import ReleaseError
from features.files import sha256_of_file
from features.release import Part, ReleaseStore, write_part
from features.release.digests import KnownDigests


def test_known_digests_when_a_file_changes_then_it_is_read_again(tmp_path: Path) -> None:
    file, known = tmp_path / "a", KnownDigests()
    file.write_bytes(b"one")
    assert known(file) == sha256_of_file(file)
    file.write_bytes(b"two!")
    assert known(file) == sha256_of_file(file)


def test_known_digests_when_a_bit_flips_without_a_write_then_only_a_fresh_look_sees_it(tmp_path: Path) -> None:
    file, known = tmp_path / "a", KnownDigests()
    file.write_bytes(b"one")
    before, stat = known(file), file.stat()
    file.write_bytes(b"onf")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert known(file) == before
    assert known.fresh(file) == sha256_of_file(file) != before


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', '{"a": [[1], "x"]}', '{"a": [[1, 2, 3], 5]}'])
def test_known_digests_when_the_file_is_damaged_then_nothing_is_known(tmp_path: Path, content: str) -> None:
    (tmp_path / "known.json").write_text(content)
    (tmp_path / "b").write_bytes(b"b")
    assert KnownDigests.load(tmp_path / "known.json")(tmp_path / "b") == sha256_of_file(tmp_path / "b")
    assert KnownDigests.load(tmp_path / "absent.json")(tmp_path / "b") == sha256_of_file(tmp_path / "b")


def test_store_when_digests_are_known_then_no_file_is_read_again_but_a_changed_one_is_refused(tmp_path: Path) -> None:
    first = KnownDigests()
    with write_part(tmp_path, "demand", data_fingerprint="f") as draft:
        (draft.directory / "a.json").write_text("{}")
    part = ReleaseStore(root=tmp_path).latest_part("demand")
    assert isinstance(part, Part)
    release = ReleaseStore(root=tmp_path).create({"demand": part})
    ReleaseStore(root=tmp_path, digest_of=first).open(release.release_id)
    first.save(tmp_path / "known.json")

    read: list[Path] = []
    second = KnownDigests.load(tmp_path / "known.json")
    second.fresh = lambda path: read.append(path) or sha256_of_file(path)  # type: ignore[method-assign,func-returns-value]
    store = ReleaseStore(root=tmp_path, digest_of=second)
    store.open(release.release_id)
    assert not read
    part.path("a.json").write_text("[]")
    with pytest.raises(ReleaseError, match="damaged"):
        store.open(release.release_id)
    assert read == [part.path("a.json")]
