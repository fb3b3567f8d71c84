"""``footfall evaluate``: score a trained model beside its baselines and write the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

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


def policy(
    features: Path,
    store: Path,
    exposures: Path,
    *,
    slot: str = "",
    reward: Literal["click", "purchase"] = "click",
    window_hours: float = 24.0,
    variant: str = "",
    experiment: str = "",
    temperature: float = 0.0,
    candidates: Literal["model", "logged"] = "model",
    clip: float = 0.0,
    run_id: str = "",
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Estimate what a two-tower would have earned in a slot that showed items at random with logged propensities.

    IPS, SNIPS and doubly robust estimates, written as JSON and one HTML page. A log without true, non-zero
    propensities is refused.

    Args:
        features: directory that the model was trained on.
        store: release store.
        exposures: the contract's exposures table, the data directory that holds it, or the service's log STORE/exposures.
        slot: name of the slot; may be left out where the log has one alone.
        reward: what counts as success: a click on the shown item, or its purchase.
        window_hours: how long after the exposure it counts.
        variant: keep one arm of an experiment.
        experiment: whose; may be left out where no other has a variant of that name.
        temperature: of the model's softmax; that of its training where 0.
        candidates: all that the model may recommend, or of these what the slot is known to show.
        clip: largest weight of the clipped estimate; the root of the number of exposures where 0.
        run_id: MLflow run of the training; the newest part's where left out.
        resamples: bootstrap draws of users.
        seed: of draws and folds.
    """
    from training.evaluation.off_policy.evaluate import PolicySettings, evaluate_policy

    settings = PolicySettings(
        slot=slot,
        variant=variant,
        experiment=experiment,
        reward=reward,
        window_hours=window_hours,
        temperature=temperature,
        candidates=candidates,
        clip=clip,
        resamples=resamples,
        seed=seed,
    )
    return evaluate_policy(
        features, store, exposures, run_id=run_id or _newest_run(store, "retrieval"), settings=settings
    )


def run(argv: list[str]) -> dict[str, Any] | None:
    """Run ``footfall evaluate``."""
    subcommands: dict[str, Command] = {"retrieval": retrieval, "policy": policy, "demand": demand}
    return run_subcommand(subcommands, argv, prog="footfall evaluate")


def _newest_run(store: Path, kind: PartKind) -> str:
    part = ReleaseStore(root=store).latest_part(kind)
    if part is None:
        raise ReleaseError(f"{store}: expected a {kind} part, found none; run `footfall train {kind}` first.")
    return part.run_id
