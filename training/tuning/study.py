"""A study: trials of settings, each scored on the validation windows; the test windows are never touched.

store/tuning/optuna.db            all studies; not mlflow.db, since both libraries keep the version of their tables under one name
store/tuning/<study>/best.yaml    for ``footfall train retrieval|demand --config``
store/tuning/<study>/trials/<n>   checkpoint of a trial that runs, or was cut off
store/tuning/<study>/lock         held by the process that works on the study

A study that was cut off goes on: finished trials stay, and the one that ran goes on from its last checkpoint under its number
and in its MLflow run. A trial's settings follow from the seed, its number and the trials before, so that a study that was
killed ends as one that was left alone.

Source: Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization" (TPE), as Optuna implements it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import logging
import re
import shutil
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import lightning.pytorch as pl
import numpy as np
import optuna
import yaml
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from features.errors import ConfigError, DataError
from features.files import write_bytes
from training.tracking import TrackedRun, flattened, tracked_run
from training.tuning.config import Dimension, ModelConfig, SearchConfig, Value, value_of, with_settings
from training.tuning.subject import Subject

EXPERIMENT: Final = "footfall-tuning"
TUNING_DIRECTORY: Final = "tuning"
BEST_FILE: Final = "best.yaml"
_DATABASE: Final = "optuna.db"
_RUN_ID: Final = "run_id"
_SETTINGS: Final = "settings"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_FINISHED: Final = (TrialState.COMPLETE, TrialState.PRUNED)

log = logging.getLogger(__name__)


def tune(subject: Subject, store: Path, *, study: str, trials: int = 20, timeout_minutes: float = 0) -> dict[str, Any]:
    """Search for settings of a model, or go on with a search.

    Args:
        subject: the model, and what is searched.
        store: release store; the study goes to ``tuning/``, its runs to the tracking database.
        study: name; a study of this name goes on.
        trials: finished trials in all, those of earlier calls included.
        timeout_minutes: no trial begins later; 0 for no limit.

    Returns:
        ``study, run_id, trials, best, config``: counts by outcome, the best trial, and the YAML file for training.

    Raises:
        ConfigError: the study was begun with another model, other settings or data, or another process works on it.
        DataError: no trial has ended.
    """
    if not _NAME.fullmatch(study) or trials < 1:
        raise ConfigError(
            f"tune: expected a study name of letters and digits and trials >= 1, found {study!r}, {trials}."
        )
    root = store / TUNING_DIRECTORY
    settings = {"model": subject.model, "tuning": subject.tuning, **subject.data}
    with _locked(root / study), _quiet():
        found = optuna.create_study(
            storage=f"sqlite:///{root.resolve() / _DATABASE}",
            study_name=study,
            direction=subject.direction,
            load_if_exists=True,
        )
        _check_same(found, subject, settings)
        with tracked_run(store, EXPERIMENT, name=study, run_id=found.user_attrs.get(_RUN_ID)) as run:
            if _RUN_ID not in found.user_attrs:
                run.log_params(settings)
                found.set_user_attr(_RUN_ID, run.run_id)
            search = _Search(study=found, directory=root / study, subject=subject, run=run)
            return search.result(trials, deadline=time.monotonic() + 60 * timeout_minutes if timeout_minutes else None)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Search:
    """The trials of one study."""

    study: optuna.Study
    directory: Path
    subject: Subject
    run: TrackedRun

    def result(self, num_trials: int, *, deadline: float | None) -> dict[str, Any]:
        while len(self._of_state(*_FINISHED)) < num_trials:
            if deadline is not None and time.monotonic() > deadline:
                log.info(
                    "out of time after %d of %d trials; the same command goes on",
                    len(self._of_state(*_FINISHED)),
                    num_trials,
                )
                break
            self._attempt(self._next(), num_trials)
        if not self._of_state(TrialState.COMPLETE):
            raise DataError("tune: expected at least one trial to end, found none; give it more time or trials.")
        best = self.study.best_trial
        return {
            "study": self.study.study_name,
            "run_id": self.run.run_id,
            "trials": {state.name.lower(): len(self._of_state(state)) for state in (*_FINISHED, TrialState.FAIL)},
            "best": {"trial": best.number, f"validation_{self.subject.metric}": best.value, "settings": best.params},
            "config": str(self._write_best()),
        }

    def _of_state(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states)

    def _next(self) -> Trial:
        """Take up the trial that was cut off, else begin one; a sampler of its own makes it a function of its number."""
        running = self._of_state(TrialState.RUNNING)
        number = running[0].number if running else len(self.study.get_trials(deepcopy=False))
        seed = int(np.random.SeedSequence([self.subject.tuning.seed, number]).generate_state(1)[0])
        self.study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.subject.tuning.startup_trials)
        self.study.pruner = _pruner(self.subject.tuning)
        return Trial(self.study, running[0]._trial_id) if running else self.study.ask()

    def _attempt(self, trial: Trial, num_trials: int) -> None:
        started = time.monotonic()
        directory = self.directory / "trials" / str(trial.number)
        try:
            value = self._value(trial, directory)
        except Exception:  # it would fail again: the next call begins another one
            self.study.tell(trial, state=TrialState.FAIL)
            raise
        self.study.tell(trial, value, state=None if value is not None else TrialState.PRUNED)
        shutil.rmtree(directory, ignore_errors=True)
        self._tell(trial, value, num_trials, time.monotonic() - started)

    def _value(self, trial: Trial, directory: Path) -> float | None:
        """Return the best validation score of a trial, ``None`` where it was ended early."""
        subject = self.subject
        values = {name: _suggested(trial, name, dim, subject.model) for name, dim in subject.tuning.space.items()}
        with tracked_run(self.run.store, EXPERIMENT, name="trial", run_id=self._child(trial, values)) as run:
            try:
                found = subject.learn(values, directory, tracker=run.logger, callbacks=[_Reports(trial, subject)])
            except optuna.TrialPruned:
                run.log_tags({"footfall.pruned": "true"})
                return None
            run.log_metrics({f"best_validation_{subject.metric}": found.score, "steps": found.steps})
            return found.score

    def _child(self, trial: Trial, values: dict[str, Value]) -> str:
        """Return the trial's MLflow run under the study's, made where it has none yet."""
        if _RUN_ID in trial.user_attrs:
            return str(trial.user_attrs[_RUN_ID])
        client = self.run.client
        experiment_id = client.get_run(self.run.run_id).info.experiment_id
        tags = {"mlflow.parentRunId": self.run.run_id, "footfall.trial": str(trial.number)}
        run_id = str(client.create_run(experiment_id, run_name=f"trial {trial.number}", tags=tags).info.run_id)
        for name, value in values.items():
            client.log_param(run_id, f"config.{name}", value)
        trial.set_user_attr(_RUN_ID, run_id)
        return run_id

    def _tell(self, trial: Trial, value: float | None, num_trials: int, seconds: float) -> None:
        done = len(self._of_state(*_FINISHED))
        settings = ", ".join(
            f"{name}={found:.4g}" if isinstance(found, float) else f"{name}={found}"
            for name, found in trial.params.items()
        )
        outcome = "ended early" if value is None else f"validation {self.subject.metric.upper()} {value:.4f}"
        best = self.study.best_trial if self._of_state(TrialState.COMPLETE) else None
        best_text = f"best {best.value:.4f} (trial {best.number})" if best else "none has ended yet"
        log.info(
            "trial %d, %d of %d: %s, %s, %.0f s: %s",
            trial.number,
            done,
            num_trials,
            outcome,
            best_text,
            seconds,
            settings,
        )
        if best is not None:
            assert best.value is not None
            self.run.log_metrics({f"best_validation_{self.subject.metric}": best.value}, step=trial.number)
            if best.number == trial.number:
                self.run.client.log_artifact(self.run.run_id, str(self._write_best()))

    def _write_best(self) -> Path:
        """Write the best settings as the training takes them, with the model's own limit of steps rather than a trial's."""
        best, subject = self.study.best_trial, self.subject
        config = dataclasses.asdict(with_settings(subject.model, best.params))
        text = (
            f"# study {self.study.study_name}, trial {best.number}: validation {subject.metric.upper()} {best.value:.4f} "
            f"after {subject.budget}\n"
        )
        path = self.directory / BEST_FILE
        write_bytes(path, (text + yaml.safe_dump({"model": _plain(config)}, sort_keys=False)).encode())
        return path


class _Reports(pl.Callback):
    """Tell the study of every validation, and end the trial where the pruner says so."""

    def __init__(self, trial: Trial, subject: Subject) -> None:
        self._trial, self._subject = trial, subject
        self._before = frozenset(trial.storage.get_trial(trial._trial_id).intermediate_values)

    def on_validation_end(self, trainer: pl.Trainer, *_args: Any) -> None:
        number = self._subject.progress(trainer)
        if number not in self._before:  # a trial that was cut off comes by some of them again
            self._trial.report(float(trainer.callback_metrics[self._subject.monitored]), number)
        if self._trial.should_prune():
            raise optuna.TrialPruned


def _suggested(trial: Trial, name: str, dimension: Dimension, model: ModelConfig) -> Value:
    if dimension.choices:
        chosen: Any = trial.suggest_categorical(name, dimension.choices)
        return chosen
    assert dimension.low is not None
    assert dimension.high is not None
    if isinstance(value_of(model, name), int):
        return trial.suggest_int(name, int(dimension.low), int(dimension.high), log=dimension.log)
    return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)


def _pruner(tuning: SearchConfig) -> optuna.pruners.BasePruner:
    if tuning.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=min(5, tuning.startup_trials), n_warmup_steps=1)
    return optuna.pruners.HyperbandPruner() if tuning.pruner == "hyperband" else optuna.pruners.NopPruner()


def _check_same(study: optuna.Study, subject: Subject, settings: dict[str, Any]) -> None:
    if study.direction is not StudyDirection[subject.direction.upper()]:
        raise ConfigError(
            f"study {study.study_name!r} was begun with another kind of model; name another with --study."
        )
    now = _plain(dict(flattened(settings)))
    before = study.user_attrs.get(_SETTINGS)
    if before is None:
        study.set_user_attr(_SETTINGS, now)
    elif differing := [
        f"{name}: begun with {before.get(name, 'nothing')!r}, found {now.get(name, 'nothing')!r}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]:
        raise ConfigError(
            f"study {study.study_name!r}: {'; '.join(differing)}. Go on with the same options and features, "
            "or name another study with --study."
        )


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold a study against other processes; the system lets go of it however this one ends."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"{directory}: another process works on this study; wait for it or name another."
            ) from None
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Optuna's own lines say less than ours."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        yield


def _plain(value: Any) -> Any:
    """Return a value as JSON would give it back."""
    return json.loads(json.dumps(value))
