"""Ctrl-C in a training: what is said, what the run is marked as, and that it can be gone on with."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.contract.data_directory import write_data_directory
from features.errors import ConfigError
from features.files import write_json
from features.settings import EngineSettings, ShopSettings
from tests.features.model_features import build_model_features
from training.resuming import check_same_settings, run_to_resume, tracked_training
from training.tracking import open_client

ROOT = Path(__file__).resolve().parents[2]
# A process that pytest started in the background may have inherited that SIGINT is ignored.
FOOTFALL = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from footfall import main; sys.exit(main())"
)
OPTIONS = [
    *("--model.tower.dim=8", "--model.tower.max_length=10", "--model.tower.num_title_buckets=100"),
    *("--model.schedule.batch_tokens=64", "--model.schedule.checkpoint_steps=5", "--model.schedule.patience=100000"),
    *("--model.split.validation_days=10", "--model.split.test_days=10", "--model.min_item_events=1"),
]


@pytest.fixture
def features(tmp_path: Path) -> Path:
    rng, num_events = np.random.default_rng(0), 1200
    events = pd.DataFrame(
        {
            "user_id": [f"u{user}" for user in rng.integers(0, 40, num_events)],
            "event_type": "purchase",
            "ts": pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(rng.integers(0, 100 * 86400, num_events), "s"),
            "item_id": [f"i{number}" for number in rng.integers(0, 30, num_events)],
            "quantity": 1,
            "price": 100,
            "event_id": [f"e{number}" for number in range(num_events)],
        }
    )
    engine = EngineSettings(threads=1)
    write_data_directory(tmp_path / "data", {"events": events}, shop=ShopSettings(), source="test", engine=engine)
    build_model_features(tmp_path / "data", tmp_path / "features", engine=engine)
    return tmp_path / "features"


def start(features: Path, store: Path, *options: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", FOOTFALL, "train", "retrieval", *map(str, (features, store)), *options],
        cwd=ROOT,
        env=environment | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_train_when_interrupted_then_it_says_how_to_go_on_and_the_run_is_killed(features: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    training = start(features, store, *OPTIONS, "--model.schedule.max_epochs=100000")
    assert training.stderr is not None
    while not list(store.glob("runs/*/fit/last.ckpt")):
        assert training.poll() is None, training.stderr.read()
    training.send_signal(signal.SIGINT)
    _, said = training.communicate(timeout=60)
    assert training.returncode == 130, said
    (run_id,) = (path.name for path in (store / "runs").iterdir())
    assert f"run {run_id} (resume an interrupted training with --resume {run_id})" in said
    assert re.search(rf"interrupted at step \d+; go on with --resume {run_id} and the same options", said)
    assert "footfall train: interrupted" in said
    assert "Traceback" not in said
    assert open_client(store).get_run(run_id).info.status == "KILLED"


def test_settings_when_they_differ_then_only_those_are_named() -> None:
    started = {"config": {"tower": {"dim": 32, "heads": 2}, "seed": 0, "spans": [7, 14]}, "data_fingerprint": "a"}
    now = {"config": {"tower": {"dim": 64, "heads": 2}, "seed": 0, "spans": [7, 14], "new": 1}, "data_fingerprint": "a"}
    check_same_settings("r", started, started)
    with pytest.raises(ConfigError) as raised:
        check_same_settings("r", started, now)
    assert str(raised.value) == (
        "resume: model.tower.dim: the run was started with 32, found 64; "
        "model.new: the run was started with 'nothing', found 1. "
        "Resume run r with the same options and features, or start a new run."
    )


def test_run_to_resume_when_one_was_cut_off_with_the_same_settings_then_that_one_unless_somebody_works_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def begin(settings: dict[str, Any], *, finish: bool = False) -> str:
        with (
            contextlib.suppress(KeyboardInterrupt),
            tracked_training(tmp_path, "test", name="test", resume=None) as run,
        ):
            directory = tmp_path / "runs" / run.run_id
            write_json(directory / "begun.json", settings)
            assert find(settings) != run.run_id  # this process works on it
            with pytest.raises(ConfigError, match="expected nobody to work on it, found another process"):
                tracked_training(tmp_path, "test", name="test", resume=run.run_id).__enter__()
            if not finish:
                raise KeyboardInterrupt
            write_json(directory / "result.json", {})
        return run.run_id

    def find(settings: dict[str, Any], resume: str | None = "auto") -> str | None:
        return run_to_resume(tmp_path, resume, settings=settings, begun="begun.json", finished="result.json")

    assert find({"seed": 0}) is None
    first = begin({"seed": 0, "spans": (7, 14)})
    begin({"seed": 1}, finish=True)
    assert find({"seed": 0, "spans": (7, 14)}) == first
    assert (find({"seed": 1}), find({"seed": 2})) == (None, None)
    for named, found in (("new", None), (None, None), ("another", "another")):
        assert find({"seed": 0, "spans": (7, 14)}, named) == found
    with monkeypatch.context() as patched:
        patched.setattr("training.resuming.code_of_training", lambda: "other code")
        assert find({"seed": 0, "spans": (7, 14)}) is None
        patched.undo()
        patched.setenv("MLFLOW_RUN_ID", "given")
        assert find({"seed": 0, "spans": (7, 14)}) is None
    second = begin({"seed": 0, "spans": (7, 14)})
    assert find({"seed": 0, "spans": (7, 14)}) is None
    assert "2 runs were cut off" in caplog.text
    assert first in caplog.text
    assert second in caplog.text
