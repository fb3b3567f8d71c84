"""Whether users were dealt to the arms as they should have been: if not, nothing else can be trusted.

Source: Fabijan et al. 2019, "Diagnosing sample ratio mismatch in online controlled experiments".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from features.insight.experiments.participants import Participants

ALARM_P: Final = 0.001
CROSSED_ALARM: Final = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class Balance:
    """The arms' sizes beside those that were meant.

    Args:
        table: arm, num_users, share, expected_share, expected_users.
        p: of Pearson's chi-square: how often chance alone would be so far off.
        share_crossed: users found in several arms, of all.
    """

    table: pd.DataFrame
    p: float
    share_crossed: float

    @property
    def sample_ratio_alarm(self) -> bool:
        """Whether p is below 0.001: something but chance decides who is counted in which arm."""
        return self.p < ALARM_P

    @property
    def crossed_alarm(self) -> bool:
        """Whether more than 1 user in 100 was found in several arms."""
        return self.share_crossed > CROSSED_ALARM


def sample_ratio_p(counts: np.typing.ArrayLike, shares: np.typing.ArrayLike) -> float:
    """Return the p-value of the arms' sizes, by Pearson's chi-square.

    >>> round(sample_ratio_p([5000, 5300], [0.5, 0.5]), 5)
    0.00312

    Args:
        counts: users of each arm.
        shares: what each was meant to get; of any sum.
    """
    number, share = np.asarray(counts, np.float64), np.asarray(shares, np.float64)
    expected = number.sum() * share / share.sum()
    return float(chdtrc(len(number) - 1, np.sum(np.square(number - expected) / expected)))


def balance(participants: Participants) -> Balance:
    """Return the sizes of a test's arms beside the weights of its definition; equal shares where it has none."""
    weights = participants.definition.weights
    counts = participants.counts
    shares = np.array([weights.get(arm, 1.0) for arm in participants.arms])
    shares = shares / shares.sum()
    table = pd.DataFrame(
        {
            "arm": participants.arms,
            "num_users": counts,
            "share": counts / counts.sum(),
            "expected_share": shares,
            "expected_users": shares * counts.sum(),
        }
    )
    every = counts.sum() + participants.num_crossed
    return Balance(table=table, p=sample_ratio_p(counts, shares), share_crossed=float(participants.num_crossed / every))
