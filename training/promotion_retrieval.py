"""Champion and challenger of the retrieval part, scored by NDCG@20 over the customers of one window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from features.build import FeatureSet
from features.errors import DataError, ReleaseError
from features.release import Part, ReleaseStore
from training.evaluation.bootstrap import Interval, resampled_means
from training.evaluation.champion import CHAMPION, PartRecommender, scorable_part
from training.evaluation.metrics import user_metrics
from training.evaluation.tasks import Task, tasks_of
from training.evaluation.window import Window
from training.promotion_figures import CHALLENGER, RESAMPLES, Attempts, Figures, features_of, widened_interval
from training.retrieval.config import RetrievalConfig, SplitConfig
from training.retrieval.lessons import remembered, split_for

METRIC: Final = "ndcg@20"
_K: Final = 20

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RetrievalFigures(Figures):
    """What two retrieval parts were worth: mean NDCG@20, and challenger / champion - 1.

    Args:
        window: what both were scored on.
        champion: its mean NDCG@20.
        challenger: the same.
        scored: which artifact stood for each, by role.
        relative: challenger / champion - 1, with its interval.
        attempts: comparisons that the interval is widened for.
        num_configurations: configurations scored so far on windows that overlap this one, the champion's included.
        task: ``new``, items new to the customer; ``all``, repeats counted.
        num_users: users asked.
    """

    metric: ClassVar[str] = METRIC
    asked: ClassVar[str] = "customers"

    task: str
    num_users: int

    @property
    def num_asked(self) -> int:
        """How many customers were asked."""
        return self.num_users


def score_retrieval(
    store: Path, challenger: Part, champion: Part, *, features: Path | None, refresh: bool, seed: int
) -> RetrievalFigures:
    """Score both on the newest window of ``features``; of those that the challenger was trained on where left out.

    Raises:
        DataError: there is nobody to ask, or the champion finds nothing.
        ReleaseError: no features, or no model that has not seen the window.
    """
    feature_set = FeatureSet.load(features or features_of(store, challenger))
    split, config = window_split(feature_set, store, challenger)
    window = Window.of(feature_set, split)
    roles = {CHALLENGER: challenger, CHAMPION: champion}
    scored = {role: scorable_part(store, part, window, role=role) for role, part in roles.items()}
    attempts = Attempts.noted(store, window, challenger=challenger, champion=champion, refresh=refresh)
    task = _task(tasks_of(split.test), exclude_seen=config.exclude_seen)
    values = {role: _values(part, feature_set, task, name=role) for role, (_, part) in scored.items()}
    return RetrievalFigures(
        window=window,
        task=task.name,
        num_users=task.num_users,
        champion=float(values[CHAMPION].mean()),
        challenger=float(values[CHALLENGER].mean()),
        scored={role: artifact for role, (artifact, _) in scored.items()},
        relative=relative_difference(values[CHALLENGER], values[CHAMPION], attempts=attempts.compared, seed=seed),
        attempts=attempts.compared,
        num_configurations=attempts.num_configurations,
    )


def relative_difference(challenger: Floats, champion: Floats, *, attempts: int, seed: int) -> Interval:
    """Return ``mean(challenger) / mean(champion) - 1`` with its widened paired interval.

    Args:
        challenger: metric by user, ``[Q]``.
        champion: the same users.
        attempts: at least 1.
        seed: of the draws.

    Raises:
        DataError: the champion finds nothing in some draw of users, so there is nothing to be relative to.
    """
    drawn = resampled_means(np.stack([challenger, champion], axis=1), resamples=RESAMPLES, seed=seed)  # [R, 2]
    if drawn[:, 1].min() <= 0:
        raise DataError(
            f"expected a champion that finds something in every draw of users, found a mean NDCG@20 of "
            f"{champion.mean():.4f} over {len(champion)} users; take a longer window"
        )
    mean = challenger.mean() / champion.mean() - 1
    return widened_interval(float(mean), drawn[:, 0] / drawn[:, 1] - 1, attempts=attempts)


def window_split(feature_set: FeatureSet, store: Path, part: Part) -> tuple[Any, RetrievalConfig]:
    """Return the split by a part's windows, users who are to be forgotten left out, and the settings it follows from."""
    config = part_config(part)
    sequences, _ = remembered(feature_set, ReleaseStore(root=store).erasures.load())
    return split_for(sequences, config, last_us=int(feature_set.sequences.ts.max(initial=0))), config


def part_config(part: Part) -> RetrievalConfig:
    """Return the settings of a part's training that decide what it is asked.

    Raises:
        ReleaseError: its manifest does not hold them.
    """
    try:
        config = part.about["config"]
        split = {**config["split"], "target_event_types": tuple(config["split"]["target_event_types"])}
        return RetrievalConfig(split=SplitConfig(**split), exclude_seen=config["exclude_seen"])
    except (KeyError, TypeError) as error:
        raise ReleaseError(
            f"{part.directory}: expected the settings of its training in the manifest, found none ({error}); train again."
        ) from None


def _task(tasks: Sequence[Task], *, exclude_seen: bool) -> Task:
    """Take the question that the step was chosen by: what is new to the customer, or everything."""
    if not tasks:
        raise DataError("expected customers with an answer in the window, found none; take a longer window")
    wanted = "new" if exclude_seen else "all"
    return next((task for task in tasks if task.name == wanted), tasks[-1])


def _values(part: Part, feature_set: FeatureSet, task: Task, *, name: str) -> Floats:
    recommender = PartRecommender.open(part, feature_set.vocabulary, name=name)
    lists = recommender.recommend(task.query, k=_K, exclude_seen=task.exclude_seen)
    return user_metrics(lists, task.relevant, ks=(_K,))[METRIC]
