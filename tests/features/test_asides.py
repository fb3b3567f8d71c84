"""What a killed writer leaves behind is removed by the next one, and nothing else is."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from features import asides
from features.asides import aside_of, scratch_directory, sweep
from features.files import staged_directory, staged_file, write_bytes
from features.release import write_part

_KILLED = """
import os, signal
from pathlib import Path
from features.files import staged_directory, staged_file
from features.release import write_part
root = Path({root!r})
with staged_directory(root / "out") as staging, staged_file(root / "a.txt") as aside:
    with write_part(root, "customers", data_fingerprint="f") as draft:
        for path in (staging / "half", aside, draft.directory / "half"):
            path.write_text("personal")
        os.kill(os.getpid(), signal.SIGKILL)
"""


def left(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name.startswith("."))


def test_writers_when_one_was_killed_then_the_next_ones_sweep_what_it_left(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", _KILLED.format(root=str(tmp_path))], check=False, cwd=Path(__file__).parents[2]
    )
    assert [name.split(".")[1] for name in left(tmp_path)] == ["a", "out"]
    assert len(left(tmp_path / "parts" / "customers")) == 1
    with staged_directory(tmp_path / "out"):
        pass
    with staged_file(tmp_path / "a.txt") as aside:
        aside.write_text("new")
    with write_part(tmp_path, "customers", data_fingerprint="f") as draft:
        (draft.directory / "file").write_text("new")
    assert left(tmp_path) == left(tmp_path / "parts" / "customers") == []
    assert (tmp_path / "a.txt").read_text() == "new"


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def renamed(path: Path, **changes: object) -> Path:
    """A path as another process would have named it."""
    name, owner, suffix = path.name.rsplit(".", 2)
    values = dict(zip(("host", "pid", "process", "times"), owner.split("-"), strict=True)) | changes
    return path.with_name(f"{name}.{'-'.join(map(str, values.values()))}.{suffix}")


def test_sweep_when_paths_belong_to_others_then_only_dead_processes_of_this_host_lose_theirs(
    tmp_path: Path, dead_pid: int
) -> None:
    mine = aside_of(tmp_path / "a")
    kept = [
        mine,
        renamed(mine, pid=os.getppid()),
        renamed(mine, pid=dead_pid, host="000000"),
        renamed(aside_of(tmp_path / "other"), pid=dead_pid),
        tmp_path / ".a.partial",
        tmp_path / "a",
    ]
    swept = [
        renamed(mine, pid=dead_pid),
        renamed(mine, process="0" * 8),  # this process's number, before a restart
        renamed(aside_of(tmp_path / "a", "retired"), pid=dead_pid),
    ]
    for path in kept + swept:
        path.write_text("x")
    sweep(tmp_path, "a")
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    sweep(tmp_path)
    assert kept[3] not in tmp_path.iterdir()
    sweep(tmp_path / "missing")


def test_staged_directory_when_killed_between_its_two_moves_then_the_old_one_stays_until_there_is_a_new_one(
    tmp_path: Path, dead_pid: int
) -> None:
    retired = renamed(aside_of(tmp_path / "out", "retired"), pid=dead_pid)
    retired.mkdir()
    with pytest.raises(ZeroDivisionError), staged_directory(tmp_path / "out", replace=True):
        raise ZeroDivisionError
    assert retired.is_dir()
    with staged_directory(tmp_path / "out", replace=True):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_write_bytes_when_another_thread_or_process_writes_the_same_then_neither_is_swept(tmp_path: Path) -> None:
    with staged_file(tmp_path / "a") as aside:
        aside.write_text("first")
        write_bytes(tmp_path / "a", b"second")
        assert aside.exists()
    assert (tmp_path / "a").read_text() == "first"


def test_scratch_directory_when_used_then_private_and_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asides, "_PROCESS", "0" * 8)
    stale = aside_of(tmp_path / "spill")
    stale.mkdir()
    monkeypatch.undo()
    with scratch_directory(tmp_path, "spill") as scratch:
        assert not stale.exists()
        assert stat.S_IMODE(scratch.stat().st_mode) == 0o700
        (scratch / "block").write_text("x")
    assert list(tmp_path.iterdir()) == []
