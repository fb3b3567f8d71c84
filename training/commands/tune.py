"""``footfall tune``: search for a model's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from features.commands.parsing import run_subcommand
from training.demand.config import DemandConfig
from training.retrieval.config import RetrievalConfig
from training.tuning.config import DemandStudyConfig, StudyConfig

_RETRIEVAL: Final = RetrievalConfig()
_RETRIEVAL_STUDY: Final = StudyConfig()
_DEMAND: Final = DemandConfig()
_DEMAND_STUDY: Final = DemandStudyConfig()


def retrieval(
    features: Path,
    store: Path,
    *,
    model: RetrievalConfig = _RETRIEVAL,
    tuning: StudyConfig = _RETRIEVAL_STUDY,
    study: str = "retrieval",
    trials: int = 20,
    timeout: float = 0,
) -> dict[str, Any]:
    """Search for settings of the two-tower on the validation window, and write the best as YAML for `footfall train`.

    Called again with the same options, a study goes on where it was cut off.

    Args:
        features: directory that `footfall features` wrote.
        store: release store; studies, runs and the tracking database go here.
        model: settings that are not searched.
        tuning: what is searched, and how.
        study: name of the study; one of this name goes on.
        trials: finished trials in all, those of earlier calls included.
        timeout: minutes after which no trial begins; 0 for no limit.
    """
    from training.tuning.retrieval import tune_retrieval

    return tune_retrieval(features, store, model, tuning, study=study, trials=trials, timeout_minutes=timeout)


def demand(
    features: Path,
    store: Path,
    *,
    model: DemandConfig = _DEMAND,
    tuning: DemandStudyConfig = _DEMAND_STUDY,
    study: str = "demand",
    trials: int = 20,
    timeout: float = 0,
) -> dict[str, Any]:
    """Search for settings of the demand model on the validation windows, and write the best as YAML for `footfall train`.

    Called again with the same options, a study goes on where it was cut off.

    Args:
        features: directory that `footfall features` wrote.
        store: release store; studies, runs and the tracking database go here.
        model: settings that are not searched.
        tuning: what is searched, and how.
        study: name of the study; one of this name goes on.
        trials: finished trials in all, those of earlier calls included.
        timeout: minutes after which no trial begins; 0 for no limit.
    """
    from training.tuning.demand import tune_demand

    return tune_demand(features, store, model, tuning, study=study, trials=trials, timeout_minutes=timeout)


def run(argv: list[str]) -> dict[str, Any] | None:
    """Run ``footfall tune``."""
    return run_subcommand({"retrieval": retrieval, "demand": demand}, argv, prog="footfall tune")
