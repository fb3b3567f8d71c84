"""What a campaign earned, and how much of that may be called its doing.

causal      customers were held out at random: what the others spent more, with what both spent before taken off
assumed     by difference in differences or synthetic control: causal if the groups would have changed alike
not_causal  what was bought with its coupons or after its clicks: part of it would have been bought anyway

return on spend = revenue it brought x margin / cost
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from features.errors import ConfigError, DataError
from features.insight.campaigns.differences import DifferenceInDifferences
from features.insight.campaigns.outcomes import Panel
from features.insight.experiments.estimates import effect
from features.insight.experiments.samples import Sample, adjusted_means

Claim = Literal["causal", "assumed", "not_causal"]


@dataclass(frozen=True, kw_only=True)
class CampaignReturn:
    """Money that a campaign brought.

    Args:
        claim: see the module.
        num_customers: treated.
        revenue, low, high: minor units in the campaign's days, of all treated together; no interval where nothing is
            claimed.
        lift, lift_low, lift_high: over what would have been.
        cost: minor units; ``nan`` where unknown.
        margin: share of revenue that stays when goods are paid for.
        p: two-sided, of no effect.
    """

    claim: Claim
    num_customers: int
    revenue: float
    low: float
    high: float
    lift: float
    lift_low: float
    lift_high: float
    cost: float
    margin: float = 1.0
    p: float = math.nan

    def __post_init__(self) -> None:
        if self.cost < 0:
            raise ConfigError(f"cost: expected minor units of 0 or more, found {self.cost!r}.")
        if not 0 < self.margin <= 1:
            raise ConfigError(f"margin: expected a share above 0 up to 1, found {self.margin!r}.")

    @property
    def on_spend(self) -> tuple[float, float, float]:
        """Revenue times margin over cost, with its interval; missing where the cost is 0 or unknown."""
        if not self.cost > 0:
            return math.nan, math.nan, math.nan
        value, low, high = (self.margin * money / self.cost for money in (self.revenue, self.low, self.high))
        return value, low, high


def holdout_return(
    panel: Panel, treated: npt.ArrayLike, *, cost: float = math.nan, margin: float = 1.0, level: float = 0.95
) -> CampaignReturn:
    """Return what a campaign brought by those who were held out at random.

    The difference of the arms' mean revenue in the campaign's days (the panel's last period), with revenue before it
    taken off (CUPED); Welch's interval, the lift's by the delta method.

    Args:
        panel: revenue of treated and held-out customers, blocks before and the campaign.
        treated: the others were held out, ``[U]``.
        cost: of the campaign, minor units.
        margin: see ``CampaignReturn``.
        level: of the interval.

    Raises:
        DataError: an arm has fewer than two customers.
    """
    group = np.asarray(treated, bool)
    for name, arm in (("treated", group), ("held-out", ~group)):
        if arm.sum() < 2:
            raise DataError(
                f"return: expected at least two {name} customers, found {int(arm.sum())}; without a control group ask "
                "for a difference in differences."
            )
    days = float(panel.days[-1])
    sample = Sample(
        arm=group.astype(np.int64),
        num_arms=2,
        value=panel.rates[:, -1] * days,
        before=panel.mean_of(slice(0, -1)) * days,
    )
    held, tried = adjusted_means(sample).means
    found = effect(tried, held, level=level)
    number = int(group.sum())
    return CampaignReturn(
        claim="causal", num_customers=number, revenue=found.difference * number, low=found.low * number,
        high=found.high * number, lift=found.lift, lift_low=found.lift_low, lift_high=found.lift_high, cost=cost,
        margin=margin, p=found.p,
    )  # fmt: skip


def differences_return(
    found: DifferenceInDifferences, *, num_days: int, cost: float = math.nan, margin: float = 1.0
) -> CampaignReturn:
    """Return what a campaign brought by the change of others, over its days."""
    revenue, low, high = found.total(num_days)
    return CampaignReturn(
        claim="assumed", num_customers=found.num_treated, revenue=revenue, low=low, high=high, lift=found.lift,
        lift_low=found.lift_low, lift_high=found.lift_high, cost=cost, margin=margin, p=found.p,
    )  # fmt: skip


def attributed_return(
    revenue: float, *, num_customers: int, cost: float = math.nan, margin: float = 1.0
) -> CampaignReturn:
    """Return what was bought with a campaign's coupons or after its clicks: no effect, so no interval."""
    nothing = math.nan
    return CampaignReturn(
        claim="not_causal", num_customers=num_customers, revenue=revenue, low=nothing, high=nothing, lift=nothing,
        lift_low=nothing, lift_high=nothing, cost=cost, margin=margin,
    )  # fmt: skip
