"""Search for settings of the demand model, scored by WQL on the validation windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import lightning.pytorch as pl

from features.build import FeatureSet
from features.errors import DataError
from features.panel.demand_panel import DemandPanel
from training.demand.config import DemandConfig
from training.demand.fit import Windows, empty_panel
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.trainer import MONITORED, fit_model
from training.tuning.config import DemandStudyConfig, Value, with_settings
from training.tuning.study import tune
from training.tuning.subject import Outcome


def tune_demand(
    features: Path,
    store: Path,
    model: DemandConfig,
    tuning: DemandStudyConfig,
    *,
    study: str = "demand",
    trials: int = 20,
    timeout_minutes: float = 0,
) -> dict[str, Any]:
    """Search for settings of the demand model, or go on with a search.

    Args:
        features: a feature directory.
        store: release store; the study goes to ``tuning/``, its runs to the tracking database.
        model: settings that are not searched.
        tuning: what is searched, and how.
        study: name; a study of this name goes on.
        trials: finished trials in all, those of earlier calls included.
        timeout_minutes: no trial begins later; 0 for no limit.

    Returns:
        what ``study.tune`` does.

    Raises:
        ConfigError: the study was begun with other settings or data, or another process works on it.
        DataError: the panel is empty or too short for the windows, or no trial has ended.
    """
    found = FeatureSet.load(Path(features))
    if found.panel.num_items == 0:
        raise DataError(empty_panel(found))
    Windows.of(found.panel.num_periods, model)  # a panel that is too short is no trial's fault
    subject = DemandSubject(panel=found.panel, fingerprint=found.fingerprint, model=model, tuning=tuning)
    return tune(subject, Path(store), study=study, trials=trials, timeout_minutes=timeout_minutes)


@dataclass(frozen=True, kw_only=True, eq=False)
class DemandSubject:
    """The demand model as a study sees it.

    Args:
        panel: what it learns from.
        fingerprint: of the features that hold the panel.
        model: settings that are not searched.
        tuning: what is searched, and how.
    """

    panel: DemandPanel
    fingerprint: str
    model: DemandConfig
    tuning: DemandStudyConfig

    metric: ClassVar[str] = "wql"
    monitored: ClassVar[str] = MONITORED
    direction: ClassVar[Literal["maximize", "minimize"]] = "minimize"

    @property
    def data(self) -> dict[str, Any]:
        """What identifies the data."""
        return {"data_fingerprint": self.fingerprint}

    @property
    def budget(self) -> str:
        """What a trial learns from, in words."""
        return "its own number of steps"

    def learn(
        self, values: Mapping[str, Value], directory: Path, *, tracker: Any, callbacks: Sequence[pl.Callback]
    ) -> Outcome:
        """Train with some settings on what lies before the validation windows."""
        config = with_settings(self.model, values)
        windows = Windows.of(self.panel.num_periods, config)
        fitted = fit_model(
            PanelInputs.from_panel(self.panel, config),
            config,
            fit_until=windows.fit_until,
            directory=directory,
            validation_origins=windows.validation,
            logger=tracker,
            callbacks=callbacks,
        )
        assert fitted.score is not None, "there is at least one validation window"
        return Outcome(score=fitted.score, steps=fitted.steps)

    @staticmethod
    def progress(trainer: pl.Trainer) -> int:
        """The share of its steps in percent: the learning rate falls with it, and so trials of any length compare."""
        return round(100 * trainer.global_step / trainer.max_steps)
