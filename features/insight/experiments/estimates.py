"""The difference of two arms' means, absolute and relative, with its interval.

Sources: Welch 1947, "The generalization of Student's problem when several different population variances are involved";
Deng, Knoblich, Lu 2018, "Applying the delta method in metric analytics".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from scipy import special

NOTHING: Final = math.nan


@dataclass(frozen=True, kw_only=True)
class ArmMean:
    """The mean of an arm, or its ratio of two means.

    Args:
        num_users: users in the arm.
        value: the mean.
        variance: its squared standard error, without ``shared``.
        shared: squared standard error of what it has in common with all arms, and what no difference holds; 0 but
            for an adjusted mean.
        slopes: degrees of freedom that fitted slopes took of the arm's; 0 but for an adjusted mean.
    """

    num_users: int
    value: float
    variance: float
    shared: float = 0.0
    slopes: float = 0.0

    @property
    def dof(self) -> float:
        """Degrees of freedom of the variance."""
        return self.num_users - 1 - self.slopes

    def interval(self, level: float) -> tuple[float, float]:
        """Return the interval of the mean itself, by Student's t."""
        reach = quantile(level, self.dof) * math.sqrt(self.variance + self.shared)
        return self.value - reach, self.value + reach


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One arm less the control.

    Args:
        difference, se, low, high: in the metric's unit.
        dof: Welch's degrees of freedom.
        p: two-sided, of no difference; the interval at level ``1 - p`` just touches 0.
        lift, lift_se, lift_low, lift_high: difference over the control's mean, by the delta method; NaN where that is not
            above 0.
    """

    difference: float
    se: float
    low: float
    high: float
    dof: float
    p: float
    lift: float
    lift_se: float
    lift_low: float
    lift_high: float

    def reaching(self, reach: float) -> Effect:
        """Return the effect with intervals of so many standard errors to each side."""
        half, lift_half = reach * self.se, reach * self.lift_se
        return replace(
            self,
            low=self.difference - half,
            high=self.difference + half,
            lift_low=self.lift - lift_half,
            lift_high=self.lift + lift_half,
        )


def effect(arm: ArmMean, control: ArmMean, *, level: float = 0.95) -> Effect:
    """Return the difference of two independent arms.

        difference = m_t - m_c,         variance v_t + v_c
        lift       = m_t / m_c - 1,     variance (v_t + (1 + lift)^2 v_c + lift^2 v_shared) / m_c^2

    Args:
        arm: m_t, v_t.
        control: m_c, v_c.
        level: of the two-sided intervals; both use Student's t with Welch's degrees of freedom.

    Returns:
        The effect; where nobody differs from anybody in either arm, or an arm is too small to tell, its intervals and p
        are NaN.
    """
    difference, variance = arm.value - control.value, arm.variance + control.variance
    se = math.sqrt(variance) if variance > 0 else NOTHING
    lift, lift_se = _lift(arm, control)
    dof = p = NOTHING
    if variance > 0:
        dof = variance**2 / sum(mean.variance**2 / mean.dof for mean in (arm, control))
        p = min(1.0, 2 * float(special.stdtr(dof, -abs(difference) / se)))
    found = Effect(
        difference=difference, se=se, dof=dof, p=p, lift=lift, lift_se=lift_se,
        low=NOTHING, high=NOTHING, lift_low=NOTHING, lift_high=NOTHING,
    )  # fmt: skip
    return found.reaching(quantile(level, dof)) if variance > 0 else found


def quantile(level: float, dof: float) -> float:
    """Return how many standard errors a two-sided interval of this level reaches.

    >>> round(quantile(0.95, 1e9), 4), round(quantile(0.95, 10), 4)
    (1.96, 2.2281)
    """
    return reach_of_tail((1 - level) / 2, dof)


def reach_of_tail(tail: float, dof: float) -> float:
    """Return the point above which Student's t lies with probability ``tail``; tails may be as small as a first look's."""
    found = -float(special.stdtrit(dof, tail))
    return found if math.isfinite(found) else -float(special.ndtri(tail))


def _lift(arm: ArmMean, control: ArmMean) -> tuple[float, float]:
    """Return the lift and its standard error."""
    if not control.value > 0:
        return NOTHING, NOTHING
    lift = arm.value / control.value - 1
    variance = arm.variance + (1 + lift) ** 2 * control.variance + lift**2 * control.shared
    return lift, math.sqrt(variance) / control.value if variance > 0 else NOTHING
