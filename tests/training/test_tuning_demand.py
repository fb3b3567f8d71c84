"""A study of the demand model: it asks the validation windows alone, goes on where it was killed, and feeds the training."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

import footfall
from features.build import FeatureSet
from features.errors import ConfigError
from features.release import ReleaseStore
from tests.training import demand_promotion_world as world
from training.commands import tune
from training.demand.config import DemandConfig
from training.tracking import open_client
from training.tuning.config import DemandStudyConfig, Dimension, with_settings
from training.tuning.demand import DemandSubject

pytestmark = pytest.mark.xdist_group("demand_promotion_world")
TRIALS = 3
SPACE = {"learning_rate": {"low": 0.001, "high": 0.03, "log": True}, "max_steps": {"choices": [8, 16]}}


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)


@pytest.fixture(scope="module")
def features(demand_then: Path) -> Path:
    return demand_then


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `footfall tune demand --config` reads."""
    path: Path = tmp_path_factory.mktemp("settings") / "tune.yaml"
    model = json.loads(json.dumps(dataclasses.asdict(world.CONFIG)))
    tuning = {"space": SPACE, "startup_trials": 2, "pruner": "none"}
    path.write_text(yaml.safe_dump({"model": model, "tuning": tuning}))
    return path


def words(features: Path, store: Path, settings: Path, *more: str) -> list[str]:
    return ["demand", str(features), str(store), "--config", str(settings), "--trials", str(TRIALS), *more]


@pytest.fixture(scope="module")
def alone(features: Path, settings: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A study that nobody disturbed."""
    store: Path = tmp_path_factory.mktemp("alone")
    result = tune.run(words(features, store, settings))
    assert result is not None
    return store, result


def trials_of(store: Path, study: str = "demand") -> list[optuna.trial.FrozenTrial]:
    storage = f"sqlite:///{store / 'tuning' / 'optuna.db'}"
    return optuna.load_study(study_name=study, storage=storage).trials


def test_tune_demand_when_done_then_the_lowest_loss_is_best_and_each_trial_is_tracked(
    alone: tuple[Path, dict[str, Any]],
) -> None:
    store, result = alone
    assert result["trials"] == {"complete": TRIALS, "pruned": 0, "fail": 0}
    trials = trials_of(store)
    assert result["best"]["validation_wql"] == min(trial.value or 0.0 for trial in trials)
    for trial in trials:  # told at the share of its steps, whatever their number
        assert sorted(trial.intermediate_values) == {8: [50, 100], 16: [25, 50, 75, 100]}[trial.params["max_steps"]]
        assert trial.value == min(trial.intermediate_values.values())
    client = open_client(store)
    runs = client.search_runs([client.get_run(result["run_id"]).info.experiment_id])
    found = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == result["run_id"]]
    values = {int(run.data.tags["footfall.trial"]): run.data.metrics["best_validation_wql"] for run in found}
    assert values == {trial.number: pytest.approx(trial.value) for trial in trials}
    assert not list((store / "tuning" / "demand" / "trials").iterdir())
    assert f"validation WQL {result['best']['validation_wql']:.4f}" in Path(result["config"]).read_text()


def test_tune_demand_when_killed_and_called_again_then_ends_as_one_left_alone(
    alone: tuple[Path, dict[str, Any]], features: Path, settings: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-W", "ignore", "-P", "-m", "footfall", "tune", *words(features, tmp_path, settings)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(footfall.__file__).parent)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    begun = 0
    for line in process.stderr:
        begun += "demand: training on" in line
        if begun == 2 and "validation windows" in line:  # in the middle of the second trial
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert [trial.state.name for trial in trials_of(tmp_path)] == ["COMPLETE", "RUNNING"]
    result = tune.run(words(features, tmp_path, settings))
    assert result is not None
    undisturbed, expected = alone
    told = [
        [(trial.params, trial.value, trial.intermediate_values) for trial in trials_of(store)]
        for store in (tmp_path, undisturbed)
    ]
    assert told[0] == told[1]
    assert result["best"] == expected["best"]


def test_trial_when_the_test_windows_hold_other_sales_then_scores_the_same(features: Path, tmp_path: Path) -> None:
    found = FeatureSet.load(features)
    units = found.panel.units.copy()
    units[:, -2 * world.HORIZON :] = 99
    tuning = DemandStudyConfig(space={"dropout": Dimension(low=0.0, high=0.3)})
    scores = [
        DemandSubject(panel=panel, fingerprint="", model=world.CONFIG, tuning=tuning)
        .learn({"dropout": 0.1}, tmp_path / str(number), tracker=False, callbacks=())
        .score
        for number, panel in enumerate((found.panel, dataclasses.replace(found.panel, units=units)))
    ]
    assert scores[0] == scores[1]


def test_best_settings_when_fed_to_the_training_then_it_validates_as_the_trial_did(
    alone: tuple[Path, dict[str, Any]], features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, result = alone
    assert footfall.main(["train", "demand", str(features), str(tmp_path), "--config", result["config"]]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert metrics["validation_wql"] == pytest.approx(result["best"]["validation_wql"], rel=1e-6)
    part = ReleaseStore(root=tmp_path).latest_part("demand")
    assert part is not None
    for name, value in result["best"]["settings"].items():
        assert part.about["settings"][name] == value
    assert part.about["settings"]["spans"] == [7, 14]


def test_tune_demand_when_the_study_is_of_another_model_then_says_so(
    alone: tuple[Path, dict[str, Any]], features: Path, settings: Path
) -> None:
    store, _ = alone
    with pytest.raises(ConfigError, match=r"model\.seed: begun with 0, found 5\. Go on with the same"):
        tune.run(words(features, store, settings, "--model.seed", "5"))
    optuna.create_study(
        storage=f"sqlite:///{store / 'tuning' / 'optuna.db'}", study_name="towers", direction="maximize"
    )
    with pytest.raises(ConfigError, match="another kind of model; name another with --study"):
        tune.run(words(features, store, settings, "--study", "towers"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("horizon", "other questions, so that their scores could not be compared; set it for all trials"),
        ("validation_windows", "other questions"),
        ("lead_time_days", "decides what follows from a forecast"),
        ("decisions.review_days", "decides what follows from a forecast"),
        ("num_threads", "how fast a training runs"),
        ("seed", "the luckiest seed"),
        ("spans", "expected a setting of the model that does not change what is asked, found 'spans'"),
        ("dropuot", "Did you mean 'dropout'"),
    ],
)
def test_demand_space_when_a_setting_cannot_be_searched_then_says_why(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DemandStudyConfig(space={name: Dimension(choices=(1, 2))})


def test_default_demand_space_when_tried_then_every_corner_is_a_valid_model() -> None:
    for name, dimension in DemandStudyConfig().space.items():
        for value in dimension.choices or (dimension.low, dimension.high):
            assert value is not None
            with_settings(DemandConfig(), {name: value})
