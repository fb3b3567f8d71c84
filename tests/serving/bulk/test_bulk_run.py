"""`footfall recommend`: parts, rejects, and going on where an earlier run ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from features.errors import ConfigError, DataError
from serving.bulk.progress import ProgressLine
from serving.commands.recommend import run
from tests.serving.tiny_release import TinyRelease, build, plain_blend


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    root = tmp_path_factory.mktemp("bulk") / "store"
    return build(root, num_users=1_500, kinds=("retrieval", "customers"), blend=plain_blend())


def recommend(shop: TinyRelease, out: Path, *words: str) -> dict[str, Any]:
    return run([str(shop.store.root), "--out", str(out), "--workers", "1", *words])


def rows_of(out: Path) -> pd.DataFrame:
    parts = [pq.read_table(file).to_pandas() for file in sorted(out.glob("part-*.parquet"))]
    found = pd.concat(parts, ignore_index=True)
    return found.assign(**{name: found[name].map(list) for name in ("items", "scores")})


def written(path: Path, ids: list[str]) -> Path:
    path.write_text("\n".join(["user_id,name", *(f"{id_},x" for id_ in ids), ""]))
    return path


def test_lists_follow_the_file_and_rows_that_name_nobody_are_set_aside(shop: TinyRelease, tmp_path: Path) -> None:
    file = written(tmp_path / "users.csv", ["user-7", "stranger", "", "user-3", "user-7", "x" * 257, "007"])
    manifest = recommend(shop, tmp_path / "out", "--users", str(file), "--shard_users", "3", "--k", "5")
    rows = rows_of(tmp_path / "out")
    assert rows["user_id"].tolist() == ["user-7", "stranger", "user-3", "007"]  # ids are text, whatever they look like
    assert rows["known"].tolist() == [True, False, True, False]
    assert rows["strategy"].tolist()[1::2] == ["favourites", "favourites"]
    assert rows["items"].map(len).tolist() == [5] * 4
    assert all(scores == sorted(scores, reverse=True) for scores in rows["scores"])
    assert [(part["file"], part["lists"]) for part in manifest["parts"]] == [
        ("part-00000.parquet", 3),
        ("part-00001.parquet", 1),
    ]
    assert (manifest["counts"]["lists"], manifest["counts"]["unknown"], manifest["rejects"]) == (4, 2, 3)
    rejects = pq.read_table(tmp_path / "out/_rejects.parquet").to_pandas()
    assert rejects["row"].tolist() == [3, 5, 6]
    assert rejects["reason"].tolist() == [
        "user_id is empty", "the user stands in an earlier row", "user_id is longer than 256 characters",
    ]  # fmt: skip
    assert json.loads(rejects["content"][1]) == {"user_id": "user-7"}
    assert json.loads((tmp_path / "out/_manifest.json").read_text()) == {"format": 1, **manifest}


def test_erased_users_are_left_out_and_counted(tmp_path: Path) -> None:
    shop = build(tmp_path / "store", kinds=("retrieval", "customers"))
    shop.store.erasures.add("user-4")
    manifest = recommend(shop, tmp_path / "out")
    assert manifest["counts"]["erased"] == 1
    assert rows_of(tmp_path / "out")["user_id"].tolist() == [id_ for id_ in shop.users.ids if id_ != "user-4"]


def test_a_finished_run_is_told_again_and_another_one_is_refused(shop: TinyRelease, tmp_path: Path) -> None:
    file = written(tmp_path / "users.csv", [f"user-{number}" for number in range(20)])
    words = ("--users", str(file), "--shard_users", "8")
    first = recommend(shop, tmp_path / "out", *words)
    stamps = {one.name: one.stat().st_mtime_ns for one in (tmp_path / "out").iterdir()}
    assert recommend(shop, tmp_path / "out", *words) == {"format": 1, **first}
    assert {one.name: one.stat().st_mtime_ns for one in (tmp_path / "out").iterdir()} == stamps
    with pytest.raises(DataError, match=r"lists of another run \(settings: .*--replace"):
        recommend(shop, tmp_path / "out", *words, "--k", "3")
    again = recommend(shop, tmp_path / "out", *words, "--k", "3", "--shard_users", "20", "--replace")
    assert (again["parts_kept"], len(again["parts"])) == (0, 1)
    assert [one.name for one in sorted((tmp_path / "out").glob("part*"))] == ["part-00000.parquet"]


def test_parts_of_whoever_was_erased_since_are_made_again(tmp_path: Path) -> None:
    shop = build(tmp_path / "store", kinds=("retrieval", "customers"))
    recommend(shop, tmp_path / "out", "--shard_users", "10")
    shop.store.erasures.add("user-14")
    again = recommend(shop, tmp_path / "out", "--shard_users", "10")
    assert (again["parts_kept"], again["counts"]["erased"]) == (2, 1)
    assert "user-14" not in set(rows_of(tmp_path / "out")["user_id"])


def test_a_run_that_was_killed_goes_on_behind_its_finished_parts(shop: TinyRelease, tmp_path: Path) -> None:
    # One by one: slow enough to be met at work. Two runs count to one instant only where it is named.
    words = ("--surface", "buy_it_again", "--shard_users", "25", "--at", "2026-11-20T04:00:00Z")
    command = [sys.executable, "-m", "footfall", "recommend", str(shop.store.root), "--out", str(tmp_path / "killed")]
    started = subprocess.Popen([*command, "--workers", "2", *words], start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "killed").glob("part-*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    with contextlib.suppress(ProcessLookupError):  # its workers too are gone
        while time.monotonic() < deadline:
            os.killpg(started.pid, 0)
            time.sleep(0.005)
    finished = {one.name: one.stat().st_mtime_ns for one in (tmp_path / "killed").glob("part-*.parquet")}
    assert 0 < len(finished) < 60
    manifest = recommend(shop, tmp_path / "killed", *words)
    assert manifest["parts_kept"] == len(finished)
    assert all((tmp_path / "killed" / name).stat().st_mtime_ns == stamp for name, stamp in finished.items())
    assert not list((tmp_path / "killed").glob(".*"))
    whole = recommend(shop, tmp_path / "whole", *words, "--shard_users", "1500")
    assert whole["counts"] == manifest["counts"]
    pd.testing.assert_frame_equal(rows_of(tmp_path / "killed"), rows_of(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.csv", None, "found no file"),
        ("users.txt", "user_id\na\n", "name it .parquet or .csv"),
        ("users.csv", "customer\na\n", "expected a column user_id"),
        ("users.csv", "user_id\n\n", "expected users, found none"),
        ("users.parquet", "PAR1 no more", "expected a column user_id of ids"),
    ],
)
def test_a_file_that_holds_no_users_says_what_is_expected(
    name: str, content: str | None, said: str, shop: TinyRelease, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=said):
        recommend(shop, tmp_path / "out", "--users", str(tmp_path / name))


def test_a_directory_of_other_files_is_left_alone(shop: TinyRelease, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="found other files"):
        recommend(shop, tmp_path, "--replace")
    with pytest.raises(ConfigError, match="knows no category"):
        recommend(shop, tmp_path / "out", "--category", "fod")
    with pytest.raises(ConfigError, match="at: expected an instant with its offset"):
        recommend(shop, tmp_path / "out", "--at", "2026-11-20T04:00:00")


def test_progress_is_told_on_a_terminal_alone() -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    quiet, terminal = StringIO(), Terminal()
    for stream in (quiet, terminal):
        line = ProgressLine(4_000, 1_000, stream=stream)
        line(500)
        line.close()
    assert not quiet.getvalue()
    assert "1,500 of 4,000 users" in terminal.getvalue()
    assert ProgressLine(4_000, 1_000, stream=quiet).text(1.0) == "1,000 of 4,000 users, 0 a second, 0 s left"
