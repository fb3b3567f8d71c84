"""``footfall evaluate policy``: what a trained two-tower would have earned in a randomised slot."""

from __future__ import annotations

import datetime as dt
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from features.build import FeatureSet
from features.errors import ConfigError, DataError
from features.files import write_json
from features.release import Part, ReleaseStore
from features.release.part import git_revision
from training.evaluation.off_policy.answers import answer_log
from training.evaluation.off_policy.estimators import Bootstrap, estimate_value
from training.evaluation.off_policy.exposures import Question, Reward, SlotLog, read_slot
from training.evaluation.off_policy.policies import Candidates, FixedPolicy, Policy, SoftmaxPolicy
from training.report.policy import write_policy_page
from training.retrieval.config import RetrievalConfig, SplitConfig
from training.retrieval.fit import EXPERIMENT
from training.retrieval.lessons import split_for
from training.retrieval.recommender import TwoTowerRecommender
from training.tracking import tracked_run

OURS: Final = "two-tower"
REPORT_DIRECTORY: Final = "report"

Floats = npt.NDArray[np.float64]
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PolicySettings:
    """What is asked of a slot's log.

    Args:
        slot: name of the slot; may stay empty where the log has one alone.
        variant: keep one arm of an experiment; all where empty.
        experiment: whose; may stay empty where no other has a variant of that name.
        reward: ``click`` or ``purchase`` of the shown item.
        window_hours: how long after the exposure a success counts.
        temperature: of the two-tower's softmax; that of its training where 0.
        candidates: ``model`` (what the model may recommend) or ``logged`` (of these, what the slot is known to show).
        clip: largest weight of the clipped estimate; the root of the number of exposures where 0.
        resamples: bootstrap draws of users.
        seed: of draws and folds.
    """

    slot: str = ""
    variant: str = ""
    experiment: str = ""
    reward: Reward = "click"
    window_hours: float = 24.0
    temperature: float = 0.0
    candidates: Literal["model", "logged"] = "model"
    clip: float = 0.0
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.window_hours > 0:
            raise ConfigError(f"window_hours: expected more than 0, found {self.window_hours:g}.")
        for name in ("temperature", "clip"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}: expected 0 (the default) or more, found {getattr(self, name):g}.")


def evaluate_policy(
    features: Path, store: Path, exposures: Path, *, run_id: str, settings: PolicySettings = PolicySettings()
) -> dict[str, Any]:
    """Estimate what policies would have earned in a slot, and write ``policy.json`` and ``policy.html``.

    The model is the one that learned before the test window, and only exposures of that window are used, so that no
    model is asked about rewards that it has learned from.

    Args:
        features: feature directory that the run was trained on.
        store: release store; the report goes to ``runs/<run_id>/report`` and to the MLflow run.
        exposures: the contract's exposures table (Parquet), or the data directory that holds it.
        run_id: MLflow run of a retrieval training.
        settings: slot, reward, temperature, clipping, intervals.

    Returns:
        the path of the page, and by policy the doubly robust estimate, its lead and whether the log is balanced.

    Raises:
        ConfigError: the run is unknown, was trained on other features, or its split has no instants.
        DataError: the exposures are none that could be weighed (see ``read_slot``).
    """
    feature_set, part = FeatureSet.load(Path(features)), _evaluated_part(Path(store), run_id)
    if part.data_fingerprint != feature_set.fingerprint:
        raise ConfigError(f"{features}: expected the features that run {run_id} was trained on, found others.")
    question = Question(
        slot=settings.slot,
        variant=settings.variant,
        experiment=settings.experiment,
        reward=settings.reward,
        window_hours=settings.window_hours,
        from_us=_test_from_us(feature_set, part),
    )
    slot = read_slot(exposures, feature_set, question, erased=ReleaseStore(root=Path(store)).erasures.load())
    report = _report(feature_set, part, slot, question, settings)
    page = _write(Path(store) / "runs" / run_id / REPORT_DIRECTORY, report)
    with (
        tempfile.TemporaryDirectory() as shared,
        tracked_run(Path(store), EXPERIMENT, name=OURS, run_id=run_id) as run,
    ):
        _write(Path(shared), report)
        run.log_artifacts(Path(shared), REPORT_DIRECTORY)
    log.info("report: %s", page)
    found = {
        row["policy"]: {key: row[key]["doubly_robust"] for key in ("value", "lead")}
        | {"balanced": row["checks"]["balanced"]}
        for row in report["policies"]
    }
    return {"report": str(page), "run_id": run_id, "slot": slot.slot, "logged": report["logged"], "policies": found}


def _write(directory: Path, report: dict[str, Any]) -> Path:
    write_json(directory / "policy.json", report)
    write_policy_page(directory / "policy.html", report)
    return directory / "policy.html"


def _evaluated_part(store: Path, run_id: str) -> Part:
    part = ReleaseStore(root=store / "runs" / run_id / "evaluated").latest_part("retrieval")
    if part is None:
        raise ConfigError(f"run_id: expected a finished retrieval run of {store}, found {run_id!r}.")
    return part


def _test_from_us(features: FeatureSet, part: Part) -> int:
    split: dict[str, Any] = part.about["config"]["split"]
    split = split | {"target_event_types": tuple(split["target_event_types"])}
    cutoffs_us = split_for(features.sequences, RetrievalConfig(split=SplitConfig(**split))).cutoffs_us
    if cutoffs_us is None:
        raise ConfigError(
            "run_id: expected a run with a global temporal split, found leave-one-out: no instant tells which "
            "exposures its model has not learned from."
        )
    return cutoffs_us[1]


def _report(
    features: FeatureSet, part: Part, slot: SlotLog, question: Question, settings: PolicySettings
) -> dict[str, Any]:
    candidates = _candidates(part, slot, settings)
    # What models could count when they learned; nothing of the window that is asked about.
    history = features.sequences.between(None, question.from_us)
    counts = np.bincount(history.item, minlength=len(features.vocabulary)).astype(np.float64)
    policies = _policies(part, counts[candidates.codes], settings)
    bootstrap = Bootstrap(resamples=settings.resamples, seed=settings.seed)
    rows = []
    for policy, answers in zip(
        policies, answer_log(slot, candidates, policies, counts=counts, seed=settings.seed), strict=True
    ):
        found = estimate_value(slot.log, answers, clip=settings.clip, bootstrap=bootstrap)
        log.info("%s: %s", policy.name, found["checks"]["verdict"])
        rows.append({"policy": policy.name, "about": policy.about} | found)
    source = features.about.get("data", {})
    return {
        "format": 1,
        "kind": "policy",
        "created_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "git_revision": git_revision(),
        "run_id": part.run_id,
        "part_version": part.version,
        "shop": features.shop.name,
        "ours": OURS,
        "data": {
            "source": source.get("source", "unknown"),
            "warning": source.get("warning", ""),
            "fingerprint": features.fingerprint,
        },
        "slot": slot.slot,
        "variant": settings.variant,
        "experiment": settings.experiment,
        "reward": settings.reward,
        "success": slot.success,
        "from_us": question.from_us,
        "num_users": len(np.unique(slot.log.user)),
        "num_rewards": float(slot.log.reward.sum()),
        "set_aside": slot.set_aside,
        "num_candidates": len(candidates.codes),
        "num_shown_items": len(slot.support),
        "resamples": settings.resamples,
        "seed": settings.seed,
        "logged": rows[0]["logged"],
        "policies": rows,
    }


def _candidates(part: Part, slot: SlotLog, settings: PolicySettings) -> Candidates:
    towers = TwoTowerRecommender.from_part(part, name=OURS)
    kept = (
        np.isin(towers.candidates, slot.support)
        if settings.candidates == "logged"
        else np.ones(len(towers.candidates), bool)
    )
    if not kept.any():
        raise DataError(f"slot {slot.slot!r}: expected that it shows items which the model may recommend, found none.")
    vecs = towers.candidate_vecs[kept]
    return Candidates(codes=towers.candidates[kept], score=lambda query: towers.encode_users(query) @ vecs.T)


def _policies(part: Part, counts: Floats, settings: PolicySettings) -> Sequence[Policy]:
    temperature = settings.temperature or float(part.about["config"]["loss"]["temperature"])
    return [
        SoftmaxPolicy(name=OURS, temperature=temperature),
        FixedPolicy(
            name="popularity", about="draws in proportion to an item's events before the window", weights=counts + 1
        ),
        FixedPolicy(name="at random", about="draws every item alike", weights=np.ones_like(counts)),
    ]
