"""Pareto/NBD: a buyer buys at random at a rate of their own until the end of a lifetime of their own.

Rates differ among buyers as Gamma(r, alpha), and so do the rates of leaving: Gamma(s, beta). Time in weeks; N rows.
The likelihood of x repeats, the last at t, seen for T, with S(y) = (beta / (beta+y))^s the share that lives longer than y:

    Γ(r+x)/Γ(r)  alpha^r  [ S(T) (alpha+T)^-(r+x)  +  ∫_t^T -S'(y) (alpha+y)^-(r+x) dy ]

The integral is taken by Gauss and Legendre's rule over log(alpha+y), where its integrand is smooth, and not by the
published differences of hypergeometric series, which cancel for frequent buyers.

Source: Schmittlein, Morrison, Colombo 1987, "Counting your customers: who are they and what will they do next?";
Fader, Hardie 2005, "A note on deriving the Pareto/NBD model and related expressions".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from scipy.special import digamma, gammaln

from features.customers.value.histories import DAYS_A_WEEK, Floats, Histories
from features.customers.value.maximum import most_likely

PARAMETERS: Final = ("r", "alpha", "s", "beta")
# Distinct histories: parameters are known to 1 in 100 by then, and more only take longer.
_MOST_FITTED: Final = 20_000
_STARTS: Final = ((0.5, 10.0, 0.5, 10.0), (1.0, 5.0, 1.0, 50.0), (2.0, 5.0, 0.2, 50.0))
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(24)


@dataclass(frozen=True, kw_only=True)
class ParetoNbd:
    """A fitted model.

    Args:
        r, alpha: shape, and rate in weeks, of the buyers' purchase rates.
        s, beta: shape, and rate in weeks, of the buyers' rates of leaving.
        log_likelihood: of the purchases that it was fitted to.
    """

    r: float
    alpha: float
    s: float
    beta: float
    log_likelihood: float = float("nan")

    @property
    def name(self) -> str:
        """What the field calls it."""
        return "Pareto/NBD"

    @classmethod
    def fit(cls, histories: Histories) -> Self:
        """Return the most likely parameters.

        Raises:
            DataError: too few bought again, or no likelihood is greatest.
        """
        rows = histories.for_fitting(most=_MOST_FITTED)
        found, height = most_likely(_Likelihood(rows), _STARTS, names=PARAMETERS)
        return cls(**dict(zip(PARAMETERS, map(float, found), strict=True)), log_likelihood=height)

    def alive(self, histories: Histories) -> Floats:
        """Return each buyer's chance not to have left for good, ``[N]``."""
        parameters = np.array([self.r, self.alpha, self.s, self.beta])
        here, gone, _ = _log_terms(parameters, histories)
        return np.exp(here - np.logaddexp(here, gone))

    def expected(self, histories: Histories, *, days: float, alive: Floats | None = None) -> Floats:
        """Return the mean number of purchases in the coming ``days``, ``[N]``; ``alive`` where it is known already."""
        alive = self.alive(histories) if alive is None else alive
        rate = (self.r + histories.frequency) / (self.alpha + histories.age_weeks)
        return alive * rate * self._weeks_to_live(histories.age_weeks, days / DAYS_A_WEEK)

    def silent(self, histories: Histories, *, days: float) -> Floats:
        """Return the chance of no purchase in the coming ``days``, ``[N]``: those who leave first included."""
        weeks = days / DAYS_A_WEEK
        power, age = (self.r + histories.frequency)[:, None], histories.age_weeks[:, None]
        ahead = weeks / 2 * (1 + _POINTS)
        with np.errstate(under="ignore"):
            rate = power / (self.alpha + age) * np.exp(-(power + 1) * np.log1p(ahead / (self.alpha + age)))
            lives = np.exp(-self.s * np.log1p(ahead / (self.beta + age)))
        first_purchase = weeks / 2 * (rate * lives) @ _WEIGHTS
        return 1 - self.alive(histories) * np.minimum(first_purchase, 1.0)

    def expected_repeats(self, weeks: Floats) -> Floats:
        """Return the mean number of repeats within each time since a first purchase, ``[M]``."""
        return self.r / self.alpha * self._weeks_to_live(np.zeros(len(weeks)), weeks)

    def _weeks_to_live(self, age: Floats, weeks: Floats | float) -> Floats:
        """Return the mean weeks alive among the next ``weeks`` of those alive at ``age``: ∫ S(age+u)/S(age) du."""
        near_one = abs(self.s - 1) < 1e-6  # where the formula is 0 / 0
        grown = np.log1p(np.asarray(weeks) / (self.beta + age))
        if near_one:
            return (self.beta + age) * grown
        return (self.beta + age) * np.expm1((1 - self.s) * grown) / (1 - self.s)


def _log_terms(parameters: Floats, histories: Histories) -> tuple[Floats, Floats, tuple[Floats, Floats]]:
    """Return the logarithms of both terms in brackets; of the second the integrand, and log(alpha+y) where it was taken."""
    r, alpha, s, beta = parameters
    power, last, age = r + histories.frequency, histories.recency_weeks, histories.age_weeks
    here = -s * np.log1p(age / beta) - power * np.log(alpha + age)
    low, high = np.log(alpha + last), np.log(alpha + age)
    half = (high - low) / 2
    place = low[:, None] + half[:, None] * (1 + _POINTS)  # log(alpha + y), [N, points]
    lived = np.maximum(np.exp(place) - alpha, 0.0)
    heights = np.log(s / beta) - (s + 1) * np.log1p(lived / beta) - (power[:, None] - 1) * place
    with np.errstate(divide="ignore"):
        parts = heights + np.log(_WEIGHTS) + np.log(half)[:, None]
    return here, _log_sums(parts), (parts, place)


def _log_sums(parts: Floats) -> Floats:
    """Return the logarithm of each row's sum of exponentials, ``[N]``: three times as fast as scipy's general one."""
    highest = parts.max(axis=1)
    base = np.where(np.isfinite(highest), highest, 0.0)
    with np.errstate(divide="ignore"):
        return base + np.log(np.exp(parts - base[:, None]).sum(axis=1))


class _Likelihood:
    """Log-likelihood of grouped histories and its derivatives."""

    def __init__(self, histories: Histories) -> None:
        self._histories = histories
        self._x, self._of = np.unique(histories.frequency, return_inverse=True)

    def __call__(self, parameters: Floats) -> tuple[float, Floats]:
        r, alpha, s, beta = parameters
        rows, x, of = self._histories, self._x, self._of
        here, gone, (parts, place) = _log_terms(parameters, rows)
        both = np.logaddexp(here, gone)
        gain = rows.total((gammaln(r + x) - gammaln(r) + r * np.log(alpha))[of] + both)
        stays = np.exp(here - both)
        share = np.exp(parts - both[:, None])  # of the whole, [N, points]
        age, power = rows.age_weeks, r + rows.frequency
        then = np.exp(place)  # alpha + y
        lived = np.maximum(then - alpha, 0.0)
        by_r = (digamma(r + x) - digamma(r) + np.log(alpha))[of]
        by_r = by_r - stays * np.log(alpha + age) - (share * place).sum(axis=1)
        by_alpha = r / alpha - power * (stays / (alpha + age) + (share / then).sum(axis=1))
        by_s = -stays * np.log1p(age / beta) + (share * (1 / s - np.log1p(lived / beta))).sum(axis=1)
        fell = age * s / (beta * (beta + age))
        by_beta = stays * fell + (share * ((s + 1) * lived / (beta * (beta + lived)) - 1 / beta)).sum(axis=1)
        return gain, np.array([rows.total(slope) for slope in (by_r, by_alpha, by_s, by_beta)])
