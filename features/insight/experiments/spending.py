"""Bounds for looks at a test before its end: so much of the error is spent at each look.

The statistic at information t, ``S = Z sqrt(t)``, moves as Brownian motion. Its density among the tests that went on is
carried from look to look by numerical integration.

Sources: Armitage, McPherson, Rowe 1969, "Repeated significance tests on accumulating data"; Lan, DeMets 1983, "Discrete
sequential boundaries for clinical trials"; Jennison, Turnbull 2000, "Group sequential methods", chapter 19.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

Spending = Literal["obrien_fleming", "pocock"]
Floats = npt.NDArray[np.float64]

_POINTS: Final = 160  # of Gauss and Legendre, between the bounds of one look
_FAR: Final = 37.0  # standard deviations: beyond, a tail is no number above 0
_LEAST: Final = 1e-299
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(_POINTS)


def spent(fractions: Sequence[float], *, alpha: float, spending: Spending) -> Floats:
    """Return how much of the two-sided error ``alpha`` may be spent up to each fraction of the information.

        obrien_fleming    4 (1 - Phi(z_{alpha / 4} / sqrt(t)))     hardly any early, nearly all at the end
        pocock            alpha ln(1 + (e - 1) t)                  about as much at each look

    Each side of the test spends half of it.

    Args:
        fractions: t in (0, 1].
        alpha: of the whole test.
        spending: the function, of Lan and DeMets.
    """
    t = np.asarray(fractions, np.float64)
    if spending == "obrien_fleming":
        return 4 * ndtr(ndtri(alpha / 4) / np.sqrt(t))
    return alpha * np.log1p((np.e - 1) * t)


@lru_cache(maxsize=64)
def bounds(fractions: tuple[float, ...], *, alpha: float, spending: Spending) -> tuple[float, ...]:
    """Return the bound of abs(Z) at each look, so that a test without effect crosses one with probability ``alpha``.

    >>> [round(bound, 3) for bound in bounds((0.2, 0.4, 0.6, 0.8, 1.0), alpha=0.05, spending="obrien_fleming")]
    [4.877, 3.357, 2.68, 2.29, 2.031]

    Args:
        fractions: rising, of the planned information (users), the last at most 1.
        alpha: two-sided error of the whole test.
        spending: see ``spent``.
    """
    due = np.diff(spent(fractions, alpha=alpha, spending=spending), prepend=0.0)
    found: list[float] = []
    walk = Walk()
    for fraction, share in zip(fractions, due, strict=True):
        found.append(_bound(walk, fraction, share))
        walk = walk.within(fraction, found[-1])
    return tuple(found)


def crossing(fractions: Sequence[float], limits: Sequence[float], *, drift: float = 0.0) -> Floats:
    """Return the probability that abs(Z) first crosses its bound at each look.

    Args:
        fractions: rising, of the planned information.
        limits: the bounds.
        drift: the mean of Z at the whole information: effect over its standard error there.
    """
    walk, found = Walk(drift=drift), []
    for fraction, limit in zip(fractions, limits, strict=True):
        found.append(walk.outside(fraction, limit))
        walk = walk.within(fraction, limit)
    return np.array(found)


@dataclass(frozen=True, kw_only=True, eq=False)
class Walk:
    """Tests that have not crossed a bound so far.

    Args:
        drift: the mean of S at the whole information.
        fraction: of the information at the last look; 0 before the first.
        points, masses: where S stands, and how probable that is, with no crossing before; ``[P]``.
    """

    drift: float = 0.0
    fraction: float = 0.0
    points: Floats = field(default_factory=lambda: np.zeros(1))
    masses: Floats = field(default_factory=lambda: np.ones(1))

    def outside(self, fraction: float, limit: float) -> float:
        """Return the probability that abs(Z) is at ``limit`` or beyond at the look at ``fraction``."""
        edge, (means, sd) = limit * np.sqrt(fraction), self._ahead(fraction)
        return float(self.masses @ (ndtr((-edge - means) / sd) + ndtr((means - edge) / sd)))

    def within(self, fraction: float, limit: float) -> Walk:
        """Return those that stay within ``limit`` at that look, as they stand there."""
        means, sd = self._ahead(fraction)
        reach = min(limit * np.sqrt(fraction), float(np.abs(means).max()) + _FAR * sd)
        points = _NODES * reach
        density = np.exp(-0.5 * ((points[:, None] - means) / sd) ** 2) @ self.masses / (sd * np.sqrt(2 * np.pi))
        return Walk(drift=self.drift, fraction=fraction, points=points, masses=density * _WEIGHTS * reach)

    def _ahead(self, fraction: float) -> tuple[Floats, float]:
        """Return the means and the standard deviation of S at the next look, given where it stands."""
        step = fraction - self.fraction
        return self.points + self.drift * step, float(np.sqrt(step))


def _bound(walk: Walk, fraction: float, share: float) -> float:
    """Return the bound that a share of all tests crosses at this look."""

    def excess(limit: float) -> float:
        return float(np.log(max(walk.outside(fraction, limit), _LEAST)) - np.log(max(share, _LEAST)))

    return float(brentq(excess, 0.0, _FAR, xtol=1e-9))
