"""Difference in differences: the change of those whom a campaign reached, less the change of those whom it did not.

    effect = (treated during - treated before) - (control during - control before)

It is the campaign's effect if both groups would have changed alike without it. That cannot be seen; what can is whether
they changed alike before it (the check of the trend), and that is told beside the effect.

Source: Angrist, Pischke 2009, "Mostly harmless econometrics", chapter 5; Roth 2022, "Pretest with caution" (a check that
finds nothing may simply be weak: so the trend that it would miss is told too).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from features.insight.campaigns.contrasts import Contrast, check_groups, cluster_sums, contrast, influence
from features.insight.campaigns.outcomes import Bools, Floats, Panel
from features.insight.experiments.estimates import quantile


@dataclass(frozen=True, kw_only=True)
class TrendCheck:
    """Whether both groups went alike before the campaign.

    Args:
        num_blocks: pieces of the time before that it rests on; nothing can be told from one.
        slope, low, high: how much faster the treated grew: outcome a day, each day.
        p: of equal slopes.
        p_any: of no difference in any block (Hotelling's T-squared).
        bias: what the effect would be by that slope alone, if it went on.
        bias_missed: the same of the steepest slope that the interval still holds.
    """

    num_blocks: int
    slope: float
    low: float
    high: float
    p: float
    p_any: float
    bias: float
    bias_missed: float

    @property
    def is_alike(self) -> bool | None:
        """Whether neither test finds a difference at 5%; nothing where there is one block only."""
        return None if math.isnan(self.p) else self.p >= 0.05 and not self.p_any < 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class DifferenceInDifferences:
    """A campaign's effect on those it reached, by the others' change.

    Args:
        num_treated, num_control: units.
        treated_before, treated_during, control_before, control_during: outcome a unit and day.
        effect, low, high, se, dof, p: outcome a unit and day; the interval by Student's t, clustered.
        lift, lift_low, lift_high: effect over what would have been without it (delta method).
        trend: the check.
        by_period: period (0 the first block), first_day, last_day, during, difference (of the groups, less that
            over all blocks before), low, high.
    """

    num_treated: int
    num_control: int
    treated_before: float
    treated_during: float
    control_before: float
    control_during: float
    effect: float
    low: float
    high: float
    se: float
    dof: float
    p: float
    lift: float
    lift_low: float
    lift_high: float
    trend: TrendCheck
    by_period: pd.DataFrame

    def total(self, num_days: int) -> tuple[float, float, float]:
        """Return the effect on all treated units over some days, with its interval."""
        times = self.num_treated * num_days
        return self.effect * times, self.low * times, self.high * times


def difference_in_differences(
    panel: Panel, treated: npt.ArrayLike, *, cluster: npt.ArrayLike | None = None, level: float = 0.95
) -> DifferenceInDifferences:
    """Return the effect of a campaign whose days are the panel's last period.

    Args:
        panel: blocks before, then the campaign (``Windows.periods``).
        treated: which units the campaign reached, ``[U]``.
        cluster: what units share, such as their store, ``[U]``: those of a cluster may move together. Each unit is
            its own where left out.
        level: of the intervals.

    Raises:
        DataError: a group is empty, or has fewer than two units (clusters).
    """
    group = np.asarray(treated, bool)
    check_groups(group, cluster)
    before, during = panel.mean_of(slice(0, -1)), panel.rates[:, -1]
    found = contrast(during - before, group, cluster)
    low, high = found.interval(level)
    lift, lift_low, lift_high = _lift(before, during, group, cluster, level=level)
    return DifferenceInDifferences(
        num_treated=int(group.sum()),
        num_control=int((~group).sum()),
        treated_before=float(before[group].mean()),
        treated_during=float(during[group].mean()),
        control_before=float(before[~group].mean()),
        control_during=float(during[~group].mean()),
        effect=found.value, low=low, high=high, se=found.se, dof=found.dof, p=found.p,
        lift=lift, lift_low=lift_low, lift_high=lift_high,
        trend=trend_check(panel, group, cluster=cluster, level=level),
        by_period=_by_period(panel, before, group, cluster, level=level),
    )  # fmt: skip


def trend_check(
    panel: Panel, treated: Bools, *, cluster: npt.ArrayLike | None = None, level: float = 0.95
) -> TrendCheck:
    """Return whether the groups went alike in the blocks before the campaign.

    Each unit's slope is fitted by least squares on the middles of the blocks; the groups' mean slopes are compared.
    """
    rates, middle = panel.rates[:, :-1], _middles(panel)
    if rates.shape[1] < 2:
        nothing = math.nan
        return TrendCheck(
            num_blocks=1, slope=nothing, low=nothing, high=nothing, p=nothing, p_any=nothing,
            bias=nothing, bias_missed=nothing,
        )  # fmt: skip
    past = middle[:-1] - middle[:-1].mean()
    found = contrast(rates @ past / (past @ past), treated, cluster)
    low, high = found.interval(level)
    ahead = float(middle[-1] - middle[:-1].mean())
    steepest = abs(found.value) + quantile(level, found.dof) * found.se
    return TrendCheck(
        num_blocks=rates.shape[1], slope=found.value, low=low, high=high, p=found.p,
        p_any=_any_difference(rates, treated, cluster, dof=found.dof), bias=found.value * ahead,
        bias_missed=steepest * ahead,
    )  # fmt: skip


def _any_difference(rates: Floats, treated: Bools, cluster: npt.ArrayLike | None, *, dof: float) -> float:
    """Return p of equal changes from block to block, ``nan`` where clusters are too few to tell."""
    steps = np.diff(rates, axis=1)
    sums = cluster_sums(influence(steps, treated), cluster)
    number, size = len(sums), steps.shape[1]
    if number <= size + 2:
        return math.nan
    difference = steps[treated].mean(axis=0) - steps[~treated].mean(axis=0)
    covariance = sums.T @ sums * number / (number - 1)
    if np.linalg.matrix_rank(covariance) < size:
        return math.nan
    squared, free = float(difference @ np.linalg.solve(covariance, difference)), min(dof, number - 2)
    if free <= size:
        return math.nan
    return float(stats.f.sf(squared * (free - size + 1) / (free * size), size, free - size + 1))


def _lift(
    before: Floats, during: Floats, treated: Bools, cluster: npt.ArrayLike | None, *, level: float
) -> tuple[float, float, float]:
    change = during - before
    without = float(before[treated].mean() + change[~treated].mean())
    if not without > 0:
        return math.nan, math.nan, math.nan
    ratio = float(during[treated].mean()) / without
    # Its mean difference is 0 at this ratio, so that its standard error is the ratio's.
    parts = np.where(treated, during - ratio * before, ratio * change) / without
    found = contrast(parts, treated, cluster)
    low, high = Contrast(value=ratio - 1, se=found.se, dof=found.dof).interval(level)
    return ratio - 1, low, high


def _by_period(
    panel: Panel, before: Floats, treated: Bools, cluster: npt.ArrayLike | None, *, level: float
) -> pd.DataFrame:
    rows = []
    for number, period in enumerate(panel.periods):
        found = contrast(panel.rates[:, number] - before, treated, cluster)
        low, high = found.interval(level)
        rows.append(
            {
                "period": number,
                "first_day": period.first_day,
                "last_day": period.last_day,
                "during": number == len(panel.periods) - 1,
                "difference": found.value,
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(rows)


def _middles(panel: Panel) -> Floats:
    """Return the middle day of each period, counted from the first, ``[P]``."""
    start = panel.periods[0].first_day
    return np.array([(period.first_day - start).days + (period.num_days - 1) / 2 for period in panel.periods])
