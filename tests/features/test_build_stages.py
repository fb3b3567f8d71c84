"""Stages of a build that is cut off and gone on with, done by an implementation that only writes names."""

from __future__ import annotations

import io
import json
import logging
import os
from pathlib import Path
from typing import Any

import duckdb
import pytest

from features.errors import ConfigError, DataError
from features.panel.source_tables import PanelSettings
from features.query_progress import watched, watching_queries
from features.refresh.plan import Refresh
from features.settings import EngineSettings, ShopSettings
from features.stages.area import BuildingArea, building_area
from features.stages.interface import STAGES, Build, Finished
from features.stages.journal import Header
from features.stages.progress import Progress
from features.stages.run import begin, kept_if_useful, run_stages

HEADER: Header = {"the data": "a", "settings": "b"}


class Names:
    """Writes a stage's name to the first file that it declares; at one stage it leaves half of it and fails."""

    name = "names"

    def __init__(self, fail_at: str = "", error: BaseException | None = None) -> None:
        self.done: list[str] = []
        self._fail_at, self._error = fail_at, error or KeyboardInterrupt()

    def __getattr__(self, stage: str) -> Any:
        def write(build: Build) -> Finished:
            path = build.out / STAGES[stage][0]
            if path.suffix != ".parquet":  # a directory
                path.mkdir()
                path = path / "part"
            path.write_text("half" if stage == self._fail_at else stage)
            if stage == self._fail_at:
                raise self._error
            self.done.append(stage)
            refresh = Refresh.anew("no days") if stage == "event_log" else None
            return Finished(counts={stage: len(stage)}, refresh=refresh)

        return write


def _build(root: Path, stages: Names, header: Header = HEADER) -> tuple[dict[str, Any], str]:
    """Return what the journal says at the end, and from where it was resumed."""
    with building_area(root / "out") as area, kept_if_useful(area):
        begun = begin(area, header, lambda made: (made / "base").write_text("b") and None)
        build = Build(
            data=root,
            out=area.made,
            shop=ShopSettings(),
            panel=PanelSettings(),
            engine=EngineSettings(),
            refresh=Refresh.anew("first"),
        )
        journal = run_stages(stages, build, begun, area)
        area.publish()
    said = {name: value for stage in journal.stages for name, value in stage.said.items() if name == "refresh"}
    return {"files": journal.files(), "said": said}, begun.resumed_from


def _content(root: Path) -> dict[str, str]:
    files = [path for path in (root / "out").rglob("*") if path.is_file()]
    return {path.relative_to(root / "out").as_posix(): path.read_text() for path in files}


def test_stages_when_cut_off_again_and_again_then_each_rerun_goes_on_and_the_end_is_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "whole").mkdir()
    whole = _build(tmp_path / "whole", Names())
    for number, stage in enumerate(STAGES):
        cut = Names(fail_at=stage)
        with pytest.raises(KeyboardInterrupt):
            _build(tmp_path, cut)
        assert cut.done == list(STAGES)[number - 1 : number] if number else not cut.done
        made = tmp_path / ".out.building" / "made"
        if number:  # as SIGKILL leaves it: half a file, and what was spilled
            (made / STAGES["stock"][0]).write_text("half")
            (made / ".spill").mkdir()
            (made / ".spill" / "block").write_text("rows")
    last = Names()
    assert _build(tmp_path, last) == (whole[0], "stock")
    assert last.done == ["stock"]
    assert _content(tmp_path) == _content(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]
    assert f"7 of 8 stages are finished; they stay in {tmp_path / '.out.building'} (0.0 MB)" in caplog.text


def test_stages_when_a_finished_file_is_damaged_then_done_again_from_its_stage_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _build(tmp_path, Names(fail_at="panel"))
    (tmp_path / ".out.building" / "made" / STAGES["sequences"][0] / "part").write_text("damaged")
    again = Names()
    assert _build(tmp_path, again)[1] == "sequences"
    assert again.done == ["sequences", "customers", "panel", "stock"]


def test_stages_when_the_header_differs_then_begun_anew_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt):
        _build(tmp_path, Names(fail_at="consents"))
    caplog.set_level(logging.INFO)
    again = Names()
    assert _build(tmp_path, again, {**HEADER, "the data": "other"})[1] == ""
    assert again.done == list(STAGES)
    assert "an unfinished build of 2 stages is begun anew: the data changed since" in caplog.text


def test_stages_when_data_are_bad_then_nothing_stays_and_out_is_as_it_was(tmp_path: Path) -> None:
    _build(tmp_path, Names())
    before = _content(tmp_path)
    with pytest.raises(DataError):
        _build(tmp_path, Names(fail_at="panel", error=DataError("two rows")))
    assert _content(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_area_when_another_process_holds_it_then_refused_and_a_dead_ones_lock_is_taken_over(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (
        building_area(out),
        pytest.raises(ConfigError, match=rf"expected nobody else to build it, found process {os.getpid()} on .*; wait"),
        building_area(out),
    ):
        pass
    lock = tmp_path / ".out.building" / "lock"
    lock.write_text(json.dumps({"process": 1, "host": "another", "since": "2024-01-01"}))  # as a dead process leaves it
    with building_area(out) as area:
        assert json.loads(lock.read_text())["process"] == os.getpid()
        area.remove()
        with building_area(out) as second:  # whoever comes while the first is about to let go
            assert isinstance(second, BuildingArea)
            assert second.directory.is_dir()


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [_Terminal(), io.StringIO()], ids=["terminal", "pipe"])
def test_progress_when_a_stage_takes_a_while_then_drawn_on_a_terminal_alone_and_logged(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("features.stages.progress._QUIET_S", 0.0)
    monkeypatch.setattr("features.stages.progress._REDRAW_S", 0.01)
    caplog.set_level(logging.INFO)
    with Progress(of=8, stream=stream) as progress, progress.stage("panel", 7) as tell:
        while stream.isatty() and "features 7/8 panel" not in stream.getvalue():
            pass
        tell({"panel_items": 3})
    if stream.isatty():
        assert stream.getvalue().endswith("\r\x1b[K")  # nothing stays on the line
    else:
        assert not stream.getvalue()
        monkeypatch.setattr("features.stages.progress._QUIET_S", 100.0)
        with Progress(of=8, stream=stream) as progress, progress.stage("stock", 8) as tell:
            tell({})
        assert "7 of 8, panel" in caplog.text
        assert "8 of 8, stock" not in caplog.text  # over at once: not worth a line


def test_query_progress_when_nobody_watches_then_the_connection_is_left_alone() -> None:
    with duckdb.connect() as connection, watched(connection):
        assert connection.query_progress() == -1
    with watching_queries() as queries, duckdb.connect() as connection:
        assert queries.share() is None
        with watched(connection):
            connection.execute("SELECT sum(range) FROM range(3)")
            share = queries.share()
            assert share is None or 0 <= share <= 1
