"""Lifts with intervals, and how sure one may be of many at once.

Sources: Katz, Baptista, Azen, Pike 1978, "Obtaining confidence intervals for the risk ratio in cohort studies";
Benjamini, Hochberg 1995, "Controlling the false discovery rate"; Efron 1979, "Bootstrap methods" (whole customers are
drawn, since one customer's periods are not independent).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import fisher_exact, norm

Floats = npt.NDArray[np.floating]

LEVEL: Final = 0.95
LEAST_CUSTOMERS: Final = 10
_REPLICATES: Final = 400
_BLOCK: Final = 50  # replicates drawn at a time


@dataclass(frozen=True, kw_only=True)
class Lift:
    """A ratio of two rates or means.

    Args:
        value, low, high: the ratio and its 95% interval; nothing where the lower rate is 0 or a group is empty.
        p: two-sided, of no difference; 1 where nothing can be said.
    """

    value: float | None
    low: float | None
    high: float | None
    p: float


NO_LIFT: Final = Lift(value=None, low=None, high=None, p=1.0)


def ratio_of_rates(hits: int, total: int, other_hits: int, other_total: int) -> Lift:
    """Return the ratio of two independent groups' rates, with Katz's log interval and Fisher's exact p.

    An empty cell gets half a customer in the interval (not in the ratio).

    >>> ratio_of_rates(30, 100, 10, 100).value
    3.0
    """
    if not total or not other_total:
        return NO_LIFT
    p = float(fisher_exact(np.array([[hits, total - hits], [other_hits, other_total - other_hits]])).pvalue)
    if not other_hits:
        return Lift(value=None, low=None, high=None, p=p)
    a, b = hits + 0.5 * (hits == 0), float(other_hits)
    value = (hits / total) / (other_hits / other_total)
    spread = np.sqrt(max(1 / a - 1 / total + 1 / b - 1 / other_total, 0.0))
    return replace(_of_log(value, np.log((a / total) / (b / other_total)), float(spread)), p=p)


def clustered_ratio(sums: Floats, other: Floats, counts: Floats, other_counts: Floats, *, seed: int = 0) -> Lift:
    """Return the ratio of two means over customers who may stand in both groups, at different times.

    Args:
        sums, other: each customer's total outcome while in the group and while out of it, ``[U]``.
        counts, other_counts: each customer's periods in the group and out of it, ``[U]``.
        seed: of the bootstrap.

    Returns:
        The ratio; without an interval where fewer than 10 customers are in a group, since a few alike would seem sure.
    """
    table = np.stack([sums, counts, other, other_counts], axis=1).astype(np.float64)  # [U, 4]
    total = table.sum(axis=0)
    if not total.all():
        return NO_LIFT
    value = float((total[0] / total[1]) / (total[2] / total[3]))
    if min((counts > 0).sum(), (other_counts > 0).sum()) < LEAST_CUSTOMERS:
        return Lift(value=value, low=None, high=None, p=1.0)
    rng = np.random.default_rng(seed)
    logs = []
    for _ in range(_REPLICATES // _BLOCK):
        drawn = rng.poisson(1.0, (_BLOCK, len(table))) @ table  # [B, 4]
        whole = drawn[(drawn > 0).all(axis=1)]
        logs.append(np.log(whole[:, 0] / whole[:, 1]) - np.log(whole[:, 2] / whole[:, 3]))
    spread = np.concatenate(logs)
    return _of_log(value, float(np.log(value)), float(spread.std()) if len(spread) > 1 else np.inf)


def false_discovery_rates(p: Floats) -> Floats:
    """Return Benjamini and Hochberg's adjusted p-values: the least rate at which each would be a discovery.

    >>> false_discovery_rates(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    order = np.argsort(p)[::-1]
    ranks = np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum.accumulate(np.minimum(p[order] * len(p) / ranks, 1.0))
    return adjusted


def _of_log(value: float, log_value: float, spread: float) -> Lift:
    if not np.isfinite(spread):
        return Lift(value=value, low=None, high=None, p=1.0)
    reach = norm.ppf(0.5 + LEVEL / 2) * spread
    p = float(2 * norm.sf(abs(log_value) / spread)) if spread > 0 else 1.0
    return Lift(value=value, low=float(np.exp(log_value - reach)), high=float(np.exp(log_value + reach)), p=p)
