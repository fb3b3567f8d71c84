"""Estimates of a policy's value from the log of another, with what tells whether to believe them.

E exposures; for exposure i with context x, shown item a, propensity p, reward r, target policy t, reward model q:

    w              t(a | x) / p
    q_t            sum over items b of t(b | x) q(x, b)

    logged         mean r                            what the slot did earn
    ips            mean w r                          unbiased if p is true and t stays within the log's support
    snips          sum w r / sum w                   a constant added to all rewards moves it by that constant
    clipped_ips    mean min(w, c) r                  less variance, biased downwards
    direct_method  mean q_t                          as good as the reward model, no better
    doubly_robust  mean q_t + w (r - q(x, a))        unbiased if p is true, and steadier the better q is

Sources: Horvitz and Thompson 1952 (inverse propensities); Swaminathan and Joachims 2015, "The Self-Normalized
Estimator for Counterfactual Learning", NeurIPS; Dudik, Langford and Li 2011, "Doubly Robust Policy Evaluation and
Learning", ICML; Ionides 2008, "Truncated Importance Sampling", JCGS (clipping at the root of E); Kish 1965 (the
effective sample size).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.errors import DataError
from training.evaluation.bootstrap import resampled_means
from training.evaluation.off_policy.bandit_log import BanditLog

Floats = npt.NDArray[np.float64]

ESTIMATORS: Final = ("ips", "snips", "clipped_ips", "direct_method", "doubly_robust")
_TINY: Final = 1e-300


@dataclass(frozen=True, kw_only=True, eq=False)
class PolicyOnLog:
    """What a target policy and a reward model say about each exposure, float64 ``[E]`` each.

    Args:
        chosen: probability that the policy shows the item that was shown.
        supported: probability that it shows an item which the slot is known to show.
        predicted_chosen: the reward model's mean reward of the shown item.
        predicted: the same of an item drawn by the policy.
    """

    chosen: Floats
    supported: Floats
    predicted_chosen: Floats
    predicted: Floats


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """How intervals are taken: percentile bootstrap over users, since one user's exposures are not independent.

    Args:
        resamples: draws of users.
        seed: of the draws; the same draws serve all policies of one log.
        level: share of the draws inside an interval.
    """

    resamples: int = 1000
    seed: int = 0
    level: float = 0.95


def estimate_value(
    log: BanditLog, target: PolicyOnLog, *, clip: float = 0.0, bootstrap: Bootstrap = Bootstrap()
) -> dict[str, Any]:
    """Return a policy's value by each estimator, its lead over the log's own, and the checks, as JSON.

    Args:
        log: what the slot showed.
        target: the policy on it.
        clip: largest weight of ``clipped_ips``; the root of E where 0.
        bootstrap: how intervals are taken.

    Returns:
        ``value`` and ``lead`` by estimator (``mean, low, high``; lead is value less ``logged``), ``logged``,
        ``clipping`` (``at, share``; ``bias``: the clipped estimate less the unclipped; ``most_bias``: what it could
        be at most, with rewards up to 1) and ``checks`` (see ``_checks``).

    Raises:
        DataError: the policy never shows what the log shows.
    """
    weight = target.chosen / log.propensity  # [E]
    if not weight.sum() > 0:
        raise DataError(
            "Off-policy estimate: expected a policy that sometimes shows what the log shows, found weight 0 on all "
            f"{len(log):,} exposures; their items are none of the policy's candidates."
        )
    at = clip or float(np.sqrt(len(log)))
    columns = _columns(log, target, weight, at)
    sums = _sums_by_user(log, columns)  # [U, C]
    names = list(columns)
    found = _values(dict(zip(names, sums.mean(axis=0)[:, None], strict=True)))
    drawn = resampled_means(sums, resamples=bootstrap.resamples, seed=bootstrap.seed)  # [R, C]
    resampled = _values(dict(zip(names, drawn.T, strict=True)))
    around = {name: _interval(found[name], resampled[name], bootstrap.level) for name in found}
    return {
        "value": {name: around[name] for name in ESTIMATORS},
        "lead": {name: around[f"{name} lead"] for name in ESTIMATORS},
        "logged": around["logged"],
        "clipping": {
            "at": at,
            "share": float((weight > at).mean()),
            "bias": around["clipped_ips"]["mean"] - around["ips"]["mean"],
            "most_bias": -around["cut"]["mean"],
        },
        "checks": _checks(weight, around["mean_weight"], around["supported"]["mean"]),
    }


def _columns(log: BanditLog, target: PolicyOnLog, weight: Floats, at: float) -> dict[str, Floats]:
    clipped = np.minimum(weight, at)
    return {
        "num": np.ones(len(log)),
        "logged": log.reward,
        "weight": weight,
        "ips": weight * log.reward,
        "clipped_ips": clipped * log.reward,
        "cut": weight - clipped,
        "direct_method": target.predicted,
        "doubly_robust": target.predicted + weight * (log.reward - target.predicted_chosen),
        "supported": target.supported,
    }


def _sums_by_user(log: BanditLog, columns: Mapping[str, Floats]) -> Floats:
    _, row = np.unique(log.user, return_inverse=True)
    return np.stack([np.bincount(row, weights=column) for column in columns.values()], axis=1)


def _values(sums: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return every estimate from sums over users; users differ in exposures, so each is a ratio of two sums."""
    per_exposure = ("logged", "ips", "clipped_ips", "cut", "direct_method", "doubly_robust", "supported")
    values = {name: sums[name] / sums["num"] for name in per_exposure}
    values["mean_weight"] = sums["weight"] / sums["num"]
    values["snips"] = sums["ips"] / np.maximum(sums["weight"], _TINY)
    return values | {f"{name} lead": values[name] - values["logged"] for name in ESTIMATORS}


def _interval(found: Floats, resampled: Floats, level: float) -> dict[str, float]:
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return {"mean": float(found[0]), "low": float(low), "high": float(high)}


def _checks(weight: Floats, mean_weight: Mapping[str, float], supported: float) -> dict[str, Any]:
    """Return what tells whether the estimates deserve belief.

    Over the log's own random choices the mean weight is the policy's probability of items that the slot could show:
    1, or less by what it puts where the log has nothing.

    Returns:
        ``num_exposures``; ``effective_sample_size`` (how many equally weighted exposures would tell as much);
        ``largest_weight``; ``mean_weight`` (``mean, low, high``); ``unsupported`` (the policy's mean probability of
        items that the slot never showed); ``balanced`` and ``verdict`` (one sentence).
    """
    square = float((weight**2).sum())
    unsupported = 1 - min(supported, 1.0)
    balanced = mean_weight["low"] <= 1 and mean_weight["high"] >= 1 - unsupported
    return {
        "num_exposures": len(weight),
        "effective_sample_size": float(weight.sum()) ** 2 / square,
        "largest_weight": float(weight.max()),
        "mean_weight": dict(mean_weight),
        "unsupported": unsupported,
        "balanced": balanced,
        "verdict": _verdict(mean_weight, unsupported),
    }


def _verdict(found: Mapping[str, float], unsupported: float) -> str:
    interval = f"{found['mean']:.2f} ({found['low']:.2f} to {found['high']:.2f})"
    expected = "1" if unsupported < 0.005 else f"{1 - unsupported:.2f} to 1"
    if found["low"] > 1:
        return (
            f"The mean weight is {interval}, above 1: the propensities are not those of the log. Do not use these "
            "estimates."
        )
    if found["high"] < 1 - unsupported:
        return (
            f"The mean weight is {interval}, expected {expected}: the propensities are not those of the log, or the "
            "policy shows items that the slot could not show at the time. Do not use these estimates."
        )
    return f"The mean weight is {interval}, expected {expected}: the propensities agree with the log."
