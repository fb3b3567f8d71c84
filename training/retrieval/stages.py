"""The stages of one training: learn, export for the test, learn again from all, export.

Every rank learns; the first one exports, from the sequences of all users, while the others wait.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.build import FeatureSet
from features.release import Part, ReleaseStore, write_part
from features.sequences import Sequences
from features.settings import EngineSettings
from features.splits import Split
from training.parallel.ranks import ALONE, Ranks
from training.retrieval.blend import Habits
from training.retrieval.config import RetrievalConfig
from training.retrieval.content_prior import ContentPrior
from training.retrieval.export import favourites, write_files
from training.retrieval.indexing import user_queries
from training.retrieval.learn import Learned, Lesson, learn
from training.retrieval.lessons import lesson_of, remembered, split_for
from training.retrieval.surfaces import UsableRows, write_surface_tables
from training.tracking import TrackedRun

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """The users of some ranks, split.

    Args:
        feature_set: catalogue and shop.
        sequences: of those users, the erased ones empty.
        last_us: last instant of the log; 0 without instants.
        config: windows and candidates.
        ranks: that these users are shared among.
    """

    feature_set: FeatureSet
    sequences: Sequences
    last_us: int
    config: RetrievalConfig
    ranks: Ranks

    @functools.cached_property
    def split(self) -> Split:
        """Fit part, validation and test."""
        return split_for(self.sequences, self.config, last_us=self.last_us, ranks=self.ranks)

    @property
    def fit_until_us(self) -> int:
        """What the weights that are tested may know ends here; 0 without instants."""
        return self.split.cutoffs_us[0] if self.split.cutoffs_us else 0

    @property
    def end_us(self) -> int:
        """End of all data; 0 without instants."""
        return self.last_us + 1 if self.last_us else 0

    @functools.cached_property
    def before_test(self) -> Lesson:
        """Learn before the test window, and be validated."""
        split, until = self.split, self.fit_until_us
        return lesson_of(self.feature_set, split.fit, as_of_us=until, config=self.config, split=split, ranks=self.ranks)

    @functools.cached_property
    def whole(self) -> Lesson:
        """Learn from all data."""
        return lesson_of(self.feature_set, self.sequences, as_of_us=self.end_us, config=self.config, ranks=self.ranks)


def train_in_stages(windows: Windows, directory: Path, exports: Exports | None) -> dict[str, Any]:
    """Do one rank's part of the stages; one that an earlier attempt finished is read back.

    Args:
        windows: this rank's users.
        directory: of the run.
        exports: what the first rank writes with; ``None`` for the others.

    Returns:
        the result, the same on every rank.
    """
    config, ranks = windows.config, windows.ranks
    cpu = time.process_time()
    learned = learn(windows.before_test, config, directory / "fit", tracker=exports.run.logger if exports else False)
    cost = {"fit_wall_s": round(learned.seconds, 1), "fit_cpu_s": round(time.process_time() - cpu, 1)}
    logger.info("learned: %d steps, validation NDCG@10 %.4f, %.0f s", learned.steps, learned.score, learned.seconds)
    evaluated = exports.evaluated(learned, cost) if exports else None
    again = None
    if config.refit:
        ranks.wait()
        steps = [max(1, number) for number in learned.member_steps]
        again = learn(windows.whole, config, directory / "refit", num_steps=steps)
        logger.info("learned again from all data: %d steps, %.0f s", again.steps, again.seconds)
    result = exports.result(learned, again, evaluated) if exports and evaluated else None
    told: dict[str, Any] = ranks.told(result)
    return told


@dataclass(frozen=True, kw_only=True, eq=False)
class Exports:
    """What one run writes.

    Args:
        windows: the users of all ranks.
        store: that gets the part.
        directory: of the run.
        run: that tracks it.
    """

    windows: Windows
    store: Path
    directory: Path
    run: TrackedRun

    @classmethod
    def of(cls, windows: Windows, store: Path, directory: Path, run: TrackedRun) -> Exports:
        """Write about all users, of whom this rank has learned from its own."""
        if windows.ranks.of > 1:
            sequences, _ = remembered(windows.feature_set, ReleaseStore(root=store).erasures.load())
            windows = dataclasses.replace(windows, sequences=sequences, ranks=ALONE)
        return cls(windows=windows, store=store, directory=directory, run=run)

    def evaluated(self, learned: Learned, cost: dict[str, Any]) -> Part:
        """Write the part that an evaluation asks, which knows nothing of the test window."""
        windows, lesson = self.windows, self.windows.before_test
        # The step at which learning stopped was chosen on the validation window: that counts as seen.
        seen_until_us = windows.split.cutoffs_us[1] if windows.split.cutoffs_us else 0
        about = self._about("fit", windows.fit_until_us, learned.score, seen_until_us=seen_until_us)
        days, prior = windows.config.split.validation_days, self._prior(lesson)
        return self._export(
            learned,
            lesson,
            self.directory / "evaluated",
            about | cost,
            lambda: Habits.fit(learned.towers, lesson, as_of_us=windows.fit_until_us, horizon_days=days, prior=prior),
        )

    def result(self, learned: Learned, again: Learned | None, evaluated: Part) -> dict[str, Any]:
        """Write the part to be served and return what came out of the run."""
        exported = self._served(learned, again, Habits.of_part(evaluated))
        return {
            "run_id": self.run.run_id,
            "part": str(exported.directory),
            "version": exported.version,
            "evaluated_part": str(evaluated.directory),
            "steps": learned.steps,
            "validation": {"ndcg@10": learned.score},
            "num_candidates": len(self.windows.before_test.candidates),
            "positions_per_second": round(learned.positions_per_second),
        }

    def _served(self, learned: Learned, again: Learned | None, habits: Habits) -> Part:
        windows = self.windows
        if again is None:
            seen_until_us = windows.split.cutoffs_us[1] if windows.split.cutoffs_us else 0
            about = self._about("fit", windows.fit_until_us, learned.score, seen_until_us=seen_until_us)
            return self._export(learned, windows.before_test, self.store, about, lambda: habits)
        lesson, end_us, days = windows.whole, windows.end_us, windows.config.split.validation_days
        return self._export(
            again,
            lesson,
            self.store,
            self._about("all", end_us, learned.score, seen_until_us=end_us),
            lambda: Habits.fit(again.towers, lesson, as_of_us=end_us, horizon_days=days, blend=habits.blend),
        )

    def _export(
        self, learned: Learned, lesson: Lesson, root: Path, about: dict[str, Any], habits: Callable[[], Habits]
    ) -> Part:
        """Write a part, or return the one that this run has written already."""
        fingerprint, run_id = self.windows.feature_set.fingerprint, self.run.run_id
        written = ReleaseStore(root=root).part_of_run("retrieval", run_id)
        if written is not None:
            return written
        with write_part(root, "retrieval", data_fingerprint=fingerprint, run_id=run_id) as draft:
            files = write_files(
                draft.directory,
                learned.towers,
                vocabulary=self.windows.feature_set.vocabulary,
                catalog=lesson.catalog,
                candidates=lesson.candidates,
                favourites=favourites(
                    lesson.fit,
                    lesson.catalog,
                    candidates=lesson.candidates,
                    as_of_us=about["as_of_us"],
                    days=self.windows.config.favourites_days,
                ),
                flat_index_limit=self.windows.config.flat_index_limit,
                least_index_recall=self.windows.config.least_index_recall,
                prior=self._prior(lesson),
                queries=user_queries(learned.towers, lesson.fit),
            )
            habits().save(draft.directory)
            write_surface_tables(
                draft.directory,
                UsableRows.of(
                    self.windows.feature_set,
                    erased=ReleaseStore(root=self.store).erasures.load(),
                    as_of_us=about["as_of_us"],
                    held_out=lesson.validation,
                ),
                candidates=lesson.candidates,
                engine=EngineSettings(threads=self.windows.config.schedule.threads),
            )
            draft.metrics["validation_ndcg@10"] = about["validation_ndcg@10"]
            draft.about.update(about | files | {"steps": learned.steps})
        part = ReleaseStore(root=root).part_of_run("retrieval", run_id)
        assert part is not None
        return part

    def _prior(self, lesson: Lesson) -> ContentPrior:
        return ContentPrior.of(lesson.catalog, lesson.fit.item, self.windows.config)

    def _about(self, trained_on: str, as_of_us: int, score: float, *, seen_until_us: int) -> dict[str, Any]:
        shop = self.windows.feature_set.shop
        return {
            "model": "two_tower",
            "dim": self.windows.config.tower.dim * self.windows.config.num_members,
            "max_length": self.windows.config.tower.max_length,
            "event_types": list(shop.event_types),
            "num_price_bands": shop.num_price_bands,
            "repeat": shop.repeat,
            "trained_on": trained_on,
            "as_of_us": as_of_us,
            "seen_until_us": seen_until_us,
            "validation_ndcg@10": score,
            "config": dataclasses.asdict(self.windows.config),
        }
