"""The chance that a buyer buys nothing in the days to come, learned from an earlier day of the same log.

    as of 90 days ago: facts of each buyer  ->  who bought nothing since  ->  logistic regression
    as of today:       the same facts       ->  churn_risk

No fact looks past its own day. Where too few bought nothing, or too few anything, a fitted model of repeat purchase says
it instead.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

import numpy as np

from features.chances.logistic import QuadraticLogit, chance_of
from features.customers.value.bg_nbd import BgNbd
from features.customers.value.histories import DAYS_A_WEEK, Floats, Histories

FACTS: Final = ("silence", "frequency", "age", "month", "trend", "cycles", "model")
_LEAST: Final = 1e-6  # a chance nearer to 0 or 1 has no logit worth having

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class MeanBuyer:
    """What frequency and age are relative to: the means of their logarithms over a day's buyers."""

    frequency: float = 0.0
    age: float = 0.0

    @classmethod
    def of(cls, histories: Histories) -> MeanBuyer:
        """Return the mean of some buyers."""
        if not len(histories):
            return cls()
        return cls(
            frequency=float(np.log1p(histories.frequency).mean()), age=float(np.log1p(histories.age_weeks).mean())
        )


def churn_facts(
    histories: Histories, *, month_days: Floats, trend_days: Floats, silent: Floats, mean: MeanBuyer
) -> Floats:
    """Return what churn goes by, ``[N, 7]``, as ``FACTS``.

    Frequency and age are relative to that day's mean buyer. Everyone grows older from the day that teaches to the day
    that is asked about; without this, the risk of all would follow a trend that was learned of some.

    Args:
        histories: as of the day.
        month_days: days with a purchase of the last 30, ``[N]``.
        trend_days: of the last window of the trend, ``[N]``.
        silent: a model's chance of no purchase in the days to come, ``[N]``.
        mean: the mean buyer of that day.
    """
    silence = histories.age_weeks - histories.recency_weeks
    gap = (histories.age_weeks + 1 / DAYS_A_WEEK) / (histories.frequency + 1)  # weeks between purchases, at most
    chance = np.clip(silent, _LEAST, 1 - _LEAST)
    return np.column_stack(
        [
            np.log1p(silence * DAYS_A_WEEK),
            np.log1p(histories.frequency) - mean.frequency,
            np.log1p(histories.age_weeks) - mean.age,
            np.log1p(month_days),
            np.log1p(trend_days),
            np.log1p(silence / gap),
            np.log(chance / (1 - chance)),
        ]
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class ChurnRisk:
    """A fitted risk.

    Args:
        logit: of no purchase in ``days``, given facts; ``None`` where outcomes were too few.
        days: that it looks ahead.
        num_lost: buyers without a purchase in the window that it was learned from.
        num_buyers: all of them.
    """

    logit: QuadraticLogit | None
    days: float
    num_lost: int
    num_buyers: int

    @classmethod
    def fit(cls, facts: Floats, came: Floats, *, days: float) -> ChurnRisk:
        """Return the risk that an earlier day teaches.

        Args:
            facts: as of that day, ``[N, 7]``.
            came: days with a purchase in the ``days`` after it, ``[N]``.
            days: length of the window.
        """
        lost = came == 0
        logit = QuadraticLogit.fit(FACTS, facts, lost)
        if logit is None:
            logger.info(
                "churn risk: %d of %d lost, too few to learn from; a model's chance stands in", lost.sum(), len(lost)
            )
        return cls(logit=logit, days=days, num_lost=int(lost.sum()), num_buyers=len(lost))

    def of(self, facts: Floats) -> Floats:
        """Return the chance of no purchase, ``[N]``, 0 to 1."""
        if self.logit is None:
            return np.asarray(chance_of(facts[:, FACTS.index("model")]), np.float64)
        return np.asarray(chance_of(self.logit.logit(facts)), np.float64)


def silent_chance(model: BgNbd, histories: Histories, *, days: float) -> Floats:
    """Return MBG/NBD's chance of no purchase in the coming ``days``, ``[N]``."""
    return model.silent(histories, days=days)
