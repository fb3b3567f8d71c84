"""How many users a test needs, how small an effect it can tell, and how many days that takes.

Users of both arms are taken to differ among themselves as they did before the test.

Source: van Belle 2008, "Statistical rules of thumb", chapter 2 (two samples, normal approximation).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from features.errors import ConfigError
from features.insight.experiments.looks import Kind, Looks
from features.insight.experiments.participants import Participants
from features.insight.experiments.results import capped, methods_of
from features.insight.experiments.samples import Sample, adjusted_means, plain_means

_RECENT_DAYS: Final = 7


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What is known of a metric before a test.

    Args:
        mean: per user, or the ratio.
        sd: of one user, or of its part in the ratio (linear in the user).
        correlation: with the same metric before, where the test will be adjusted for it (CUPED).
    """

    mean: float
    sd: float
    correlation: float = 0.0

    def __post_init__(self) -> None:
        if not (self.mean > 0 and self.sd > 0 and -1 < self.correlation < 1):
            raise ConfigError(
                "baseline: expected a mean and a standard deviation above 0 and a correlation between -1 and 1, "
                f"found {self.mean!r}, {self.sd!r}, {self.correlation!r}."
            )

    @classmethod
    def of_share(cls, share: float) -> Baseline:
        """Return the baseline of a conversion.

        >>> round(Baseline.of_share(0.1).sd, 3)
        0.3
        """
        return cls(mean=share, sd=math.sqrt(share * (1 - share)))

    @classmethod
    def of_sample(cls, sample: Sample) -> Baseline:
        """Return what the users of a sample tell, arms put together; adjusted where they have a past."""
        together = replace(sample, arm=np.zeros(len(sample.arm), np.int64), num_arms=1)
        mean = plain_means(together)[0]
        correlation = 0.0 if sample.before is None else adjusted_means(together).correlation
        return cls(mean=mean.value, sd=math.sqrt(mean.variance * mean.num_users), correlation=correlation)

    @property
    def noise(self) -> float:
        """Standard deviation of one user that is left once the past is taken off."""
        return self.sd * math.sqrt(1 - self.correlation**2)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a test is asked for.

    Args:
        alpha: two-sided error.
        power: chance of finding an effect that is there.
        share: of the users in the arm that is tried, against the control; the rest are in the control.
        looks: number of looks, if it may stop early.
        spending: see ``Looks``.
    """

    alpha: float = 0.05
    power: float = 0.8
    share: float = 0.5
    looks: int = 1
    spending: Kind = "obrien_fleming"

    def __post_init__(self) -> None:
        for name in ("alpha", "power", "share"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"plan: expected {name} between 0 and 1, found {getattr(self, name)!r}.")

    @property
    def drift(self) -> float:
        """Effect over its standard error at which one look has the power.

        >>> round(Plan().drift, 3)
        2.802
        """
        return float(ndtri(self.power) - ndtri(self.alpha / 2))

    @property
    def inflation(self) -> float:
        """How many times the users of one look the schedule needs."""
        if self.looks == 1:
            return 1.0
        schedule = Looks(number=self.looks, users=4 * self.looks, spending=self.spending, alpha=self.alpha)
        return schedule.inflation(power=self.power)


def users_needed(baseline: Baseline, lift: float, plan: Plan = Plan()) -> int:
    """Return how many users, both arms together, a lift needs to be found.

        n = drift^2 noise^2 / (share (1 - share) (lift mean)^2)        times the price of the looks

    >>> users_needed(Baseline.of_share(0.1), 0.1)
    28256

    Args:
        baseline: of the metric.
        lift: the least relative effect that matters, such as 0.05; of either sign.
        plan: of the test.

    Raises:
        ConfigError: the lift is 0.
    """
    if lift == 0:
        raise ConfigError("lift: expected the least effect that matters, such as 0.05, found 0: no test finds that.")
    per_user = baseline.noise**2 / (plan.share * (1 - plan.share))
    return math.ceil((plan.drift / (lift * baseline.mean)) ** 2 * per_user * plan.inflation)


def least_lift(baseline: Baseline, users: int, plan: Plan = Plan()) -> float:
    """Return the least relative effect that so many users find with the plan's power.

    >>> round(least_lift(Baseline.of_share(0.1), 28256), 4)
    0.1
    """
    per_user = baseline.noise**2 / (plan.share * (1 - plan.share))
    return plan.drift * math.sqrt(per_user * plan.inflation / users) / baseline.mean


def power_of(baseline: Baseline, lift: float, users: int, plan: Plan = Plan()) -> float:
    """Return the chance that so many users find an effect.

    >>> round(power_of(Baseline.of_share(0.1), 0.1, 28256), 3)
    0.8
    """
    se = baseline.noise / math.sqrt(users * plan.share * (1 - plan.share))
    drift = abs(lift) * baseline.mean / se
    if plan.looks == 1:
        edge = -float(ndtri(plan.alpha / 2))
        return float(ndtr(drift - edge) + ndtr(-drift - edge))
    schedule = Looks(number=plan.looks, users=max(users, 4 * plan.looks), spending=plan.spending, alpha=plan.alpha)
    return float(schedule.power(drift)[-1])


def days_needed(users: int, newcomers: Sequence[float], *, share: float = 1.0, window_days: float = 0.0) -> int | None:
    """Return how many days it takes until so many users have come and their window has ended.

    Customers come back, so each day brings fewer who were not there before: the traffic is read as it was, and beyond it
    goes on as in the mean of its last seven days.

        newcomers 500, 300, 200     700 users: 500 + 300 >= 700 after 2 days

    Args:
        users: needed.
        newcomers: customers by day who came for the first time since the first of these days (``traffic``).
        share: of them that takes part in the test.
        window_days: of the metric.

    Returns:
        Days; nothing where the traffic has dried up before.
    """
    came = np.cumsum(np.asarray(newcomers, np.float64)) * share
    enough = np.flatnonzero(came >= users)
    if len(enough):
        return math.ceil(int(enough[0]) + 1 + window_days)
    rate = float(np.mean(np.asarray(newcomers, np.float64)[-_RECENT_DAYS:])) * share if len(newcomers) else 0.0
    if rate <= 0:
        return None
    return math.ceil(len(newcomers) + math.ceil((users - float(came[-1])) / rate) + window_days)


_PLAN_COLUMNS: Final = ("metric", "mean", "sd", "correlation", "least_lift", "lift", "users_needed", "days_needed")


def plan_table(
    participants: Participants,
    lifts: Sequence[float] = (0.01, 0.02, 0.05, 0.1),
    *,
    plan: Plan = Plan(),
    newcomers: Sequence[float] = (),
    share: float = 1.0,
) -> pd.DataFrame:
    """Return what a next test like this one needs, by metric and lift.

    Args:
        participants: of a test, or of users that were never treated differently: they tell mean, spread, correlation.
        lifts: relative effects.
        plan: of the next test.
        newcomers, share: see ``days_needed``; no days without them.

    Returns:
        metric, mean, sd, correlation, least_lift (that as many users as now find), lift, users_needed, days_needed.
    """
    rows: list[dict[str, Any]] = []
    for metric in participants.definition.metrics:
        sample = capped(participants.sample(metric), metric)
        if len(methods_of(metric)) == 1:
            sample = replace(sample, before=None)
        try:
            base = Baseline.of_sample(sample)
        except ConfigError:  # nothing happened, or to all alike: there is nothing to plan by
            continue
        known = {"metric": metric.name, "mean": base.mean, "sd": base.sd, "correlation": base.correlation}
        known["least_lift"] = least_lift(base, len(sample.arm), plan)
        for lift in lifts:
            needed = users_needed(base, lift, plan)
            days = days_needed(needed, newcomers, share=share, window_days=metric.window_days or 0)
            rows.append(known | {"lift": lift, "users_needed": needed, "days_needed": days})
    return pd.DataFrame(rows, columns=list(_PLAN_COLUMNS)).astype({"days_needed": "Int64"})
