"""Score a trained two-tower beside its baselines on the test window, and write the report.

The report's ``tables`` are comparisons (see ``comparison`` for their JSON). Its ``protocol`` also holds
``baselines_left_out``, a reason by name, ``num_unasked``, customers without any history, and ``similarity``,
what diversity compares items by (none where no item has content).
"""

from __future__ import annotations

import datetime as dt
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.build import FeatureSet
from features.columns import EVENT_TYPE_CODES
from features.errors import ConfigError
from features.files import write_json
from features.release import Part, ReleaseStore, layout
from features.release.part import git_revision
from features.report.page import when
from features.splits import Split
from training.evaluation.baselines import PersonalFrequency
from training.evaluation.champion import add_champion
from training.evaluation.comparison import Comparison, Resampling
from training.evaluation.contenders import EASE_ITEMS, Contenders, add_baselines
from training.evaluation.costs import Seconds
from training.evaluation.examples import ItemNames, example_customers
from training.evaluation.kept_answers import KeptAnswers, key_of
from training.evaluation.list_quality import ItemFacts
from training.evaluation.oracle import compare_with_oracle
from training.evaluation.segments import groupings_before_test
from training.evaluation.tasks import Task, tasks_of
from training.evaluation.training_record import learning_curves, training_record
from training.evaluation.window import AttemptLedger, Window
from training.report.retrieval import write_retrieval_page
from training.resuming import code_of_training
from training.retrieval.config import RetrievalConfig, SplitConfig
from training.retrieval.fit import EXPERIMENT
from training.retrieval.for_you import BuyItAgain, ForYouRecommender
from training.retrieval.lessons import remembered, split_for, target_codes
from training.retrieval.recommender import TwoTowerRecommender
from training.tracking import open_client, tracked_run

REPORT_DIRECTORY: Final = "report"
ANSWERS_DIRECTORY: Final = "report.answers"  # until the report stands
OURS: Final = "two-tower"
# What shows the history has no place in the table of new items; what for_you shows there is the two-tower's list.
_OF_THE_HISTORY: Final = (PersonalFrequency, BuyItAgain, ForYouRecommender)
_EXAMPLE_MODELS: Final = 2  # side by side on a phone, more would not be read
_PROTOCOLS: Final = {"global_temporal": "global temporal split", "leave_one_out": "leave-one-out, strict"}

Ints = npt.NDArray[np.integer]

log = logging.getLogger(__name__)


def evaluate_retrieval(
    features: Path,
    store: Path,
    *,
    run_id: str | None = None,
    truth: Path | None = None,
    resamples: int = 1000,
    seed: int = 0,
    ease_items: int = EASE_ITEMS,
) -> dict[str, Any]:
    """Score a run's evaluation part, or the baselines alone, and write ``retrieval.json`` and ``retrieval.html``.

    Models and baselines learn from the split's fit part alone; at test time each sees the history up
    to the test cut-off.

    Args:
        features: feature directory that the run was trained on.
        store: release store; the report goes to ``runs/<run_id>/report``, or ``report`` without a run.
        run_id: MLflow run of a retrieval training; the report is logged to it, without the examples: these are
            histories of real customers, which whoever knows a basket could match, and stay in the store.
        truth: the ``truth`` directory of synthetic data, for a row that knows it.
        resamples: bootstrap draws of users.
        seed: of draws, ties and examples.
        ease_items: the most items that EASE is fitted for; its time grows with their cube.

    Returns:
        the path of the page, and Recall@20 of every model by table.

    Raises:
        ConfigError: the run is unknown, or was trained on other features.
    """
    subject = _Subject.open(Path(features), Path(store), run_id)
    resampling = Resampling(resamples=resamples, seed=seed)
    if subject.part is not None:
        subject.attempts.record(subject.window, subject.part)
    kept = subject.kept_answers(tasks_of(subject.split.test), seed=seed, ease_items=ease_items)
    report = _report(subject, kept, resampling=resampling, truth=truth, ease_items=ease_items)
    page = _write(subject.directory / REPORT_DIRECTORY, report)
    if run_id is not None:
        with (
            tempfile.TemporaryDirectory() as shared,
            tracked_run(subject.store, EXPERIMENT, name=OURS, run_id=run_id) as run,
        ):
            _write(Path(shared), report | {"examples": []})
            run.log_metrics(_metrics_to_log(report))
            run.log_artifacts(Path(shared), REPORT_DIRECTORY)
    kept.remove()
    log.info("report: %s", page)
    scores = {
        table["name"]: {row["model"]: row["metrics"]["recall@20"] for row in table["rows"]}
        for table in report["tables"]
    }
    return {"report": str(page), "run_id": run_id, "recall@20": scores}


def _write(directory: Path, report: Mapping[str, Any]) -> Path:
    write_json(directory / "retrieval.json", report)
    page = directory / "retrieval.html"
    write_retrieval_page(page, report)
    return page


@dataclass(frozen=True, kw_only=True, eq=False)
class _Subject:
    """What is evaluated, on what: features, split, and the part where a run is named."""

    features: FeatureSet
    store: Path
    run_id: str | None
    part: Part | None
    config: RetrievalConfig
    split: Split

    @classmethod
    def open(cls, features: Path, store: Path, run_id: str | None) -> _Subject:
        feature_set = FeatureSet.load(features)
        part = None if run_id is None else _evaluated_part(store, run_id)
        if part is not None and part.data_fingerprint != feature_set.fingerprint:
            raise ConfigError(
                f"{features}: expected the features that run {run_id} was trained on "
                f"({part.data_fingerprint[:12]}…), found others ({feature_set.fingerprint[:12]}…); name those."
            )
        config = _window_config(part)
        # Who is to be forgotten is neither asked nor learned from; windows stay where the whole log puts them.
        sequences, _ = remembered(feature_set, ReleaseStore(root=store).erasures.load())
        split = split_for(sequences, config, last_us=int(feature_set.sequences.ts.max(initial=0)))
        return cls(features=feature_set, store=store, run_id=run_id, part=part, config=config, split=split)

    @property
    def directory(self) -> Path:
        return self.store if self.run_id is None else self.store / "runs" / self.run_id

    def kept_answers(self, tasks: Sequence[Task], *, seed: int, ease_items: int) -> KeptAnswers:
        """Return what an evaluation of the same that was cut off was answered."""
        fit, query = self.split.fit, self.split.test.query
        asked = (self.features.fingerprint, self.part and self.part.version, self.config.split, seed, ease_items)
        champion, arrays = ReleaseStore(root=self.store).current_id, (fit.offsets, fit.item, query.offsets, query.item)
        key = key_of(code_of_training(), champion, *asked, arrays=arrays)
        return KeptAnswers.open(self.directory / ANSWERS_DIRECTORY, key, tasks)

    def contenders(self, kept: KeptAnswers, *, seed: int, ease_items: int) -> tuple[Contenders, ItemFacts]:
        """Return all models, ours first, and the facts of the items, whose candidates they share."""
        candidates = self.features.catalog.available & (self.fit_counts > 0)
        found = Contenders(kept=kept)
        if self.part is not None:
            ours = TwoTowerRecommender.from_part(self.part, name=OURS)
            candidates = np.zeros(len(candidates), bool)
            candidates[ours.candidates] = True
            if layout.BLEND in self.part.files:  # parts of an earlier version show the two-tower alone
                found.models.append(ForYouRecommender.from_part(self.part, now_us=self.asked_at_us))
            found.models.append(ours)
            if layout.BLEND in self.part.files:
                found.models.append(BuyItAgain.from_part(self.part, candidates=candidates, now_us=self.asked_at_us))
            if "fit_wall_s" in self.part.about:
                about = self.part.about
                found.fit_seconds[OURS] = Seconds(wall=about["fit_wall_s"], cpu=about["fit_cpu_s"])
        facts = ItemFacts.from_catalog(self.features.catalog, counts=self.fit_counts, candidates=candidates)
        fit, answers = self.split.fit, self.answer_codes
        counted = fit.where(np.isin(fit.event_type, answers)) if answers else fit
        add_baselines(found, fit, counted=counted, facts=facts, ease_items=ease_items, seed=seed)
        if self.part is not None:
            add_champion(found, self.features, self.window, store=self.store, run_id=self.run_id)
        return found, facts

    @property
    def answer_codes(self) -> tuple[int, ...]:
        """Codes of the event types that count as answers; all where empty, as in leave-one-out."""
        if self.split.protocol == "leave_one_out":
            return ()
        return target_codes(self.features.sequences, self.config)

    @property
    def asked_at_us(self) -> int | None:
        """The instant at which the test asks: its cut-off; after each history's last event where it has none."""
        return self.split.cutoffs_us[1] if self.split.cutoffs_us else None

    @property
    def window(self) -> Window:
        """The test window."""
        return Window.of(self.features, self.split)

    @property
    def attempts(self) -> AttemptLedger:
        """What has been scored on this store's windows; a promotion counts it."""
        return AttemptLedger(root=self.store)

    @property
    def fit_counts(self) -> Ints:
        return np.bincount(self.split.fit.item, minlength=len(self.features.vocabulary))


def _evaluated_part(store: Path, run_id: str) -> Part:
    part = ReleaseStore(root=store / "runs" / run_id / "evaluated").latest_part("retrieval")
    if part is None:
        known = sorted(path.parent.name for path in (store / "runs").glob("*/evaluated"))
        raise ConfigError(
            f"run_id: expected a finished retrieval run of {store}, found {run_id!r}; its runs: {', '.join(known) or 'none'}."
        )
    return part


def _window_config(part: Part | None) -> RetrievalConfig:
    """Return the settings that the run's split follows from."""
    if part is None:
        return RetrievalConfig()
    settings: Mapping[str, Any] = part.about["config"]["split"]
    types = tuple(settings["target_event_types"])
    return RetrievalConfig(split=SplitConfig(**{**settings, "target_event_types": types}))


def _report(
    subject: _Subject, kept: KeptAnswers, *, resampling: Resampling, truth: Path | None, ease_items: int
) -> dict[str, Any]:
    contenders, facts = subject.contenders(kept, seed=resampling.seed, ease_items=ease_items)
    groupings = groupings_before_test(subject.features, subject.split)
    comparisons = [
        Comparison.run(
            task,
            [model for model in contenders.models if task.name == "all" or not isinstance(model, _OF_THE_HISTORY)],
            counts=subject.fit_counts,
            num_candidates=int(facts.candidates.sum()),
            resampling=resampling,
            facts=facts,
            groupings=groupings,
            fit_seconds=contenders.fit_seconds,
            kept=kept,
        )
        for task in kept.tasks
    ]
    source = subject.features.about.get("data", {})
    return {
        "format": 1,
        "kind": "retrieval",
        "created_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "git_revision": git_revision(),
        "run_id": subject.run_id,
        "part_version": subject.part.version if subject.part else None,
        "shop": subject.features.shop.name,
        "ours": OURS if subject.part else None,
        "data": {
            "source": source.get("source", "unknown"),
            "warning": source.get("warning", ""),
            "fingerprint": subject.features.fingerprint,
        },
        "protocol": _protocol(subject, facts, contenders.left_out),
        "resamples": resampling.resamples,
        "seed": resampling.seed,
        "tables": [comparison.to_dict() for comparison in comparisons],
        "oracle": _oracle(subject, comparisons, truth),
        "learning_curve": learning_curves(open_client(subject.store), subject.part.run_id) if subject.part else [],
        "training": training_record(subject.directory, subject.part) if subject.part else None,
        "examples": _examples(subject, comparisons[0], resampling.seed),
    }


def _oracle(subject: _Subject, comparisons: Sequence[Comparison], truth: Path | None) -> list[dict[str, Any]]:
    if truth is None:
        return []
    days = subject.config.split.test_days
    return compare_with_oracle(comparisons, subject.features, subject.split, truth=truth, window_days=days)


def _protocol(subject: _Subject, items: ItemFacts, left_out: Mapping[str, str]) -> dict[str, Any]:
    """Return the protocol by name, its instants, and the facts about it in words."""
    split, num_candidates = subject.split, int(items.candidates.sum())
    facts = {"Protocol": _PROTOCOLS[split.protocol]}
    if split.cutoffs_us is not None:
        validation_from, test_from = map(when, split.cutoffs_us)
        facts["Cut-offs"] = f"validation from {validation_from}; test from {test_from} to the end of the log"
        facts["What models learned from"] = (
            f"{split.fit.num_events:,} events before {validation_from}, the baselines too. "
            "A test question holds the customer's whole history before the test window."
        )
    else:
        facts["What models learned from"] = (
            f"{split.fit.num_events:,} events: all but each customer's last two, the baselines too. "
            "The last is the test; the one before it validates and stands in the test question."
        )
    answers = [name for name, code in EVENT_TYPE_CODES.items() if code in subject.answer_codes]
    facts["What counts as found"] = ", ".join(answers) or "any event of a sequence"
    facts["Candidates"] = (
        f"{num_candidates:,} items, the same for every model; an answer that is none of them is a miss"
    )
    facts["Asked"] = (
        f"{split.test.num_users:,} customers with a history and an answer; {split.num_unasked:,} customers "
        "without any history could not be asked"
    )
    if tried := len(subject.attempts.configurations(subject.window)):
        facts["Tried on this window"] = f"{tried} configurations so far; a promotion widens its interval with them"
    if left_out:
        facts["Baselines left out"] = " ".join(f"{name}: {reason}" for name, reason in left_out.items())
    assumptions = subject.features.about.get("data", {}).get("assumptions")
    if assumptions:
        facts["What the source assumes"] = " ".join(assumptions)
    return {
        "name": split.protocol,
        "label": _PROTOCOLS[split.protocol],
        "cutoffs_us": list(split.cutoffs_us) if split.cutoffs_us else None,
        "num_fit_events": split.fit.num_events,
        "num_asked": split.test.num_users,
        "num_unasked": split.num_unasked,
        "num_candidates": num_candidates,
        "baselines_left_out": dict(left_out),
        "similarity": items.similarity if items.profiles.nnz else None,
        "facts": facts,
    }


def _examples(subject: _Subject, comparison: Comparison, seed: int) -> list[dict[str, Any]]:
    lists = dict(list(comparison.lists.items())[:_EXAMPLE_MODELS])
    return example_customers(
        comparison.task,
        lists,
        users=subject.features.users,
        names=ItemNames(vocabulary=subject.features.vocabulary, catalog=subject.features.catalog),
        forgotten=ReleaseStore(root=subject.store).erasures.load(),
        seed=seed,
    )


def _metrics_to_log(report: Mapping[str, Any]) -> dict[str, float]:
    return {
        f"test/{table['name']}/{row['model']}/{key}": found["mean"]
        for table in report["tables"]
        for row in table["rows"]
        for key, found in row["metrics"].items()
    }
