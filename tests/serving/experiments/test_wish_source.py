"""When the files of rules and experiments are read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.experiments import wish_source
from serving.experiments.wish_source import WishFiles, WishSource


def test_wanted_when_a_file_changes_while_it_is_read_then_the_next_look_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules, read = tmp_path / "rules.yaml", wish_source._content
    rules.write_text("rules: {a: {ban: {brand: one}}}\n")
    source = WishSource(WishFiles(rules=rules, experiments=None, copies=tmp_path / "copies"))

    def read_then_changed(path: Path) -> bytes:
        content = read(path)
        rules.write_text("rules: {a: {ban: {brand: another}}}\n")
        return content

    with monkeypatch.context() as during:
        during.setattr(wish_source, "_content", read_then_changed)
        first = source.wanted()
    assert source.wanted() != first
    assert source.wanted() == source.wanted()
