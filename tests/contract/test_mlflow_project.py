"""`mlflow run` launches the same training as the command line, and leaves one run in one database."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from features.build import build_features
from features.sources.synthetic import generate

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def feature_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shop")
    generate(root / "data", num_users=150, num_items=80, num_days=90, seed=1)
    build_features(root / "data", root / "features")
    return root / "features"


@pytest.mark.parametrize(
    ("entry_point", "options"),
    [
        ("retrieval", "--model.schedule.max_epochs 1 --model.refit false --model.min_item_events 1"),
        ("demand", "--model.max_steps 2 --model.validate_every_steps 2 --model.hidden_size 8"),
    ],
)
def test_mlflow_run_when_launched_then_leaves_one_finished_run_in_one_database(
    entry_point: str, options: str, feature_directory: Path, tmp_path: Path
) -> None:
    checkout = tmp_path / "checkout"  # a copy of the project folder alone: databases land beside it
    shutil.copytree(CHECKOUT / "mlflow", checkout / "mlflow")
    words = ["-m", "mlflow", "run", "mlflow", "-e", entry_point, "--env-manager", "local"]
    parameters = {"features": feature_directory, "store": tmp_path / "store", "options": options}
    words += [word for name, value in parameters.items() for word in ("-P", f"{name}={value}")]
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")} | {
        "PATH": scripts
    }
    done = subprocess.run(
        [sys.executable, "-P", *words], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    databases = sorted(tmp_path.rglob("*.db"))
    assert databases == [checkout / "mlflow.db"]
    client = MlflowClient(f"sqlite:///{databases[0]}")
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert [run.info.status for run in runs] == ["FINISHED"]
    assert runs[0].data.metrics
