"""How likely an item is bought again, and after how long.

Each item's own figures are drawn towards its category's, and these towards the shop's, by as much as the data say that
items differ. V item codes.

Sources: Morris 1983, "Parametric empirical Bayes inference: theory and applications"; Donner 1986, "A
review of inference procedures for the intraclass correlation coefficient" (the moment estimators below).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.repeats.pair_evidence import PairEvidence, summed

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_MOST_STRENGTH: Final = 1e9  # groups that do not differ at all
_LEAST_VARIANCE: Final = 1e-4


@dataclass(frozen=True, kw_only=True, eq=False)
class ItemCycles:
    """What buyers of each item did next.

    Args:
        again: chance that a purchase is followed by another of the item by the same user, ``[V]``.
        again_soon: the same within the horizon.
        converts: chance that an item which was met and not bought yet is bought within the horizon, ``[V]``.
        log_gap: mean of the natural logarithm of the days between two purchases by one user, ``[V]``.
        spread: standard deviation of that logarithm for one user, ``[V]``.
        own_strength: a user's own mean counts as this many gaps fewer than it has, of all it has and these.
        rate, recent_rate: purchases a day over all time and over the last horizon, ``[V]``.
    """

    again: Floats
    again_soon: Floats
    converts: Floats
    log_gap: Floats
    spread: Floats
    own_strength: float
    rate: Floats
    recent_rate: Floats

    @classmethod
    def fit(cls, evidence: PairEvidence, category: npt.NDArray[np.object_], *, horizon_days: float) -> ItemCycles:
        """Estimate from what was known at an instant.

        Args:
            evidence: of all users.
            category: of each item code, ``[V]``; ``""`` where unknown.
            horizon_days: how far ahead a chance looks.
        """
        group = np.unique(category.astype(str), return_inverse=True)[1]
        pair, age, gap = evidence.occasion_pair, evidence.occasion_age, evidence.occasion_gap
        item, size = evidence.item[pair], len(category)
        next_gap = np.where(np.append(pair[1:] == pair[:-1], False), np.append(gap[1:], 0), np.inf)[: len(pair)]
        watched = age >= horizon_days  # the others have not had their time yet
        trials = summed(item[watched], np.ones(watched.sum()), size)
        again = summed(item[watched], np.isfinite(next_gap[watched]), size)
        soon = summed(item[watched], next_gap[watched] <= horizon_days, size)
        log_gap, spread, own_strength = _gaps(evidence, group, size)
        span = max(float(age.max(initial=0)), 1.0)
        recent = age < horizon_days
        return cls(
            again=shrunk_rates(again, trials, group),
            again_soon=shrunk_rates(soon, trials, group),
            converts=_conversion(evidence, group, size),
            log_gap=log_gap,
            spread=spread,
            own_strength=own_strength,
            rate=np.bincount(item, minlength=size) / span,
            recent_rate=np.bincount(item[recent], minlength=size) / min(span, horizon_days),
        )


def shrunk_rates(successes: Floats, trials: Floats, group: Ints) -> Floats:
    """Return each unit's rate, drawn towards its group's, which is drawn towards the rate of all.

    A beta prior at each level, its strength by moments: units that differ no more than chance would have them are
    pooled.

    Args:
        successes, trials: of each unit ``[V]``.
        group: of each unit, from 0 ``[V]``.
    """
    total = max(float(trials.sum()), 1.0)
    shop = np.full(1 + int(group.max(initial=0)), (successes.sum() + 0.5) / (total + 1))
    group_trials = summed(group, trials, len(shop))
    groups = _towards(summed(group, successes, len(shop)), group_trials, shop)
    return _towards(successes, trials, groups[group])


def shrunk_means(sums: Floats, counts: Floats, group: Ints, *, variance: float) -> Floats:
    """Return each unit's mean, drawn towards its group's, which is drawn towards the mean of all.

    A normal prior at each level, its variance by moments.

    Args:
        sums, counts: of each unit's values ``[V]``.
        group: of each unit, from 0 ``[V]``.
        variance: of a value around its unit's mean.
    """
    shop = np.full(1 + int(group.max(initial=0)), sums.sum() / max(counts.sum(), 1.0))
    group_counts = summed(group, counts, len(shop))
    groups = _mean_towards(summed(group, sums, len(shop)), group_counts, shop, variance)
    return _mean_towards(sums, counts, groups[group], variance)


def _towards(successes: Floats, trials: Floats, prior: Floats) -> Floats:
    """Return rates under a beta prior around ``prior`` whose strength is that of the observed differences."""
    held = trials > 0
    n, p, m = trials[held], successes[held] / trials[held], prior[held]
    excess = (n * (p - m) ** 2 / (m * (1 - m))).sum() - held.sum()
    weight = n.sum() - held.sum()
    correlation = excess / weight if weight > 0 else 0.0  # within-unit correlation: 0 where units do not differ
    strength = min(1 / correlation - 1, _MOST_STRENGTH) if correlation > 0 else _MOST_STRENGTH
    strength = max(strength, 1.0)  # at least as much as one observation
    return (successes + strength * prior) / (trials + strength)


def _mean_towards(sums: Floats, counts: Floats, prior: Floats, variance: float) -> Floats:
    held = counts > 0
    n, mean, m = counts[held], sums[held] / counts[held], prior[held]
    between = ((n * (mean - m) ** 2).sum() - held.sum() * variance) / max(n.sum(), 1.0)
    strength = min(variance / between, _MOST_STRENGTH) if between > 0 else _MOST_STRENGTH
    return (sums + strength * prior) / (counts + strength)


def _gaps(evidence: PairEvidence, group: Ints, size: int) -> tuple[Floats, Floats, float]:
    """Return mean and spread of the log gaps by item, and how strongly a user's own mean is drawn to the item's."""
    pair, gap = evidence.occasion_pair, evidence.occasion_gap
    held = gap > 0
    log_gap, pair = np.log(gap[held]), pair[held]
    n = evidence.num_gaps
    own_mean = evidence.sum_log_gap / np.maximum(n, 1)
    squares = (log_gap - own_mean[pair]) ** 2
    freedom = max(int((n[n > 1] - 1).sum()), 1)
    within = max(float(squares.sum()) / freedom, _LEAST_VARIANCE)  # of one user's gaps
    item = evidence.item[pair]
    sums, counts = summed(item, log_gap, size), np.bincount(item, minlength=size).astype(np.float64)
    around = max(float(log_gap.var()) if len(log_gap) else 1.0, _LEAST_VARIANCE)
    means = shrunk_means(sums, counts, group, variance=around)
    own = n > 0
    apart = (n[own] * (own_mean[own] - means[evidence.item[own]]) ** 2).sum() - own.sum() * within
    between = max(float(apart) / max(float(n.sum()), 1.0), _LEAST_VARIANCE)
    own_freedom = summed(evidence.item, np.maximum(n - 1, 0), size)
    item_squares = summed(item, squares, size)
    strength = 2.0 / max(_cv2(item_squares, own_freedom, within), 1e-9)
    spread = np.sqrt((item_squares + strength * within) / (own_freedom + strength))
    return means, spread, within / between


def _cv2(squares: Floats, freedom: Floats, within: float) -> float:
    """Return the squared coefficient of variation of the items' true variances, by moments."""
    held = freedom > 0
    n, variance = freedom[held], squares[held] / freedom[held]
    if not held.any():
        return 0.0
    relative = (n * (variance / within - 1) ** 2).sum() / n.sum()
    return max(float(relative - 2 * held.sum() / n.sum()), 0.0)  # a variance of n squares has relative variance 2 / n


def _conversion(evidence: PairEvidence, group: Ints, size: int) -> Floats:
    """Return the share of the users who met an item that have bought it."""
    met = summed(evidence.item, np.ones(len(evidence.item)), size)
    bought = summed(evidence.item, evidence.occasions > 0, size)
    return shrunk_rates(bought, met, group)
