"""``footfall train``: train a model and write it as a release part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from features.commands.parsing import run_subcommand
from training.demand.config import DemandConfig
from training.parallel.settings import expect_one_process, is_first_process
from training.retrieval.config import RetrievalConfig


def retrieval(
    features: Path, store: Path, model: RetrievalConfig = RetrievalConfig(), resume: str = "auto"
) -> dict[str, Any] | None:
    """Train the two-tower retrieval model, score it on held-out time, and write its release part.

    Args:
        features: directory that `footfall features` wrote.
        store: release store; parts, runs and the tracking database go here.
        model: the model and its training.
        resume: MLflow run id of an interrupted training to go on with; `auto` finds the one that was cut off with the same
            settings, data and code, if there is one; `new` begins anew whatever there is.
    """
    from training.retrieval.fit import train_retrieval

    result = train_retrieval(features, store, model, resume=resume)
    return result if is_first_process() else None


def demand(features: Path, store: Path, model: DemandConfig = DemandConfig(), resume: str = "auto") -> dict[str, Any]:
    """Train the demand model, score it on rolling origins, and write its release part.

    Args:
        features: directory that `footfall features` wrote.
        store: release store; parts, runs and the tracking database go here.
        model: the model and its training.
        resume: MLflow run id of an interrupted training to go on with; `auto` finds the one that was cut off with the same
            settings, data and code, if there is one; `new` begins anew whatever there is.
    """
    from training.demand.fit import train_demand

    expect_one_process("footfall train demand")
    return train_demand(features, store, model, resume=resume)


def run(argv: list[str]) -> dict[str, Any] | None:
    """Run ``footfall train``."""
    return run_subcommand({"retrieval": retrieval, "demand": demand}, argv, prog="footfall train")
