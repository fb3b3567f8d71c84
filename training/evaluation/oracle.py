"""On synthetic data: how much of what could be known a model finds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from features.build import FeatureSet
from features.errors import ConfigError
from features.sources.synthetic.oracle import OracleRecommender
from features.splits import Split
from training.evaluation.bootstrap import resampled_means
from training.evaluation.comparison import HEADLINE_METRIC, LIST_LENGTH, Comparison
from training.evaluation.metrics import user_metrics

_HALF_DAY_US: Final = 43_200_000_000


def compare_with_oracle(
    comparisons: Sequence[Comparison], features: FeatureSet, split: Split, *, truth: Path, window_days: int
) -> list[dict[str, Any]]:
    """Return, for each task, the oracle's Recall@20 and each model's share of it, with paired intervals.

    The oracle knows the simulated shop's truth as of the midnight nearest to the test cut-off, and
    nothing of the window itself. No model can do better than it on average.

    Args:
        comparisons: what the models answered.
        features: gives the ids.
        split: global temporal.
        truth: the ``truth`` directory of the data, or the data directory.
        window_days: length of the test window.

    Raises:
        ConfigError: the split has no cut-off, so that there is no window to know about.
    """
    if split.cutoffs_us is None:
        raise ConfigError("truth: expected a global temporal split, found leave-one-out; leave the truth out.")
    oracle = OracleRecommender.open(
        truth,
        vocabulary=features.vocabulary,
        users_vocabulary=features.users,
        from_us=split.cutoffs_us[1] + _HALF_DAY_US,
        window_days=window_days,
    )
    return [_beside(comparison, oracle, features) for comparison in comparisons]


def _beside(comparison: Comparison, oracle: OracleRecommender, features: FeatureSet) -> dict[str, Any]:
    task, draws = comparison.task, comparison.resampling
    answered = oracle.recommend_for(
        features.users.ids[task.users], task.query, k=LIST_LENGTH, exclude_seen=task.exclude_seen
    )
    lists = {oracle.name: answered, **comparison.lists}
    values = np.stack([user_metrics(found, task.relevant)[HEADLINE_METRIC] for found in lists.values()], axis=1)
    resampled = resampled_means(values, resamples=draws.resamples, seed=draws.seed)
    means = values.mean(axis=0)
    shares = resampled[:, 1:] / np.maximum(resampled[:, :1], 1e-12)
    low, high = np.quantile(shares, [(1 - draws.level) / 2, (1 + draws.level) / 2], axis=0)
    return {
        "name": task.name,
        HEADLINE_METRIC: float(means[0]),
        "share_of_oracle": {
            name: {"mean": float(means[column + 1] / max(means[0], 1e-12)), "low": float(a), "high": float(b)}
            for column, (name, a, b) in enumerate(zip(comparison.lists, low, high, strict=True))
        },
    }
