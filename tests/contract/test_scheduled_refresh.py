"""The example of a scheduler: its command lines are what the commands take, and it goes on where it stopped."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from pathlib import Path

import pytest

import footfall

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
# Says what it was asked for; fails as often as a file says, and writes what the real commands leave behind.
STUB = """#!{python}
import json, pathlib, sys
root = pathlib.Path({root!r})
with open(root / "asked", "a") as asked:
    asked.write(json.dumps(sys.argv[1:]) + "\\n")
fails = json.loads((root / "fails").read_text()) if (root / "fails").exists() else {{}}
stage = " ".join(sys.argv[1:3] if sys.argv[1] in ("train", "tune") else sys.argv[1:2])
codes = fails.get(stage, [])
code = codes.pop(0) if codes else 0
(root / "fails").write_text(json.dumps(fails))
if stage.startswith("tune") and not code:
    best = root / "store" / "tuning" / sys.argv[sys.argv.index("--study") + 1]
    best.mkdir(parents=True)
    (best / "best.yaml").write_text("model: {{seed: 1}}")
sys.exit(code)
"""


def _asked(root: Path) -> list[list[str]]:
    lines = (root / "asked").read_text().splitlines() if (root / "asked").exists() else []
    (root / "asked").unlink(missing_ok=True)
    return [json.loads(line) for line in lines]


def _run(root: Path, job: str, *, fails: dict[str, list[int]] | None = None) -> int:
    stub = root / "footfall"
    stub.write_text(STUB.format(python=sys.executable, root=str(root)))
    stub.chmod(0o755)
    (root / "fails").write_text(json.dumps(fails or {}))
    words = [job, *(str(root / name) for name in ("data", "features", "store")), "--footfall", str(stub)]
    return subprocess.run([sys.executable, EXAMPLES / "scheduled_refresh.py", *words], check=False).returncode


def _serve(root: Path) -> None:
    (root / "store" / "releases").mkdir(parents=True, exist_ok=True)
    parts = {name: {"version": f"{name}-1", "sha256": "0"} for name in ("retrieval", "demand", "customers")}
    (root / "store" / "releases" / "r1.json").write_text(json.dumps({"parts": parts}))
    (root / "store" / "current.json").write_text(json.dumps({"release_id": "r1"}))


@pytest.mark.filterwarnings("ignore:\\s*Unable to serialize instance")  # of what is searched, when it is printed
def test_jobs_when_run_then_each_command_line_is_one_that_the_command_takes(tmp_path: Path) -> None:
    _serve(tmp_path)
    assert _run(tmp_path, "daily") == 0
    assert _run(tmp_path, "monthly", fails={"promote": [4]}) == 0
    asked = _asked(tmp_path)
    verbs = [" ".join(words[:2]) if words[0] in ("train", "tune", "report") else words[0] for words in asked]
    models = ["tune retrieval", "train retrieval", "tune demand", "train demand"]
    assert verbs == [
        "live",
        "features",
        "promote",
        "live",
        "features",
        *models,
        "promote",
        "promote",
        "report customers",
    ]
    assert asked[2][-4:] == asked[-2][-4:] == ["--retrieval", "retrieval-1", "--demand", "demand-1"]
    for words in asked:
        with pytest.raises(SystemExit) as ended:  # the command reads its arguments, prints them and does nothing
            footfall.main([*words, "--print_config"])
        assert ended.value.code == 0, words
    assert footfall.main(["features", "data", "features", "--no_such_option", "1", "--print_config"]) == 2


def test_weekly_when_a_stage_fails_then_the_next_run_goes_on_from_it(tmp_path: Path) -> None:
    assert _run(tmp_path, "weekly", fails={"train demand": [1]}) == 1
    assert [words[:2] for words in _asked(tmp_path)][2:] == [["train", "retrieval"], ["train", "demand"]]
    assert _run(tmp_path, "weekly") == 0
    assert [words[0] for words in _asked(tmp_path)] == ["train", "promote", "report"]
    assert _run(tmp_path, "weekly") == 0
    assert _asked(tmp_path) == []
    notes = tmp_path / "store" / "schedule" / "weekly.json"
    notes.write_text(json.dumps({"period": "2024-W01", "done": json.loads(notes.read_text())["done"]}))
    assert _run(tmp_path, "weekly") == 0  # another week
    assert len(_asked(tmp_path)) == 6


def test_job_when_another_runs_then_it_gives_up_and_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "store" / "schedule").mkdir(parents=True)
    with (tmp_path / "store" / "schedule" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert _run(tmp_path, "daily") == 75
    assert _asked(tmp_path) == []
    assert _run(tmp_path, "daily") == 0
    assert [words[0] for words in _asked(tmp_path)] == ["live", "features"]  # nothing is served yet


@pytest.mark.parametrize("file", ["footfall-weekly.service", "footfall.crontab"])
def test_unit_and_crontab_when_read_then_they_name_jobs_that_there_are(file: str) -> None:
    lines = [line for line in (EXAMPLES / file).read_text().splitlines() if "scheduled_refresh.py" in line]
    jobs = [line.split("scheduled_refresh.py ")[1].split() for line in lines if not line.startswith("#")]
    assert jobs
    assert all(job in ("daily", "weekly", "monthly") and len(rest) >= 3 for job, *rest in jobs)
