"""Several models, the same questions: one table with intervals and paired differences.

The JSON of a comparison::

    name, num_users, num_answers
    answers   what customers chose: popularity_percentile, mean_popularity, novelty
    rows      one a model, the compared one first
        model
        metrics      {"recall@10": {"mean", "low", "high"}, ...}, see metrics.user_metrics
        difference   the first model's less this one's, the same keys; none for the first
        lists        {"coverage@10": value, ...}, see metrics.list_metrics and list_quality
        curve        {"1": mean recall@1, ...}
        mean_list_length
        seconds      wall time to answer all questions
        cost         fit_wall_s, fit_cpu_s (none where not measured here), answer_wall_s, answer_cpu_s
    slices    group, label, num_users, "recall@20": {model: {"mean", "low", "high"}}
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.recommendations import Recommendations
from training.evaluation.bootstrap import Interval, intervals
from training.evaluation.costs import Seconds
from training.evaluation.kept_answers import KeptAnswers, answer_of
from training.evaluation.list_quality import ItemFacts, list_quality
from training.evaluation.metrics import KS, hit_matrix, list_metrics, surprise, user_metrics
from training.evaluation.recommender import Recommender
from training.evaluation.segments import Grouping
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
        facts: what lists are judged by beside being right; left out where not given.
        groupings: of the customers, by row of the split's sequences, for slices.
        fit_seconds: time to fit, by name, of those that were fitted.
    """

    task: Task
    lists: Mapping[str, Recommendations]
    counts: Ints
    num_candidates: int
    resampling: Resampling = field(default_factory=Resampling)
    seconds: Mapping[str, Seconds] = field(default_factory=dict)
    facts: ItemFacts | None = None
    groupings: Sequence[Grouping] = ()
    fit_seconds: Mapping[str, Seconds] = field(default_factory=dict)

    @classmethod
    def run(
        cls,
        task: Task,
        recommenders: Sequence[Recommender],
        *,
        counts: Ints,
        num_candidates: int,
        resampling: Resampling = Resampling(),
        facts: ItemFacts | None = None,
        groupings: Sequence[Grouping] = (),
        fit_seconds: Mapping[str, Seconds] = MappingProxyType({}),
        kept: KeptAnswers | None = None,
    ) -> Comparison:
        """Ask every model every question of the task, but what ``kept`` holds the answer to; it gets the others."""
        lists: dict[str, Recommendations] = {}
        seconds: dict[str, Seconds] = {}
        for model in recommenders:
            answer = answer_of(model, task, k=LIST_LENGTH, kept=kept, fit=fit_seconds.get(model.name))
            lists[model.name], seconds[model.name] = answer.lists, answer.seconds
        return cls(
            task=task,
            lists=lists,
            counts=counts,
            num_candidates=num_candidates,
            resampling=resampling,
            seconds=seconds,
            facts=facts,
            groupings=groupings,
            fit_seconds=fit_seconds,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON: one row a model, its curve, its lists, and the slices."""
        return {
            "name": self.task.name,
            "num_users": self.task.num_users,
            "num_answers": len(self.task.relevant.item),
            "answers": self._answers(),
            "rows": self._rows(),
            "slices": [
                self._slice(part) for part in slices_of(self.task, counts=self.counts, groupings=self.groupings)
            ],
        }

    def _answers(self) -> dict[str, float]:
        """Return how popular what customers chose is, for comparison with what they were shown."""
        chosen = self.task.relevant.item
        found = {
            "mean_popularity": float(self.counts[chosen].mean()),
            "novelty": float(surprise(self.counts)[chosen].mean()),
        }
        if self.facts is not None:
            found["popularity_percentile"] = float(self.facts.popularity_percentile[chosen].mean())
        return found

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
                "lists": self._lists(self.lists[name]),
                "curve": self._curve(self.lists[name]),
                "mean_list_length": float(np.diff(self.lists[name].offsets).mean()),
                "seconds": self.seconds[name].wall if name in self.seconds else None,
                "cost": self._cost(name),
            }
            for name in metrics
        ]

    def _lists(self, lists: Recommendations) -> dict[str, float]:
        found = list_metrics(lists, counts=self.counts, num_candidates=self.num_candidates)
        return found if self.facts is None else found | list_quality(lists, self.task.query, self.facts)

    def _cost(self, name: str) -> dict[str, float | None]:
        fit, answer = self.fit_seconds.get(name), self.seconds.get(name)
        return {
            "fit_wall_s": fit.wall if fit else None,
            "fit_cpu_s": fit.cpu if fit else None,
            "answer_wall_s": answer.wall if answer else None,
            "answer_cpu_s": answer.cpu if answer else None,
        }

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
