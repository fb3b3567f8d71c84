from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import DataError
from features.files import read_json, sha256_of_file, staged_directory, staged_file, write_bytes, write_json

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


class Crash(Exception):
    """Stands for anything that stops a writer."""


def test_staged_directory_when_the_block_ends_well_then_whole_and_nothing_beside(tmp_path: Path) -> None:
    with staged_directory(tmp_path / "out") as staging:
        assert not (tmp_path / "out").exists()
        (staging / "a.txt").write_text("new")
    assert (tmp_path / "out" / "a.txt").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("replace", [False, True])
def test_staged_directory_when_the_block_fails_then_as_before(tmp_path: Path, *, replace: bool) -> None:
    if replace:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "a.txt").write_text("old")
    with pytest.raises(Crash), staged_directory(tmp_path / "out", replace=replace) as staging:  # noqa: PT012
        (staging / "a.txt").write_text("half")
        raise Crash
    assert [p.read_text() for p in tmp_path.rglob("*.txt")] == (["old"] if replace else [])
    assert [p.name for p in tmp_path.iterdir()] == (["out"] if replace else [])


def test_staged_directory_when_replacing_then_the_old_one_is_gone(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with staged_directory(tmp_path / "out", replace=True) as staging:
            (staging / f"{text}.txt").write_text(text)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["new.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_staged_directory_when_the_target_exists_then_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="exists already; choose another directory"), staged_directory(tmp_path):
        pass


def test_staged_directory_when_the_last_move_fails_then_the_old_one_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("old")
    rename = Path.rename

    def fails_for_the_new_one(path: Path, target: Path) -> Path:
        if path.suffix == ".partial":
            raise OSError("no")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails_for_the_new_one)
    with pytest.raises(OSError, match="no"), staged_directory(tmp_path / "out", replace=True):
        pass
    assert (tmp_path / "out" / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_staged_directory_when_the_parent_is_a_file_then_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(DataError, match="expected a directory, found a file"), staged_directory(tmp_path / "a.txt/out"):
        pass


def test_staged_file_when_the_block_fails_then_the_old_file_stays(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(Crash), staged_file(target) as aside:  # noqa: PT012
        aside.write_text("half")
        raise Crash
    assert target.read_text() == "old"
    with staged_file(target) as aside:
        aside.write_text("new")
    assert target.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@given(value=json_values)
def test_read_json_when_written_then_equal(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert read_json(path) == value


def test_write_json_when_nan_then_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert read_json(tmp_path / "a.json") == {"x": 1}


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe"])
def test_read_json_when_torn_then_refused(tmp_path: Path, content: bytes) -> None:
    write_bytes(tmp_path / "a.json", content)
    with pytest.raises(DataError, match="expected JSON, found something else"):
        read_json(tmp_path / "a.json")


@given(content=st.binary(max_size=100))
def test_sha256_when_compared_with_hashlib_then_equal(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes"
    path.write_bytes(content)
    assert sha256_of_file(path) == hashlib.sha256(content).hexdigest()
