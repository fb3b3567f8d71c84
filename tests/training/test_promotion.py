"""From parts to a served release: what is written, what is registered, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from features.errors import ReleaseError
from features.release import Part, PartKind, Release, ReleaseStore, write_part
from features.release.registry import RELEASE_ID_TAG, RELEASE_MODEL, SERVING_ALIAS
from training.promotion import promote_release
from training.tracking import open_client

NEWEST: dict[PartKind, str] = {}


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def make_part(store: Path, kind: PartKind, version: str, *, data: str = "f") -> Part:
    with write_part(store, kind, data_fingerprint=data, version=version) as draft:
        (draft.directory / "file.txt").write_text("x")
        draft.metrics["recall@20"] = 0.25
    return ReleaseStore(root=store).open_part(kind, version)


def promoted(store: Path) -> dict[str, Any]:
    """These parts hold no model that could be scored, so the rule is told to stand back."""
    return promote_release(store, features=None, versions=NEWEST, force=True)


def test_promote_when_parts_exist_then_serves_the_newest_and_moves_the_alias(tmp_path: Path) -> None:
    for version in ("1", "2"):
        make_part(tmp_path, "retrieval", version)
    make_part(tmp_path, "demand", "7")
    result = promoted(tmp_path)
    release = ReleaseStore(root=tmp_path).open(result["release_id"])
    assert {kind: part.version for kind, part in release.parts.items()} == {"retrieval": "2", "demand": "7"}
    assert ReleaseStore(root=tmp_path).current_id == result["release_id"]
    assert result["replaces"] is None
    served = open_client(tmp_path).get_model_version_by_alias(RELEASE_MODEL, SERVING_ALIAS)
    assert served.tags[RELEASE_ID_TAG] == result["release_id"]


def test_promote_when_one_part_is_new_then_the_others_stay_and_are_not_registered_twice(tmp_path: Path) -> None:
    make_part(tmp_path, "retrieval", "1")
    make_part(tmp_path, "demand", "1")
    first = promoted(tmp_path)
    make_part(tmp_path, "demand", "2")
    second = promoted(tmp_path)
    assert second["replaces"] == first["release_id"]
    client = open_client(tmp_path)
    counts = {
        model: len(client.search_model_versions(f"name = '{model}'"))
        for model in ("footfall-retrieval", "footfall-demand", "footfall-release")
    }
    assert counts == {"footfall-retrieval": 1, "footfall-demand": 2, "footfall-release": 2}


def test_promote_when_parts_come_from_different_data_then_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_part(tmp_path, "retrieval", "1", data="a" * 64)
    make_part(tmp_path, "demand", "1", data="a" * 64)
    assert promoted(tmp_path)["warnings"] == []
    assert not caplog.records
    make_part(tmp_path, "demand", "2", data="b" * 64)
    (warning,) = promoted(tmp_path)["warnings"]
    assert "different data (retrieval aaaaaaaaaaaa, demand bbbbbbbbbbbb)" in warning
    assert warning in caplog.text


def test_promote_when_a_version_is_named_then_takes_that_one(tmp_path: Path) -> None:
    for version in ("1", "2"):
        make_part(tmp_path, "retrieval", version)
    result = promote_release(tmp_path, features=None, versions={"retrieval": "1"})
    assert result["parts"]["retrieval"]["version"] == "1"


def test_promote_when_there_is_no_retrieval_part_then_says_what_to_run(tmp_path: Path) -> None:
    make_part(tmp_path, "demand", "1")
    with pytest.raises(ReleaseError, match="run `footfall train retrieval` first"):
        promoted(tmp_path)


@pytest.mark.parametrize("versions", [NEWEST, {"retrieval": "9"}])
def test_promote_when_refused_then_no_customer_was_written(tmp_path: Path, versions: dict[PartKind, str]) -> None:
    with pytest.raises(ReleaseError, match="expected a retrieval part"):
        promote_release(tmp_path / "store", features=tmp_path / "features", versions=versions)
    assert not (tmp_path / "store").exists()


def test_promote_when_the_version_does_not_exist_then_names_the_newest(tmp_path: Path) -> None:
    make_part(tmp_path, "retrieval", "1")
    with pytest.raises(ReleaseError, match="newest: 1"):
        promote_release(tmp_path, features=None, versions={"retrieval": "9"})


def test_promote_when_a_file_is_damaged_then_refuses_and_keeps_the_release_that_is_served(tmp_path: Path) -> None:
    make_part(tmp_path, "retrieval", "1")
    served = promoted(tmp_path)["release_id"]
    damaged = make_part(tmp_path, "retrieval", "2")
    (damaged.directory / "file.txt").write_text("y")
    with pytest.raises(ReleaseError, match=r"file\.txt: damaged"):
        promoted(tmp_path)
    assert ReleaseStore(root=tmp_path).current_id == served


def served(store: Path) -> tuple[str | None, str]:
    """What the directory and what the registry serves."""
    alias = open_client(store).get_model_version_by_alias(RELEASE_MODEL, SERVING_ALIAS)
    return ReleaseStore(root=store).current_id, alias.tags[RELEASE_ID_TAG]


def test_promote_when_cut_off_between_alias_and_directory_then_run_again_it_ends_what_was_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_part(tmp_path, "retrieval", "1")
    first = promoted(tmp_path)["release_id"]
    make_part(tmp_path, "retrieval", "2")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ReleaseStore, "set_current", killed)
        with pytest.raises(KeyboardInterrupt):
            promoted(tmp_path)
    directory, cut_off = served(tmp_path)
    assert directory == first != cut_off
    assert not caplog.records
    again = promoted(tmp_path)
    assert again["release_id"] == cut_off
    assert again["replaces"] == first
    assert served(tmp_path) == (cut_off, cut_off)
    assert "a promotion was cut off" in caplog.text
    assert len(ReleaseStore(root=tmp_path).release_ids()) == 2


def test_promote_when_cut_off_and_another_follows_then_both_serve_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_part(tmp_path, "retrieval", "1")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ReleaseStore, "set_current", killed)
        with pytest.raises(KeyboardInterrupt):
            promoted(tmp_path)
    make_part(tmp_path, "retrieval", "2")
    release = promoted(tmp_path)["release_id"]
    assert served(tmp_path) == (release, release)


def test_promote_when_a_file_is_damaged_after_it_was_chosen_then_neither_pointer_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_part(tmp_path, "retrieval", "1")
    first = promoted(tmp_path)["release_id"]
    part = make_part(tmp_path, "retrieval", "2")
    create = ReleaseStore.create

    def damages(self: ReleaseStore, parts: dict[PartKind, Part]) -> Release:
        (part.directory / "file.txt").write_text("y")
        return create(self, parts)

    monkeypatch.setattr(ReleaseStore, "create", damages)
    with pytest.raises(ReleaseError, match=r"file\.txt: damaged"):
        promoted(tmp_path)
    assert served(tmp_path) == (first, first)
