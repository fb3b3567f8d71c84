"""Beta-geometric models of repeat purchase: BG/NBD and, with a chance to leave at once, MBG/NBD.

A buyer buys at random at a rate of their own, which differs among buyers as Gamma(r, alpha), and after a purchase leaves
for good with a chance of their own, which differs as Beta(a, b). BG/NBD: the first purchase ends nothing, so that a buyer
without a repeat is alive for certain. MBG/NBD: it may. Time in weeks; N rows.

The likelihood of x repeats, the last at t, seen for T:

    B(a, b+x+m) / B(a, b)  Γ(r+x)/Γ(r)  alpha^r  [ (alpha+T)^-(r+x)  +  a/(b+x-1+m) (alpha+t)^-(r+x) ]

with m = 0 (BG/NBD, whose second term is 0 where x is) or 1 (MBG/NBD).

Source: Fader, Hardie, Lee 2005, '"Counting your customers" the easy way'; Batislam, Denizel, Filiztekin 2007,
"Empirical validation and comparison of models for customer base analysis".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from scipy.special import betaincinv, betaln, digamma, gammaln, hyp2f1

from features.customers.value.histories import DAYS_A_WEEK, Floats, Histories
from features.customers.value.maximum import most_likely

PARAMETERS: Final = ("r", "alpha", "a", "b")
# Distinct histories: parameters are known to 1 in 100 by then, and more only take longer.
_MOST_FITTED: Final = 20_000
# From a shop where one in three leaves to one where hardly anyone does.
_STARTS: Final = ((0.5, 5.0, 1.0, 3.0), (0.3, 10.0, 0.5, 5.0), (2.0, 5.0, 0.2, 10.0))
_NEAR_ONE: Final = 1e-5  # closer to a = 1 the formula is 0 / 0: its value there is that next to it
_SHORT: Final = 0.9  # horizon over age: below, one of two equal series is sound; above, the other
_NODES: Final = 256


@dataclass(frozen=True, kw_only=True)
class BgNbd:
    """A fitted model.

    Args:
        r, alpha: shape, and rate in weeks, of the buyers' purchase rates.
        a, b: of the buyers' chances to leave after a purchase.
        may_leave_at_once: MBG/NBD: the first purchase may be the last.
        log_likelihood: of the purchases that it was fitted to.
    """

    r: float
    alpha: float
    a: float
    b: float
    may_leave_at_once: bool = False
    log_likelihood: float = float("nan")

    @property
    def name(self) -> str:
        """What the field calls it."""
        return "MBG/NBD" if self.may_leave_at_once else "BG/NBD"

    @classmethod
    def fit(cls, histories: Histories, *, may_leave_at_once: bool = False) -> Self:
        """Return the most likely parameters.

        Raises:
            DataError: too few bought again, or no likelihood is greatest.
        """
        rows = histories.for_fitting(most=_MOST_FITTED)
        likelihood = _Likelihood(rows, shift=int(may_leave_at_once))
        found, height = most_likely(likelihood, _STARTS, names=PARAMETERS)
        values = dict(zip(PARAMETERS, map(float, found), strict=True))
        return cls(**values, may_leave_at_once=may_leave_at_once, log_likelihood=height)

    def alive(self, histories: Histories) -> Floats:
        """Return each buyer's chance not to have left for good, ``[N]``."""
        x, shift = histories.frequency, float(self.may_leave_at_once)
        ratio = np.log(self.alpha + histories.age_weeks) - np.log(self.alpha + histories.recency_weeks)
        may_leave = (x > 0) | self.may_leave_at_once
        left = np.log(self.a) - np.log(np.where(may_leave, self.b + x - 1 + shift, 1.0)) + (self.r + x) * ratio
        return np.where(may_leave, 1 / (1 + np.exp(np.minimum(left, 700))), 1.0)

    def expected(self, histories: Histories, *, days: float, alive: Floats | None = None) -> Floats:
        """Return the mean number of purchases in the coming ``days``, ``[N]``; ``alive`` where it is known already."""
        alive = self.alive(histories) if alive is None else alive
        x = histories.frequency
        horizon = days / DAYS_A_WEEK / (self.alpha + histories.age_weeks)
        if_alive = _purchases_if_alive(self.r + x, self.a, self.b + x + float(self.may_leave_at_once), horizon)
        return alive * if_alive

    def silent(self, histories: Histories, *, days: float) -> Floats:
        """Return the chance of no purchase in the coming ``days``, ``[N]``."""
        horizon = days / DAYS_A_WEEK / (self.alpha + histories.age_weeks)
        none_if_alive = np.exp(-(self.r + histories.frequency) * np.log1p(horizon))
        return 1 - self.alive(histories) * (1 - none_if_alive)

    def expected_repeats(self, weeks: Floats) -> Floats:
        """Return the mean number of repeats within each time since a first purchase, ``[M]``."""
        start = np.zeros(len(weeks))
        fresh = Histories(frequency=start, recency_weeks=start, age_weeks=start, count=start + 1)
        shift = float(self.may_leave_at_once)
        if_alive = _purchases_if_alive(self.r + start, self.a, self.b + start + shift, weeks / self.alpha)
        return self.alive(fresh) * if_alive


def _purchases_if_alive(shape: Floats, a: float, b: Floats, horizon: Floats) -> Floats:
    """Return the mean of ``(1 - (1 + p horizon)^-shape) / p`` over p of Beta(a, b): (a+b-1)/(a-1) (1 - 2F1(...)).

    Euler's transformation of the published series has no power to overflow, where the horizon is short.
    """
    away = a if abs(a - 1) > _NEAR_ONE else 1 + _NEAR_ONE
    total = away + b - 1
    with np.errstate(all="ignore"):
        short = hyp2f1(shape, away - 1, total, -np.minimum(horizon, 1.0))
        long = np.exp(-shape * np.log1p(horizon)) * hyp2f1(shape, b, total, horizon / (1 + horizon))
        found = total / (away - 1) * (1 - np.where(horizon < _SHORT, short, long))
    lost = ~np.isfinite(found) | (found < 0)
    if lost.any():
        found[lost] = _by_quantiles(shape[lost], a, b[lost], horizon[lost])
    return found


def _by_quantiles(shape: Floats, a: float, b: Floats, horizon: Floats) -> Floats:
    """Return the same mean over equally likely chances: coarser (1e-3), and never lost."""
    levels = (np.arange(_NODES) + 0.5) / _NODES
    chance = np.maximum(betaincinv(a, b[:, None], levels), 1e-300)  # [N, nodes]
    logs = np.log1p(chance * horizon[:, None])
    return (-np.expm1(-shape[:, None] * logs) / chance).mean(axis=1)


class _Likelihood:
    """Log-likelihood of grouped histories and its derivatives; what depends on x alone is worked out once an x."""

    def __init__(self, histories: Histories, *, shift: int) -> None:
        self._shift = shift
        self._x, self._of = np.unique(histories.frequency, return_inverse=True)
        self._last, self._age, self._total = histories.recency_weeks, histories.age_weeks, histories.total
        self._repeats = histories.frequency
        self._may_leave = (self._repeats > 0) | bool(shift)

    def __call__(self, parameters: Floats) -> tuple[float, Floats]:
        r, alpha, a, b = parameters
        x, of, m = self._x, self._of, self._shift
        log_age, log_last = np.log(alpha + self._age), np.log(alpha + self._last)
        power = r + self._repeats
        next_b = np.where(x + m > 0, b + x - 1 + m, 1.0)
        stayed = -power * log_age
        left = np.where(self._may_leave, (np.log(a) - np.log(next_b))[of] - power * log_last, -np.inf)
        both = np.logaddexp(stayed, left)
        of_x = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + betaln(a, b + x + m) - betaln(a, b)
        gain = self._total(of_x[of] + both)
        gone = np.exp(left - both)
        here = 1 - gone
        all_ = digamma(a + b) - digamma(a + b + x + m)
        by_r = (digamma(r + x) - digamma(r) + np.log(alpha))[of] - here * log_age - gone * log_last
        by_alpha = r / alpha - power * (here / (alpha + self._age) + gone / (alpha + self._last))
        by_a = all_[of] + gone / a
        by_b = (all_ + digamma(b + x + m) - digamma(b))[of] - gone / next_b[of]
        return gain, np.array([self._total(slope) for slope in (by_r, by_alpha, by_a, by_b)])
