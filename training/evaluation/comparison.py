"""Several models, the same questions: one table with intervals and paired differences."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.recommendations import Recommendations
from training.evaluation.bootstrap import Interval, intervals
from training.evaluation.metrics import KS, hit_matrix, list_metrics, user_metrics
from training.evaluation.recommender import Recommender
from training.evaluation.slices import Slice, slices_of
from training.evaluation.tasks import Task

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer]

LIST_LENGTH: Final = 100
CURVE_KS: Final = (1, 2, 5, 10, 20, 50, 100)
HEADLINE_METRIC: Final = "recall@20"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How intervals are taken.

    Args:
        resamples: draws of users.
        seed: of the draws.
        level: share of the draws inside an interval.
    """

    resamples: int = 1000
    seed: int = 0
    level: float = 0.95

    def intervals(self, columns: Sequence[Floats]) -> list[Interval]:
        """Return the interval of each column's mean; all columns share the drawn users."""
        return intervals(np.stack(columns, axis=1), resamples=self.resamples, seed=self.seed, level=self.level)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What all models answered to one task.

    Args:
        task: what was asked.
        lists: each model's ``Q`` lists, by name; the first model is the one the others are compared with.
        counts: events of each item in the fitted data, ``[V]``.
        num_candidates: items that could be shown.
        resampling: how intervals are taken.
        seconds: time to answer, by name.
    """

    task: Task
    lists: Mapping[str, Recommendations]
    counts: Ints
    num_candidates: int
    resampling: Resampling = field(default_factory=Resampling)
    seconds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def run(
        cls,
        task: Task,
        recommenders: Sequence[Recommender],
        *,
        counts: Ints,
        num_candidates: int,
        resampling: Resampling = Resampling(),
    ) -> Comparison:
        """Ask every model every question of the task."""
        lists, seconds = {}, {}
        for recommender in recommenders:
            started = time.perf_counter()
            answered = recommender.recommend(task.query, k=LIST_LENGTH, exclude_seen=task.exclude_seen)
            lists[recommender.name] = answered
            seconds[recommender.name] = round(time.perf_counter() - started, 3)
            log.info(
                "%s: %d questions (%s) in %.1f s",
                recommender.name,
                task.num_users,
                task.name,
                seconds[recommender.name],
            )
        return cls(
            task=task,
            lists=lists,
            counts=counts,
            num_candidates=num_candidates,
            resampling=resampling,
            seconds=seconds,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON: one row a model, its curve, its lists, and the slices."""
        return {
            "name": self.task.name,
            "num_users": self.task.num_users,
            "num_answers": len(self.task.relevant.item),
            "rows": self._rows(),
            "slices": [self._slice(part) for part in slices_of(self.task, counts=self.counts)],
        }

    def _rows(self) -> list[dict[str, Any]]:
        metrics = {name: user_metrics(lists, self.task.relevant) for name, lists in self.lists.items()}
        first = next(iter(metrics))
        keys = list(metrics[first])
        # One set of draws for every metric of every model and every difference.
        columns = [metrics[name][key] for name in metrics for key in keys]
        columns += [metrics[first][key] - metrics[name][key] for name in metrics for key in keys]
        found = iter(self.resampling.intervals(columns))
        means = {name: {key: _as_dict(next(found)) for key in keys} for name in metrics}
        differences = {name: {key: _as_dict(next(found)) for key in keys} for name in metrics}
        return [
            {
                "model": name,
                "metrics": means[name],
                "difference": differences[name] if name != first else None,
                "lists": list_metrics(self.lists[name], counts=self.counts, num_candidates=self.num_candidates),
                "curve": self._curve(self.lists[name]),
                "mean_list_length": float(np.diff(self.lists[name].offsets).mean()),
                "seconds": self.seconds.get(name),
            }
            for name in metrics
        ]

    def _curve(self, lists: Recommendations) -> dict[str, float]:
        """Return mean recall by length of the list, for lengths of ``CURVE_KS``."""
        hits = hit_matrix(lists, self.task.relevant, k=max(CURVE_KS)).cumsum(axis=1)
        return {str(k): float((hits[:, k - 1] / self.task.relevant.counts).mean()) for k in CURVE_KS}

    def _slice(self, part: Slice) -> dict[str, Any]:
        values = [
            user_metrics(lists.take(part.questions), part.relevant, ks=(max(KS),))[HEADLINE_METRIC]
            for lists in self.lists.values()
        ]
        found = self.resampling.intervals(values)
        return {
            "group": part.group,
            "label": part.label,
            "num_users": len(part.questions),
            HEADLINE_METRIC: {name: _as_dict(interval) for name, interval in zip(self.lists, found, strict=True)},
        }


def _as_dict(interval: Interval) -> dict[str, float]:
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}
