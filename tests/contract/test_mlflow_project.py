"""`mlflow run` launches the same training as the command line, and leaves one run in one database."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

import footfall
from features.sources.synthetic import generate
from tests.features.model_features import build_model_features

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def feature_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shop")
    generate(root / "data", num_users=150, num_items=80, num_days=100, seed=1)
    build_model_features(root / "data", root / "features")
    return root / "features"


@pytest.mark.parametrize("kind", ["retrieval", "demand"])
def test_settings_of_the_project_when_read_then_they_fit_the_command(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(CHECKOUT / "mlflow" / f"{kind}.yaml")
    with pytest.raises(SystemExit) as stop:
        footfall.main(["train", kind, "features", "store", "--config", config, "--print_config"])
    assert stop.value.code == 0
    assert "seed: 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("entry_point", "settings"),
    [
        (
            "retrieval",
            {
                "tower": {"dim": 8, "max_length": 10, "num_title_buckets": 100},
                "schedule": {"max_epochs": 1},
                "refit": False,
                "min_item_events": 1,
            },
        ),
        (
            "demand",
            {"max_steps": 2, "validate_every_steps": 2, "hidden_size": 8, "num_members": 1, "test_windows": 0},
        ),
    ],
)
def test_mlflow_run_when_launched_then_leaves_one_finished_run_in_one_database(
    entry_point: str, settings: dict[str, object], feature_directory: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"model": settings}))
    checkout = tmp_path / "checkout"  # a copy of the project folder alone: databases land beside it
    shutil.copytree(CHECKOUT / "mlflow", checkout / "mlflow")
    words = ["-m", "mlflow", "run", "mlflow", "-e", entry_point, "--env-manager", "local"]
    parameters = {"features": feature_directory, "store": tmp_path / "store", "config": config}
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
