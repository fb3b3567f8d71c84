"""A study finds the setting that learns, goes on where it was killed, and hands its best over to training."""

from __future__ import annotations

import dataclasses
import fcntl
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
from training.commands import tune
from training.retrieval.config import RetrievalConfig
from training.retrieval.learn import Learned, Lesson, learn
from training.retrieval.lessons import split_for
from training.tracking import open_client
from training.tuning.config import Dimension, StudyConfig, with_settings

pytestmark = pytest.mark.xdist_group("promotion_world")
SETTINGS: dict[str, Any] = {
    "model": {
        "tower": {"dim": 8, "max_length": 10, "dropout": 0.0, "content": False},
        "loss": {"horizon": 1, "repeat_weight": 1.0, "half_life_days": 0.0},
        "schedule": {
            "batch_tokens": 256,
            "max_epochs": 20,
            "validations_per_epoch": 1,
            "ema_decay": 0.8,
            "warmup_steps": 2,
            "checkpoint_steps": 3,
            "patience": 20,
        },
        "split": {"validation_days": 5, "test_days": 5},
        "exclude_seen": False,
        "min_item_events": 1,
        "refit": False,
    },
    "tuning": {
        "space": {
            "schedule.learning_rate": {"choices": [1e-6, 1e-2, 3e-2]},
            "loss.temperature": {"low": 0.05, "high": 0.2, "log": True},
            "tower.num_heads": {"low": 1, "high": 2},
        },
        "trial_tokens": 8000,
        "startup_trials": 2,
        "pruner": "none",
    },
}
TRIALS = 4


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)


@pytest.fixture(scope="module")
def features(last_week: Path) -> Path:
    return last_week


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("settings") / "tune.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    return path


def words(features: Path, store: Path, settings: Path, *more: str) -> list[str]:
    return ["retrieval", str(features), str(store), "--config", str(settings), "--trials", str(TRIALS), *more]


@pytest.fixture(scope="module")
def alone(features: Path, settings: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A study that nobody disturbed, and what it told its learner."""
    store: Path = tmp_path_factory.mktemp("alone")
    lessons: list[Lesson] = []

    def told(lesson: Lesson, *args: Any, **named: Any) -> Learned:
        lessons.append(lesson)
        return learn(lesson, *args, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.tuning.retrieval.learn", told)
        result = tune.run(words(features, store, settings))
    assert result is not None
    return store, result | {"lessons": lessons}


def trials_of(store: Path, study: str = "retrieval") -> list[optuna.trial.FrozenTrial]:
    storage = f"sqlite:///{store / 'tuning' / 'optuna.db'}"
    return optuna.load_study(study_name=study, storage=storage).trials


def children(store: Path, parent: str) -> list[Any]:
    client = open_client(store)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return [run for run in client.search_runs(experiments) if run.data.tags.get("mlflow.parentRunId") == parent]


def test_tune_when_one_rate_learns_then_it_is_found(alone: tuple[Path, dict[str, Any]]) -> None:
    store, result = alone
    assert result["trials"] == {"complete": TRIALS, "pruned": 0, "fail": 0}
    values = {trial.params["schedule.learning_rate"]: trial.value or 0.0 for trial in trials_of(store)}
    assert result["best"]["settings"]["schedule.learning_rate"] > 1e-6
    assert result["best"]["validation_ndcg@10"] == max(trial.value or 0.0 for trial in trials_of(store))
    assert result["best"]["validation_ndcg@10"] > 1.2 * values[1e-6]
    assert not list((store / "tuning" / "retrieval" / "trials").iterdir()), "checkpoints of finished trials stay"


def test_tune_when_tracked_then_one_run_a_trial_stands_under_the_study(alone: tuple[Path, dict[str, Any]]) -> None:
    store, result = alone
    found = children(store, result["run_id"])
    assert len(found) == TRIALS
    assert {run.info.status for run in found} == {"FINISHED"}
    values = {int(run.data.tags["footfall.trial"]): run.data.metrics["best_validation_ndcg_at_10"] for run in found}
    assert values == {trial.number: pytest.approx(trial.value) for trial in trials_of(store)}
    assert sorted(path.name for path in store.rglob("*.db")) == ["mlflow.db", "optuna.db"]
    assert [file.path for file in open_client(store).list_artifacts(result["run_id"])] == ["best.yaml"]


def test_tune_when_it_learns_then_the_test_window_is_out_of_sight(
    alone: tuple[Path, dict[str, Any]], features: Path
) -> None:
    _, result = alone
    sequences = FeatureSet.load(features).sequences
    config = with_settings(RetrievalConfig(), {})
    config = dataclasses.replace(config, split=dataclasses.replace(config.split, validation_days=5, test_days=5))
    split = split_for(sequences, config)
    assert split.cutoffs_us is not None
    validation_from_us, test_from_us = split.cutoffs_us
    assert len(result["lessons"]) == TRIALS
    for lesson in result["lessons"]:
        assert lesson.fit.ts.max() < validation_from_us
        assert lesson.validation.query.ts.max() < validation_from_us
        assert lesson.validation.targets.ts.max() < test_from_us


def test_tune_when_killed_and_called_again_then_ends_as_one_left_alone(
    alone: tuple[Path, dict[str, Any]], features: Path, settings: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-W", "ignore", "-P", "-m", "footfall", "tune", *words(features, tmp_path, settings)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(footfall.__file__).parent)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    begun = 0
    for line in process.stderr:
        begun += "learning: " in line
        if begun == 2:  # in the middle of the second trial
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    states = [trial.state.name for trial in trials_of(tmp_path)]
    assert states == ["COMPLETE", "RUNNING"]
    result = tune.run(words(features, tmp_path, settings))
    assert result is not None
    undisturbed, expected = alone
    assert [(trial.params, trial.value) for trial in trials_of(tmp_path)] == [
        (trial.params, trial.value) for trial in trials_of(undisturbed)
    ]
    assert len(children(tmp_path, result["run_id"])) == TRIALS
    again = tune.run(words(features, tmp_path, settings))  # nothing is left to do
    assert again == result
    assert len(trials_of(tmp_path)) == TRIALS
    assert result["best"] == expected["best"]


def test_best_settings_when_fed_to_the_training_then_it_trains_with_them(
    alone: tuple[Path, dict[str, Any]], features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, result = alone
    command = ["train", "retrieval", str(features), str(tmp_path), "--config", result["config"]]
    assert footfall.main([*command, "--model.schedule.max_epochs", "3"]) == 0
    assert json.loads(capsys.readouterr().out)["validation"]["ndcg@10"] > 0
    part = ReleaseStore(root=tmp_path).latest_part("retrieval")
    assert part is not None
    used = part.about["config"]
    for name, value in result["best"]["settings"].items():
        group, setting = name.split(".")
        assert used[group][setting] == value
    assert used["schedule"]["max_tokens"] == RetrievalConfig().schedule.max_tokens  # not the budget of a trial
    assert used["tower"]["dim"] == 8


def test_tune_when_called_with_other_settings_then_names_those_that_differ(
    alone: tuple[Path, dict[str, Any]], features: Path, settings: Path
) -> None:
    store, _ = alone
    with pytest.raises(ConfigError, match=r"model\.seed: begun with 0, found 5\. Go on with the same"):
        tune.run(words(features, store, settings, "--model.seed", "5"))


def test_tune_when_another_process_works_on_the_study_then_says_so(
    features: Path, settings: Path, tmp_path: Path
) -> None:
    lock = tmp_path / "tuning" / "retrieval" / "lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another process works on this study"):
            tune.run(words(features, tmp_path, settings))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"tower.dimm": Dimension(choices=(8,))}, "Did you mean 'tower.dim'"),
        ({"split.test_days": Dimension(choices=(8,))}, "does not change what is asked"),
        ({"schedule.validation_users": Dimension(choices=(8,))}, "would be asked other questions"),
        ({}, "at least one setting"),
    ],
)
def test_space_when_a_setting_cannot_be_searched_then_says_so(space: dict[str, Dimension], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        StudyConfig(space=space)


@pytest.mark.parametrize(
    "values",
    [{}, {"low": 1.0}, {"low": 2.0, "high": 1.0}, {"low": 0.0, "high": 1.0, "log": True}, {"low": 0.0, "high": 1.0, "choices": (1,)}],
)  # fmt: skip
def test_dimension_when_it_is_neither_range_nor_choices_then_says_what_was_found(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="space: expected"):
        Dimension(**values)


def test_default_space_when_tried_then_every_corner_is_a_valid_model() -> None:
    for name, dimension in StudyConfig().space.items():
        for value in dimension.choices or (dimension.low, dimension.high):
            assert value is not None
            with_settings(RetrievalConfig(), {name: value})


def test_tune_when_a_trial_is_ended_early_then_counts_as_finished_and_says_so(
    features: Path, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rate that learns nothing stays at .24; the pruner ends what is below .3 at the fourth validation."""
    pruner = optuna.pruners.ThresholdPruner(lower=0.3, n_warmup_steps=4)
    monkeypatch.setattr("training.tuning.study._pruner", lambda tuning: pruner)
    result = tune.run(words(features, tmp_path, settings, "--trials", "2", "--study", "short"))
    assert result is not None
    assert result["trials"] == {"complete": 1, "pruned": 1, "fail": 0}
    ended, complete = sorted(trials_of(tmp_path, "short"), key=lambda trial: trial.state.name, reverse=True)
    assert (ended.params["schedule.learning_rate"], max(ended.intermediate_values)) == (1e-6, 4)
    assert result["best"]["trial"] == complete.number
    tags = {int(run.data.tags["footfall.trial"]): run.data.tags for run in children(tmp_path, result["run_id"])}
    assert ["footfall.pruned" in tags[number] for number in (ended.number, complete.number)] == [True, False]
    assert not list((tmp_path / "tuning" / "short" / "trials").iterdir())
