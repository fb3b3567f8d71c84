"""Train the two-tower from a feature directory: learn, export for the test, learn again from all, export.

Users on the store's erasure list teach nothing; windows stay where the whole log puts them, so that
an evaluation finds the same ones.

store/runs/<run id>/
config.json      what the run was started with
fit/             checkpoint, best weights, done.json
evaluated/       a store with one part: learned before the test window, for evaluation only
refit/           the same as fit/, from all data, for the steps found
result.json      what ``train_retrieval`` returns
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from features.build import FeatureSet
from features.columns import EVENT_TYPE_CODES
from features.errors import ConfigError, DataError
from features.files import read_json, write_json
from features.release import Part, ReleaseStore, write_part
from features.release.erasure import ErasedUsers
from features.sequences import Sequences
from features.settings import EngineSettings
from features.splits import Split
from training.resuming import check_same_settings, tracked_training
from training.retrieval.blend import Habits
from training.retrieval.candidates import candidate_items
from training.retrieval.config import RetrievalConfig
from training.retrieval.content_prior import ContentPrior
from training.retrieval.export import favourites, write_files
from training.retrieval.indexing import user_queries
from training.retrieval.learn import Learned, Lesson, learn
from training.retrieval.surfaces import UsableRows, write_surface_tables
from training.tracking import TrackedRun

EXPERIMENT: Final = "footfall-retrieval"
CONFIG_FILE: Final = "config.json"
RESULT_FILE: Final = "result.json"
_DAY_US: Final = 86_400_000_000

logger = logging.getLogger(__name__)


def train_retrieval(
    features: Path, store: Path, config: RetrievalConfig, *, resume: str | None = None
) -> dict[str, Any]:
    """Train, export and track a two-tower.

    Args:
        features: a feature directory.
        store: release store; the part goes to ``parts/retrieval``, working files to ``runs/<run id>``.
        config: every setting.
        resume: id of a run that was cut off; it goes on from its last checkpoint in the same MLflow run.

    Returns:
        ``run_id, part, version, evaluated_part, steps, validation, num_candidates, seconds, positions_per_second,
        features``.

    Raises:
        ConfigError: ``resume`` names no run of this store, or one with other settings, data or erased users.
        DataError: the log is too short for the windows asked for.
    """
    started = time.perf_counter()
    feature_set, store = FeatureSet.load(features), Path(store)
    sequences, num_forgotten = remembered(feature_set, ReleaseStore(root=store).erasures.load())
    settings = _settings(config, feature_set.fingerprint, num_forgotten)
    if resume is not None:
        _check_resumed(store / "runs" / resume, settings)
    with tracked_training(store, EXPERIMENT, name="two-tower", resume=resume) as run:
        directory = store / "runs" / run.run_id
        if (directory / CONFIG_FILE).exists():  # `mlflow run` too can come back to a run that was begun
            _check_resumed(directory, settings)
        else:
            write_json(directory / CONFIG_FILE, settings)
            run.log_params({"config": config, "data_fingerprint": feature_set.fingerprint})
        training = _Training(
            feature_set=feature_set, sequences=sequences, store=store, directory=directory, config=config, run=run
        )
        result = training.result() | {"seconds": round(time.perf_counter() - started, 1)}
        result |= {"features": str(feature_set.directory.resolve())}  # where a promotion finds its window
        write_json(directory / RESULT_FILE, result)
        run.log_metrics({"best_validation_ndcg@10": result["validation"]["ndcg@10"], "steps": result["steps"]})
        run.log_artifacts(Path(result["part"]), "retrieval")
    return result


def remembered(feature_set: FeatureSet, erased: ErasedUsers) -> tuple[Sequences, int]:
    """Return the sequences, those of erased users empty, and how many users that are."""
    forgotten = np.array([user in erased for user in feature_set.users.ids], dtype=bool)
    if not forgotten.any():
        return feature_set.sequences, 0
    logger.info("erased: %d of %d users teach nothing", forgotten.sum(), len(forgotten))
    sequences = feature_set.sequences
    return sequences.where(~forgotten[sequences.user_of_event]), int(forgotten.sum())


def split_for(sequences: Sequences, config: RetrievalConfig, *, last_us: int | None = None) -> Split:
    """Return the split that a training learns, validates and is tested on.

    Global temporal, by the last ``test_days`` and the ``validation_days`` before them; leave-one-out
    where that is asked for, or where the log has no instants.

    Args:
        sequences: what is split.
        config: windows and protocol.
        last_us: last instant of the log, where ``sequences`` are not all of it.

    Raises:
        DataError: there are no events, the log is shorter than both windows, or it has no instants to cut at.
    """
    if sequences.num_events == 0:
        raise DataError(
            "Expected item events of customers who may be learned from, found none; consent or the erasure list leaves nobody."
        )
    last_us = int(sequences.ts.max(initial=0)) if last_us is None else last_us
    if config.split.protocol == "leave_one_out" or (config.split.protocol == "auto" and last_us == 0):
        return Split.leave_one_out(sequences)
    if last_us == 0:
        raise DataError("split.protocol: expected instants for a global temporal split, found none; set leave_one_out.")
    windows = config.split
    test_from_us = last_us + 1 - windows.test_days * _DAY_US
    validation_from_us = test_from_us - windows.validation_days * _DAY_US
    first_us = int(sequences.ts.min())
    if validation_from_us <= first_us:
        raise DataError(
            f"Expected a log longer than validation_days + test_days = {windows.validation_days + windows.test_days}, "
            f"found {(last_us - first_us) / _DAY_US:.1f} days; shorten the windows."
        )
    return Split.global_temporal(
        sequences,
        validation_from_us=validation_from_us,
        test_from_us=test_from_us,
        target_event_types=target_codes(sequences, config),
    )


def target_codes(sequences: Sequences, config: RetrievalConfig) -> tuple[int, ...]:
    """Return the codes of the event types that count as answers; all where the log has none of them."""
    wanted = tuple(EVENT_TYPE_CODES[name] for name in config.split.target_event_types)
    return wanted if np.isin(sequences.event_type, wanted).any() else ()


def lesson_of(
    feature_set: FeatureSet,
    fit: Sequences,
    *,
    as_of_us: int,
    config: RetrievalConfig,
    split: Split | None = None,
) -> Lesson:
    """Return what is learned from ``fit``, validated on the split's validation window where one is given.

    Args:
        feature_set: catalogue and shop.
        fit: sequences to learn from.
        as_of_us: end of what ``fit`` holds; 0 without instants.
        config: which items are candidates.
        split: whose validation window chooses the step; ``None`` for a refit.

    Raises:
        DataError: no item can be recommended.
    """
    candidates = candidate_items(fit, feature_set.catalog, as_of_us=as_of_us, config=config)
    if len(candidates) == 0:
        raise DataError(
            f"Expected items with at least {config.min_item_events} events to recommend, found none; "
            "lower min_item_events."
        )
    return Lesson(
        fit=fit,
        validation=split.validation if split else None,
        catalog=feature_set.catalog,
        candidates=candidates,
        num_price_bands=feature_set.shop.num_price_bands,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Training:
    """The stages of one run; a stage that an earlier attempt finished is read back."""

    feature_set: FeatureSet
    sequences: Sequences
    store: Path
    directory: Path
    config: RetrievalConfig
    run: TrackedRun

    def result(self) -> dict[str, Any]:
        last_us = int(self.feature_set.sequences.ts.max(initial=0))
        split = split_for(self.sequences, self.config, last_us=last_us)
        # What the weights may know ends at the first cut-off; what a test query holds ends at the second.
        fit_until_us = split.cutoffs_us[0] if split.cutoffs_us else 0
        lesson = lesson_of(self.feature_set, split.fit, as_of_us=fit_until_us, config=self.config, split=split)
        cpu = time.process_time()
        learned = learn(lesson, self.config, self.directory / "fit", tracker=self.run.logger)
        cost = {"fit_wall_s": round(learned.seconds, 1), "fit_cpu_s": round(time.process_time() - cpu, 1)}
        logger.info("learned: %d steps, validation NDCG@10 %.4f, %.0f s", learned.steps, learned.score, learned.seconds)
        # The step at which learning stopped was chosen on the validation window: that counts as seen.
        about = self._about(
            "fit", fit_until_us, learned.score, seen_until_us=split.cutoffs_us[1] if split.cutoffs_us else 0
        )
        days = self.config.split.validation_days
        prior = self._prior(lesson)
        evaluated = self._export(
            learned,
            lesson,
            self.directory / "evaluated",
            about | cost,
            lambda: Habits.fit(learned.towers, lesson, as_of_us=fit_until_us, horizon_days=days, prior=prior),
        )
        habits = Habits.of_part(evaluated)
        if self.config.refit:
            end_us = last_us + 1 if last_us else 0
            whole = lesson_of(self.feature_set, self.sequences, as_of_us=end_us, config=self.config)
            again = learn(
                whole, self.config, self.directory / "refit", num_steps=[max(1, n) for n in learned.member_steps]
            )
            logger.info("learned again from all data: %d steps, %.0f s", again.steps, again.seconds)
            about = self._about("all", end_us, learned.score, seen_until_us=end_us)
            exported = self._export(
                again,
                whole,
                self.store,
                about,
                lambda: Habits.fit(again.towers, whole, as_of_us=end_us, horizon_days=days, blend=habits.blend),
            )
        else:
            exported = self._export(learned, lesson, self.store, about, lambda: habits)
        return {
            "run_id": self.run.run_id,
            "part": str(exported.directory),
            "version": exported.version,
            "evaluated_part": str(evaluated.directory),
            "steps": learned.steps,
            "validation": {"ndcg@10": learned.score},
            "num_candidates": len(lesson.candidates),
            "positions_per_second": round(learned.positions_per_second),
        }

    def _export(
        self, learned: Learned, lesson: Lesson, root: Path, about: dict[str, Any], habits: Callable[[], Habits]
    ) -> Part:
        """Write a part, or return the one that this run has written already."""
        fingerprint, run_id = self.feature_set.fingerprint, self.run.run_id
        written = ReleaseStore(root=root).part_of_run("retrieval", run_id)
        if written is not None:
            return written
        with write_part(root, "retrieval", data_fingerprint=fingerprint, run_id=run_id) as draft:
            files = write_files(
                draft.directory,
                learned.towers,
                vocabulary=self.feature_set.vocabulary,
                catalog=lesson.catalog,
                candidates=lesson.candidates,
                favourites=favourites(
                    lesson.fit,
                    lesson.catalog,
                    candidates=lesson.candidates,
                    as_of_us=about["as_of_us"],
                    days=self.config.favourites_days,
                ),
                flat_index_limit=self.config.flat_index_limit,
                prior=self._prior(lesson),
                queries=user_queries(learned.towers, lesson.fit),
            )
            habits().save(draft.directory)
            write_surface_tables(
                draft.directory,
                UsableRows.of(
                    self.feature_set,
                    erased=ReleaseStore(root=self.store).erasures.load(),
                    as_of_us=about["as_of_us"],
                    held_out=lesson.validation,
                ),
                candidates=lesson.candidates,
                engine=EngineSettings(threads=self.config.schedule.threads),
            )
            draft.metrics["validation_ndcg@10"] = about["validation_ndcg@10"]
            draft.about.update(about | files | {"steps": learned.steps})
        part = ReleaseStore(root=root).part_of_run("retrieval", run_id)
        assert part is not None
        return part

    def _prior(self, lesson: Lesson) -> ContentPrior:
        return ContentPrior.of(lesson.catalog, lesson.fit.item, self.config)

    def _about(self, trained_on: str, as_of_us: int, score: float, *, seen_until_us: int) -> dict[str, Any]:
        shop = self.feature_set.shop
        return {
            "model": "two_tower",
            "dim": self.config.tower.dim * self.config.num_members,
            "max_length": self.config.tower.max_length,
            "event_types": list(shop.event_types),
            "num_price_bands": shop.num_price_bands,
            "repeat": shop.repeat,
            "trained_on": trained_on,
            "as_of_us": as_of_us,
            "seen_until_us": seen_until_us,
            "validation_ndcg@10": score,
            "config": dataclasses.asdict(self.config),
        }


def _settings(config: RetrievalConfig, fingerprint: str, num_forgotten: int) -> dict[str, Any]:
    """Return the settings as JSON would give them back."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return {"config": values, "data_fingerprint": fingerprint, "num_forgotten": num_forgotten}


def _check_resumed(directory: Path, now: dict[str, Any]) -> None:
    path = directory / CONFIG_FILE
    if not path.exists():
        known = sorted(p.parent.name for p in directory.parent.glob(f"*/{CONFIG_FILE}"))
        raise ConfigError(f"resume: expected a run of this store, found {directory.name!r}; its runs: {known}.")
    check_same_settings(directory.name, {"num_forgotten": 0} | read_json(path), now)
