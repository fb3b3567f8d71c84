"""``footfall evaluate``: score a trained model beside its baselines and write the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from features.commands.parsing import Command, run_subcommand
from features.errors import ReleaseError
from features.release import PartKind, ReleaseStore


def retrieval(
    features: Path, store: Path, *, run_id: str = "", truth: Path | None = None, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Score a two-tower on the time it has not seen, beside baselines, and write JSON and one HTML page.

    Args:
        features: directory that the model was trained on.
        store: release store.
        run_id: MLflow run of the training; the newest part's where left out.
        truth: the truth directory of a simulated shop, for the oracle's row.
        resamples: bootstrap draws of users.
        seed: of draws, ties and examples.
    """
    from training.evaluation.retrieval import evaluate_retrieval

    run = run_id or _newest_run(store, "retrieval")
    return evaluate_retrieval(features, store, run_id=run, truth=truth, resamples=resamples, seed=seed)


def demand(features: Path, store: Path, *, run_id: str = "", seed: int = 0) -> dict[str, Any]:
    """Score a demand model on rolling origins it has not seen, beside baselines, and write JSON and one HTML page.

    Args:
        features: directory that the model was trained on.
        store: release store.
        run_id: MLflow run of the training; the newest part's where left out.
        seed: of the choice of items shown.
    """
    from training.evaluation.demand import evaluate_demand

    run = run_id or _newest_run(store, "demand")
    return evaluate_demand(features, store, run_id=run, seed=seed)


def run(argv: list[str]) -> dict[str, Any] | None:
    """Run ``footfall evaluate``."""
    subcommands: dict[str, Command] = {"retrieval": retrieval, "demand": demand}
    return run_subcommand(subcommands, argv, prog="footfall evaluate")


def _newest_run(store: Path, kind: PartKind) -> str:
    part = ReleaseStore(root=store).latest_part(kind)
    if part is None:
        raise ReleaseError(f"{store}: expected a {kind} part, found none; run `footfall train {kind}` first.")
    return part.run_id
