"""From features to a demand part: choose the steps, report on later windows, refit on all data, export.

Weights and calibration go with the time (``rolling``): each test window is forecast by the chosen model as it stood at
the window's origin, updated with what was known there, and read through the calibration of that moment. The refitted model
has learnt from everything, so it needs no update; it takes the calibration of the chosen one, up to the panel's end: no
window is left that it has not learnt from.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from features.build import FeatureSet
from features.demand.calibration import DemandCalibration
from features.errors import ConfigError, DataError
from features.files import read_json, write_json
from features.release import ReleaseStore, layout, write_part
from features.release.part import Part
from training.demand.baselines.trees import library
from training.demand.boosted.choose import with_best_share, with_share_of
from training.demand.boosted.pooled import AnyModel, share_of
from training.demand.config import DemandConfig
from training.demand.evaluated import EvaluatedModel, keep_evaluated, window_of
from training.demand.export import write_files
from training.demand.forecast import forecast
from training.demand.hierarchy import write_totals
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.measured import headline, measured_on
from training.demand.network.trainer import Fitted, fit_model
from training.demand.rolling import RollingForecaster
from training.evaluation.window import AttemptLedger
from training.resuming import check_same_settings, run_to_resume, tracked_training
from training.tracking import TrackedRun

log = logging.getLogger(__name__)

EXPERIMENT: Final = "footfall-demand"
RESULT_FILE: Final = "result.json"
CHOOSE: Final = "choose"  # stages of a run, by the name of their directory
REFIT: Final = "refit"
MARKER_FILE: Final = "training.json"  # in a run's directory until it is done: what it was started with


@dataclass(frozen=True, kw_only=True)
class Windows:
    """How a panel of T periods is used: ``| fit | validation windows | test windows |``.

    Args:
        fit_until: first period that the chosen model has not learnt from.
        seen_until: first period of which it knows nothing: the validation windows have chosen its steps.
        validation: origins that choose the number of steps.
        test: origins that are reported on.
    """

    fit_until: int
    seen_until: int
    validation: tuple[int, ...]
    test: tuple[int, ...]

    @classmethod
    def of(cls, num_periods: int, config: DemandConfig) -> Windows:
        """Lay the windows at the panel's end.

        Raises:
            DataError: less than a horizon is left to learn from.
        """
        count = config.validation_windows + config.test_windows
        first = num_periods - count * config.horizon
        if first < config.min_history + config.horizon:
            raise DataError(
                f"Demand: expected at least {config.min_history + (count + 1) * config.horizon} periods for "
                f"{count} windows of {config.horizon}, found {num_periods}; bring more history, or set fewer windows "
                "(--model.validation_windows, --model.test_windows) or a shorter horizon (--model.horizon)."
            )
        origins = tuple(first + window * config.horizon for window in range(count))
        return cls(
            fit_until=first,
            seen_until=num_periods - config.test_windows * config.horizon,
            validation=origins[: config.validation_windows],
            test=origins[config.validation_windows :],
        )


def train_demand(features: Path, store: Path, config: DemandConfig, *, resume: str | None = None) -> dict[str, Any]:
    """Train on a feature directory and write a demand part.

    Args:
        features: what ``build_features`` wrote.
        store: release store.
        config: settings.
        resume: MLflow run to go on with, after a crash; settings and data must be the same. ``auto`` looks for it
            (``training.resuming.run_to_resume``).

    Returns:
        part, run, steps, and the metrics of the model and its baselines on the test windows.

    Raises:
        ConfigError: the run to resume had other settings or data, or left nothing to resume; or boosted trees are asked
            for and LightGBM is not installed.
        DataError: the panel is empty or too short.
    """
    found = FeatureSet.load(Path(features))
    panel = found.panel
    if panel.num_items == 0:
        raise DataError(empty_panel(found))
    inputs = PanelInputs.from_panel(panel, config)
    windows = Windows.of(panel.num_periods, config)
    store, about_run = Path(store), _about_run(config, found.fingerprint)
    if config.boosted_trees == "always":
        library("lightgbm")
    resume = run_to_resume(store, resume, settings=about_run, begun=MARKER_FILE)
    if resume is not None:  # before the run is opened, so that a mistake leaves it as it was
        _check_resumed(store / "runs" / resume, about_run)
    with tracked_training(store, EXPERIMENT, name="demand", resume=resume) as run:
        work = _work_directory(store / "runs" / run.run_id, about_run)
        if resume is None:
            run.log_params(dataclasses.asdict(config))
        run.log_tags({"footfall.kind": "demand", "footfall.data_fingerprint": found.fingerprint})
        chosen = _choose(inputs, config, windows, work, run)
        model = with_best_share(
            chosen.model,
            panel,
            inputs,
            until=windows.fit_until,
            origins=windows.validation,
            directory=work / CHOOSE,
        )
        rolling = RollingForecaster.of(model, inputs, config, first=windows.fit_until, until=panel.num_periods)
        report = measured_on(rolling, windows.test, found)
        metrics = {
            "validation_wql": float(chosen.score or 0.0),  # of the network alone
            "steps": float(chosen.steps),
            "boosted_share": share_of(model),
            **headline(report),
        }
        run.log_metrics(metrics)
        # The level is of a moment: whoever asks the kept model about another one must do without.
        spread = dataclasses.replace(rolling.calibration(windows.seen_until), level=0.0)
        kept = EvaluatedModel(model=model, inputs=inputs, calibration=spread)
        evaluated = keep_evaluated(kept, found, work, seen_until=windows.seen_until, steps=chosen.steps)
        if windows.test:  # whoever reads the report may promote the best of many
            AttemptLedger(root=store, kind="demand").record(window_of(found, windows.test), evaluated)
        refit = fit_model(
            inputs, config, fit_until=panel.num_periods, directory=work / REFIT, steps=chosen.steps, logger=run.logger
        )
        whole = with_share_of(model, refit.model, panel, inputs, until=panel.num_periods, directory=work / REFIT)
        about = {
            "steps": chosen.steps,
            "boosted_share": share_of(model),
            "refitted_on": f"all {panel.num_periods} periods",
            "report": report,
        }
        # An earlier attempt may have been cut off after its export.
        part = ReleaseStore(root=store).part_of_run("demand", run.run_id) or _export(
            found,
            whole,
            inputs,
            store,
            rolling.calibration(panel.num_periods),
            run_id=run.run_id,
            metrics=metrics,
            about=about,
        )
        run.log_artifacts(part.directory, "demand")
    log.info("demand: part %s with forecasts of %d items", part.version, panel.num_items)
    result = {
        "part": part.version,
        "directory": str(part.directory),
        "run_id": run.run_id,
        "steps": chosen.steps,
        "metrics": metrics,
        "report": report,
        "features": str(found.directory.resolve()),  # where a promotion finds its windows
    }
    _finish(work, result)
    return result


def _finish(work: Path, result: dict[str, Any]) -> None:
    """Leave what a promotion asks for: the result and the evaluated model."""
    write_json(work / RESULT_FILE, result)
    (work / MARKER_FILE).unlink(missing_ok=True)  # first, or a crash here would leave something to resume
    for stage in (CHOOSE, REFIT):
        shutil.rmtree(work / stage, ignore_errors=True)


def empty_panel(found: FeatureSet) -> str:
    """Return what is wrong with features that hold no item to forecast, and what to do."""
    needed = found.about["settings"]["panel"]["min_purchases"]
    if needed == 1:
        return "Demand: expected items to forecast, found that no item has a purchase; bring a log with purchases."
    return (
        f"Demand: expected items to forecast, found that no item has {needed} purchases (panel.min_purchases); "
        f"rebuild with `footfall features DATA OUT --panel.min_purchases {min(5, needed // 2)}`."
    )


def _choose(inputs: PanelInputs, config: DemandConfig, windows: Windows, work: Path, run: TrackedRun) -> Fitted:
    chosen = fit_model(
        inputs,
        config,
        fit_until=windows.fit_until,
        directory=work / CHOOSE,
        validation_origins=windows.validation,
        logger=run.logger,
    )
    log.info("demand: %d steps, WQL %.4f on %d validation windows", chosen.steps, chosen.score, len(windows.validation))
    return chosen


def _export(
    found: FeatureSet,
    model: AnyModel,
    inputs: PanelInputs,
    store: Path,
    calibration: DemandCalibration,
    *,
    run_id: str,
    metrics: dict[str, float],
    about: dict[str, Any],
) -> Part:
    panel, config = found.panel, inputs.config
    future = forecast(model, inputs, panel.num_periods, calibration=calibration)
    with write_part(store, "demand", data_fingerprint=found.fingerprint, run_id=run_id) as draft:
        facts = write_files(
            draft.directory, features=found.directory, panel=panel, inputs=inputs, model=model, future=future
        )
        write_totals(draft.directory, model, panel, inputs, calibration)
        calibration.save(draft.directory / layout.DEMAND_CALIBRATION)
        draft.metrics.update(metrics)
        draft.about.update(facts)
        draft.about.update(settings=dataclasses.asdict(config), **about)
    part = ReleaseStore(root=store).part_of_run("demand", run_id)
    assert part is not None, "it was just written"
    return part


def _work_directory(work: Path, about: dict[str, Any]) -> Path:
    """Return where a run keeps what a crash must not cost; `mlflow run` too can come back to a run that was begun."""
    if (work / MARKER_FILE).exists():
        _check_resumed(work, about)
    else:
        write_json(work / MARKER_FILE, about)
    return work


def _check_resumed(work: Path, about: dict[str, Any]) -> None:
    """Refuse to mix two trainings."""
    run_id, marker = work.name, work / MARKER_FILE
    if not marker.exists():
        raise ConfigError(f"resume: expected an unfinished demand training of run {run_id!r}, found none in {work}.")
    check_same_settings(run_id, read_json(marker), about)


def _about_run(config: DemandConfig, fingerprint: str) -> dict[str, Any]:
    return {"config": _as_json(dataclasses.asdict(config)), "fingerprint": fingerprint}


def _as_json(values: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
