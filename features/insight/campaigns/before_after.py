"""Before and after: the change of those whom a campaign reached, with what else may have changed them.

This says what happened, not what the campaign did. Beside the change stand the changes that would have come without it:

    others        of customers whom the campaign did not reach, in the same days
    year_before   of all customers in the same days 52 weeks earlier: the season
    trend         where the line through the reached customers' blocks before the campaign leads
    regression    of customers picked for what they did just before: high spenders come down and low ones go up by
                  themselves. With r the correlation of the two halves of the days before, rho = 2 r / (1 + r) of a
                  customer's distance from the shop's mean is lasting, the rest is luck that does not come again

Sources: Barnett, van der Pols, Dobson 2005, "Regression to the mean: what it is and how to deal with it"; Spearman 1910
and Brown 1910 (rho).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from features.errors import DataError
from features.insight.campaigns.outcomes import Bools, Floats, Panel
from features.insight.experiments.estimates import quantile

WARNING: Final = (
    "A change before and after a campaign is not its effect: season, trend, other campaigns and customers who come back "
    "to their usual level change it too. Hold customers out at random, or compare with others."
)
CAUSES: Final = ("others", "year_before", "trend", "regression")
_RESAMPLES: Final = 100
_NOTHING: Final = (math.nan, math.nan, math.nan)


@dataclass(frozen=True, kw_only=True, eq=False)
class BeforeAfter:
    """What changed.

    Args:
        num_customers: reached.
        before, during: outcome a customer and day.
        difference, low, high: during less before; by Student's t over customers.
        lift, lift_low, lift_high: over before (delta method).
        causes: cause, lift, low, high: the change that each would have brought without the campaign; missing where
            the log does not tell.
        warning: what the figures do not say.
    """

    num_customers: int
    before: float
    during: float
    difference: float
    low: float
    high: float
    lift: float
    lift_low: float
    lift_high: float
    causes: pd.DataFrame
    warning: str = WARNING


def before_after(
    panel: Panel, reached: npt.ArrayLike, *, year_before: Panel | None = None, level: float = 0.95, seed: int = 0
) -> BeforeAfter:
    """Return the change of the customers that a campaign reached; its days are the panel's last period.

    Args:
        panel: blocks before, then the campaign (``Windows.periods``); reached customers and all others.
        reached: which they are, ``[U]``.
        year_before: the same customers in ``Windows.a_year_before``, where the log goes back so far.
        level: of the intervals.
        seed: of the bootstrap that gives the interval of ``regression``.

    Raises:
        DataError: fewer than two customers were reached.
    """
    group = np.asarray(reached, bool)
    if group.sum() < 2:
        raise DataError(f"before and after: expected at least two customers reached, found {int(group.sum())}.")
    before, during = panel.mean_of(slice(0, -1)), panel.rates[:, -1]
    change = during[group] - before[group]
    reach = quantile(level, len(change) - 1) * float(change.std(ddof=1)) / math.sqrt(len(change))
    lift, low, high = _lift(before[group], during[group], level)
    return BeforeAfter(
        num_customers=len(change),
        before=float(before[group].mean()),
        during=float(during[group].mean()),
        difference=float(change.mean()), low=float(change.mean()) - reach, high=float(change.mean()) + reach,
        lift=lift, lift_low=low, lift_high=high,
        causes=_causes(panel, group, year_before, level=level, seed=seed),
    )  # fmt: skip


def _causes(panel: Panel, reached: Bools, year_before: Panel | None, *, level: float, seed: int) -> pd.DataFrame:
    before, during = panel.mean_of(slice(0, -1)), panel.rates[:, -1]
    season = _NOTHING
    if year_before is not None:
        season = _lift(year_before.mean_of(slice(0, -1)), year_before.rates[:, -1], level)
    found = {
        "others": _lift(before[~reached], during[~reached], level),
        "year_before": season,
        "trend": _trend(panel, reached, level),
        "regression": _regression(panel, reached, level=level, seed=seed),
    }
    rows = [(cause, *found[cause]) for cause in CAUSES]
    return pd.DataFrame(rows, columns=["cause", "lift", "low", "high"])


def _lift(before: Floats, during: Floats, level: float) -> tuple[float, float, float]:
    """Return ``mean of during / mean of before - 1`` with its interval, over pairs."""
    if len(before) < 2 or not before.mean() > 0:
        return _NOTHING
    ratio = float(during.mean() / before.mean())
    se = float((during - ratio * before).std(ddof=1)) / math.sqrt(len(before)) / float(before.mean())
    reach = quantile(level, len(before) - 1) * se
    return ratio - 1, ratio - 1 - reach, ratio - 1 + reach


def _trend(panel: Panel, reached: Bools, level: float) -> tuple[float, float, float]:
    rates = panel.rates[reached, :-1]
    if rates.shape[1] < 2:
        return _NOTHING
    middle = np.cumsum(panel.days) - panel.days / 2
    past = middle[:-1] - middle[:-1].mean()
    ahead = rates @ past / (past @ past) * (middle[-1] - middle[:-1].mean())
    before = panel.mean_of(slice(0, -1))[reached]
    return _lift(before, before + ahead, level)


def _regression(panel: Panel, reached: Bools, *, level: float, seed: int) -> tuple[float, float, float]:
    half = (panel.rates.shape[1] - 1) // 2
    if half < 1 or reached.all():
        return _NOTHING
    first, second = panel.mean_of(slice(0, half)), panel.mean_of(slice(half, 2 * half))
    value = _comes_back(first, second, reached)
    rng, number = np.random.default_rng(seed), len(first)
    draws = []
    for _ in range(_RESAMPLES):
        rows = rng.integers(number, size=number)
        draws.append(_comes_back(first[rows], second[rows], reached[rows]))
    spread = float(np.nanstd(draws, ddof=1)) if np.isfinite(draws).sum() > 1 else math.nan
    reach = -float(special.ndtri((1 - level) / 2)) * spread
    return value, value - reach, value + reach


def _comes_back(first: Floats, second: Floats, reached: Bools) -> float:
    mean = (first + second) / 2
    if not reached.any() or not mean[reached].mean() > 0 or not (first.std() > 0 and second.std() > 0):
        return math.nan
    r = max(float(np.corrcoef(first, second)[0, 1]), 0.0)
    lasting = 2 * r / (1 + r)
    return (1 - lasting) * float(mean.mean() / mean[reached].mean() - 1)
