"""A schedule of looks at a test, and intervals that hold at all of them together.

Sources: Lan, DeMets 1983 (see ``spending``); Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas 2024, "Time-uniform central limit
theory and asymptotic confidence sequences", after Robbins 1970 (a mixture of likelihood ratios: mSPRT).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from features.errors import ConfigError, did_you_mean
from features.insight.experiments.estimates import reach_of_tail
from features.insight.experiments.spending import Spending, bounds, crossing

Kind = Literal["obrien_fleming", "pocock", "always_valid"]
SPENDINGS: Final[tuple[Kind, ...]] = get_args(Kind)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Looks:
    """When a test is looked at, and how the error is shared among the looks.

    Args:
        number: K; looks come each time that another K-th of the planned users has ended its window.
        users: planned in all arms together.
        spending: ``obrien_fleming`` hardly costs power and rarely stops early, ``pocock`` stops earlier and costs more,
            ``always_valid`` holds at any instant, also at looks that nobody planned, and costs most.
        alpha: two-sided error of all looks together.
    """

    number: int
    users: int
    spending: Kind = "obrien_fleming"
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if not 1 <= self.number <= 200:
            raise ConfigError(f"looks: expected a number from 1 to 200, found {self.number!r}.")
        if self.users < 4 * self.number:
            raise ConfigError(
                f"looks: expected users of at least {4 * self.number} for {self.number} looks, found {self.users!r}; say "
                "how many users the test is planned for."
            )
        if self.spending not in SPENDINGS:
            hint = did_you_mean(str(self.spending), SPENDINGS)
            raise ConfigError(
                f"looks: expected spending to be one of {', '.join(SPENDINGS)}, found {self.spending!r}.{hint}"
            )
        if not 0 < self.alpha < 1:
            raise ConfigError(f"looks: expected alpha between 0 and 1, found {self.alpha!r}.")

    @property
    def fractions(self) -> tuple[float, ...]:
        """Share of the planned users at each look."""
        return tuple((look + 1) / self.number for look in range(self.number))

    @property
    def at_users(self) -> tuple[int, ...]:
        """Users at each look, all arms together."""
        return tuple(math.ceil(self.users * fraction) for fraction in self.fractions)

    def reached(self, users: int) -> int:
        """Return how many looks so many users allow."""
        return sum(needed <= users for needed in self.at_users)

    def limits(self) -> tuple[float, ...]:
        """Return the bound of abs(Z) at each look."""
        if self.spending == "always_valid":
            return tuple(always_valid_limit(at, planned=self.users, alpha=self.alpha) for at in self.at_users)
        spending: Spending = self.spending
        return bounds(self.fractions, alpha=self.alpha, spending=spending)

    def reach(self, look: int, dof: float) -> float:
        """Return how many standard errors the interval at a look reaches, 1 the first.

        The bound of a normal deviate, turned into that of Student's t with the same tail.
        """
        tail = float(ndtr(-self.limits()[look - 1]))
        return reach_of_tail(tail, dof)

    def power(self, drift: float) -> Floats:
        """Return the probability of having stopped at each look or before.

        Args:
            drift: the effect over its standard error at the planned users.
        """
        return np.cumsum(crossing(self.fractions, self.limits(), drift=drift))

    def inflation(self, *, power: float) -> float:
        """Return how many times the users of a test with one look this schedule needs for the same power.

        >>> round(Looks(number=5, users=1000, spending="pocock").inflation(power=0.8), 2)
        1.21
        """
        fixed = float(-ndtri(self.alpha / 2) + ndtri(power))
        needed = brentq(lambda drift: self.power(drift)[-1] - power, 0.5 * fixed, 5 * fixed, xtol=1e-6)
        return float((needed / fixed) ** 2)


def always_valid_limit(users: int, *, planned: int, alpha: float) -> float:
    """Return the bound of abs(Z) of a confidence sequence: all its intervals, at all numbers of users, hold together.

        limit(n)^2 = (1 + 1 / (n rho^2)) ln((1 + n rho^2) / alpha^2)

    ``rho`` makes the interval narrowest at the planned users: ``rho^2 = (-2 ln alpha + ln(-2 ln alpha) + 1) / planned``.

    >>> round(always_valid_limit(1000, planned=1000, alpha=0.05), 2)
    3.04

    Args:
        users: n, so far.
        planned: the users at which it is narrowest.
        alpha: error of all of them together.
    """
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha)) + 1) / planned
    scaled = users * rho2
    return math.sqrt((1 + 1 / scaled) * math.log((1 + scaled) / alpha**2))
