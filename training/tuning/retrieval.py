"""Search for settings of the two-tower, scored by NDCG@10 on the validation window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import lightning.pytorch as pl

from features.build import FeatureSet
from features.release import ReleaseStore
from features.sequences import Sequences
from training.retrieval.config import RetrievalConfig
from training.retrieval.learn import Lesson, learn
from training.retrieval.lessons import lesson_of, remembered, split_for
from training.retrieval.module import METRIC
from training.tuning.config import StudyConfig, Value, with_settings
from training.tuning.study import tune
from training.tuning.subject import Outcome


def tune_retrieval(
    features: Path,
    store: Path,
    model: RetrievalConfig,
    tuning: StudyConfig,
    *,
    study: str = "retrieval",
    trials: int = 20,
    timeout_minutes: float = 0,
) -> dict[str, Any]:
    """Search for settings of the two-tower, or go on with a search.

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
        DataError: the log is too short for the windows, or no trial has ended.
    """
    feature_set = FeatureSet.load(features)
    sequences, num_forgotten = remembered(feature_set, ReleaseStore(root=Path(store)).erasures.load())
    subject = RetrievalSubject(
        feature_set=feature_set, sequences=sequences, num_forgotten=num_forgotten, model=model, tuning=tuning
    )
    return tune(subject, Path(store), study=study, trials=trials, timeout_minutes=timeout_minutes)


@dataclass(frozen=True, kw_only=True, eq=False)
class RetrievalSubject:
    """The two-tower as a study sees it.

    Args:
        feature_set: catalogue and shop.
        sequences: of the users who may be learned from.
        num_forgotten: users who may not.
        model: settings that are not searched.
        tuning: what is searched, and how.
    """

    feature_set: FeatureSet
    sequences: Sequences
    num_forgotten: int
    model: RetrievalConfig
    tuning: StudyConfig

    metric: ClassVar[str] = "ndcg@10"
    monitored: ClassVar[str] = METRIC
    direction: ClassVar[Literal["maximize", "minimize"]] = "maximize"

    @property
    def data(self) -> dict[str, Any]:
        """What identifies the data."""
        return {"data_fingerprint": self.feature_set.fingerprint, "forgotten": self.num_forgotten}

    @property
    def budget(self) -> str:
        """What a trial learns from, in words."""
        return f"at most {self.tuning.trial_tokens or self.model.schedule.max_tokens} positions"

    def learn(
        self, values: Mapping[str, Value], directory: Path, *, tracker: Any, callbacks: Sequence[pl.Callback]
    ) -> Outcome:
        """Train with some settings, on the fit part, for as many positions as a trial may take."""
        config = with_settings(self.model, values)
        if self.tuning.trial_tokens:
            config = with_settings(config, {"schedule.max_tokens": self.tuning.trial_tokens})
        lesson = validation_lesson(self.feature_set, self.sequences, config)
        learned = learn(lesson, config, directory, tracker=tracker, callbacks=callbacks)
        return Outcome(score=learned.score, steps=learned.steps)

    @staticmethod
    def progress(trainer: pl.Trainer) -> int:
        """The number of the validation."""
        return trainer.global_step // int(trainer.val_check_interval)


def validation_lesson(feature_set: FeatureSet, sequences: Sequences, config: RetrievalConfig) -> Lesson:
    """Return what a trial learns from and is scored on: the fit part and the validation window."""
    split = split_for(sequences, config, last_us=int(feature_set.sequences.ts.max(initial=0)))
    as_of_us = split.cutoffs_us[0] if split.cutoffs_us else 0
    return lesson_of(feature_set, split.fit, as_of_us=as_of_us, config=config, split=split)
