"""Every campaign of a log, each judged by the best comparison that there is.

    held out at random      treated against held out; what they spent before taken off           causal
    others not written to   difference in differences, with the check of the trend before        assumed
    everybody written to    before and after, with its warning                                   not_causal

Compared are customers who did anything before the campaign, whether written to or not; whom the campaign wrote to counts as
reached, also where the message came back (intention to treat). Other campaigns may write to either group in the same
days: how many of the reached they wrote to is told (``overlap``).
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd

from features import columns as c
from features.errors import ConfigError
from features.insight.campaigns.before_after import BeforeAfter, before_after
from features.insight.campaigns.definition import CampaignsDefinition
from features.insight.campaigns.differences import DifferenceInDifferences, difference_in_differences
from features.insight.campaigns.outcomes import Panel, outcomes
from features.insight.campaigns.returns import CampaignReturn, attributed_return, differences_return, holdout_return
from features.insight.campaigns.sends import audiences, campaigns_sent, first_days, known_campaign
from features.insight.campaigns.windows import Windows
from features.insight.collecting import collected
from features.insight.experiments.corrections import benjamini_hochberg
from features.insight.inputs import Period

LEAST_CUSTOMERS: Final = 2
_DEFAULT: Final = CampaignsDefinition()


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """A campaign and what is known of it.

    Args:
        campaign_id: its id.
        windows: the days compared.
        num_written: customers that it wrote to.
        result: what it brought, by the best comparison.
        change: before and after, of those it reached.
        differences: beside others; nothing where all were written to.
        overlap: share of the reached that other campaigns wrote to in its days.
        num_others: customers beside whom the treated were held; 0 where there is no comparison.
    """

    campaign_id: str
    windows: Windows
    num_written: int
    result: CampaignReturn
    change: BeforeAfter
    differences: DifferenceInDifferences | None
    overlap: float
    num_others: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Judgements:
    """All campaigns of a log.

    Args:
        campaigns: those that could be judged, by first day.
        left_out: campaign_id, first_day, customers, reason: ``not_over`` (its days are not), ``no_time_before`` or
            ``few_customers``.
    """

    campaigns: tuple[Judged, ...]
    left_out: pd.DataFrame


def judge_campaigns(
    events: object,
    definition: CampaignsDefinition = _DEFAULT,
    *,
    first_day: dt.date,
    last_day: dt.date,
    users: pd.DataFrame | None = None,
    costs: Mapping[str, float] | None = None,
) -> Judgements:
    """Judge the campaigns that wrote to customers.

    Args:
        events: rows of the event log, all days, of any engine.
        definition: how.
        first_day, last_day: of the log.
        users: user_id and the columns with arms, where campaigns held customers out.
        costs: campaign_id -> minor units, without what its coupons cost.

    Raises:
        UnknownId: the definition names a campaign that wrote to nobody.
    """
    sent = _sent(events, definition)
    written, known = collected(audiences(events)), collected(first_days(events))
    found: list[Judged] = []
    left_out: list[tuple[Any, ...]] = []
    for campaign_id, begins, customers in sent.itertuples(index=False):
        windows = windows_of(begins.date(), definition, first_day=first_day)
        people = _People(campaign_id=campaign_id, written=written, known=known, users=users, definition=definition)
        groups = None if windows is None else people.groups(windows)
        reason = _why_not(windows, groups, last_day)
        if reason:
            left_out.append((campaign_id, begins.date(), int(customers), reason))
            continue
        assert windows is not None
        assert groups is not None
        cost = (costs or {}).get(campaign_id, math.nan)
        known_since = windows.a_year_before[0].first_day >= first_day
        earlier = _panel(events, windows.a_year_before, groups, definition) if known_since else None
        found.append(
            _judged(events, people, windows, groups, num_written=int(customers), cost=cost, year_before=earlier)
        )
    columns = [c.CAMPAIGN_ID, "first_day", "customers", "reason"]
    return Judgements(campaigns=tuple(found), left_out=pd.DataFrame(left_out, columns=columns))


def windows_of(begins: dt.date, definition: CampaignsDefinition, *, first_day: dt.date) -> Windows | None:
    """Return a campaign's windows, the one before cut to whole blocks of the log; nothing where none fits."""
    blocks = min(definition.days_before, (begins - first_day).days) // definition.block_days
    if blocks < 1:
        return None
    return Windows.around(
        begins, days=definition.days, days_before=blocks * definition.block_days, block_days=definition.block_days
    )


def judged_table(judged: tuple[Judged, ...]) -> pd.DataFrame:
    """Return one row a campaign.

    Returns:
        campaign_id, first_day, last_day, written, compared (customers treated and in the comparison), others
        (customers beside them; 0 where nothing is compared), claim, p, q (p with
        false discoveries among the campaigns held down, Benjamini and Hochberg), lift, low, high, revenue, revenue_low,
        revenue_high, cost, on_spend, on_spend_low, on_spend_high, trend_alike, trend_p, trend_bias (a customer and
        day), change, change_low, change_high (before and after), overlap; what would have changed it anyway, each with _low
        and _high: others_change, year_before_change, trend_change, regression_change.
    """
    found = pd.DataFrame([_row(one) for one in judged])
    return found.assign(q=benjamini_hochberg(found["p"])) if len(found) else found


def _row(one: Judged) -> dict[str, Any]:
    result, trend = one.result, one.differences.trend if one.differences else None
    on_spend = dict(zip(("on_spend", "on_spend_low", "on_spend_high"), result.on_spend, strict=True))
    return {
        c.CAMPAIGN_ID: one.campaign_id,
        "first_day": one.windows.during.first_day,
        "last_day": one.windows.during.last_day,
        "written": one.num_written,
        "compared": result.num_customers,
        "others": one.num_others,
        "claim": result.claim,
        "p": result.p, "q": math.nan,
        "lift": result.lift, "low": result.lift_low, "high": result.lift_high,
        "revenue": result.revenue, "revenue_low": result.low, "revenue_high": result.high,
        "cost": result.cost, **on_spend,
        "trend_alike": trend.is_alike if trend and result.claim == "assumed" else None,
        "trend_p": trend.p if trend else math.nan,
        "trend_bias": trend.bias if trend else math.nan,
        "change": one.change.lift, "change_low": one.change.lift_low, "change_high": one.change.lift_high,
        "overlap": one.overlap,
        **_causes(one.change.causes),
    }  # fmt: skip


def _causes(causes: pd.DataFrame) -> dict[str, float]:
    found: dict[str, float] = {}
    for cause, *values in causes.itertuples(index=False):
        found |= dict(zip((f"{cause}_change", f"{cause}_low", f"{cause}_high"), values, strict=True))
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class _Groups:
    units: pd.Index
    treated: np.ndarray
    randomised: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class _People:
    """Who a campaign wrote to, who was known by then, and who was held out."""

    campaign_id: str
    written: pd.DataFrame
    known: pd.DataFrame
    users: pd.DataFrame | None
    definition: CampaignsDefinition

    def groups(self, windows: Windows) -> _Groups:
        arms = self._arms()
        if arms is not None:
            return _Groups(units=pd.Index(arms.index), treated=arms.to_numpy(bool), randomised=True)
        begins = pd.Timestamp(windows.during.first_day)
        units = pd.Index(self.known[c.USER_ID][pd.to_datetime(self.known["first_day"]) < begins].sort_values())
        return _Groups(units=units, treated=np.asarray(units.isin(self.audience)), randomised=False)

    @property
    def audience(self) -> pd.Series:
        return self.written[c.USER_ID][self.written[c.CAMPAIGN_ID] == self.campaign_id]

    def _arms(self) -> pd.Series | None:
        """Return whether each customer of a randomised campaign was treated, by id; nothing where it was not."""
        column, both = self.definition.holdout_of(self.campaign_id), (self.definition.treated, self.definition.held_out)
        if self.users is None or column not in self.users:
            return None
        arms = self.users.set_index(c.USER_ID)[column].dropna().sort_index()
        arms = arms[arms.isin(both)]
        counts = arms.value_counts()
        if any(counts.get(arm, 0) < LEAST_CUSTOMERS for arm in both):
            raise ConfigError(
                f"campaigns: expected {both[0]!r} and {both[1]!r} in {column} of the users table, found "
                f"{sorted(counts.index)}; name its arms in treated and held_out."
            )
        return arms == self.definition.treated

    def overlap(self, windows: Windows) -> float:
        """Return the share of the audience that other campaigns wrote to in its days."""
        day = pd.to_datetime(self.written["first_day"]).dt.date
        inside = (day >= windows.during.first_day) & (day <= windows.during.last_day)
        others = self.written[c.USER_ID][inside & (self.written[c.CAMPAIGN_ID] != self.campaign_id)]
        return float(self.audience.isin(set(others)).mean())


def _judged(
    events: object,
    people: _People,
    windows: Windows,
    groups: _Groups,
    *,
    num_written: int,
    cost: float,
    year_before: Panel | None,
) -> Judged:
    panel = _panel(events, windows.periods, groups, people.definition)
    both = int((~groups.treated).sum()) >= LEAST_CUSTOMERS
    differences = difference_in_differences(panel, groups.treated) if both else None
    margin = people.definition.margin
    if groups.randomised:
        result = holdout_return(panel, groups.treated, cost=cost, margin=margin)
    elif differences is not None:
        result = differences_return(differences, num_days=windows.during.num_days, cost=cost, margin=margin)
    else:
        result = attributed_return(math.nan, num_customers=int(groups.treated.sum()), cost=cost, margin=margin)
    if people.definition.outcome != "revenue":
        result = replace(result, cost=math.nan)  # a return is of money
    return Judged(
        campaign_id=people.campaign_id,
        windows=windows,
        num_written=num_written,
        result=result,
        change=before_after(panel, groups.treated, year_before=year_before),
        differences=differences,
        overlap=people.overlap(windows),
        num_others=int((~groups.treated).sum()) if both else 0,
    )


def _panel(events: object, periods: tuple[Period, ...], groups: _Groups, definition: CampaignsDefinition) -> Panel:
    rows = collected(outcomes(events, periods=periods, outcome=definition.outcome))
    return Panel.of(rows, periods=periods, units=groups.units)


def _sent(events: object, definition: CampaignsDefinition) -> pd.DataFrame:
    sent = collected(campaigns_sent(events))
    sent["first_day"] = pd.to_datetime(sent["first_day"])
    known = [str(name) for name in sent[c.CAMPAIGN_ID]]
    for campaign_id in definition.only:
        known_campaign(campaign_id, known)
    if definition.only:
        sent = sent[sent[c.CAMPAIGN_ID].isin(definition.only)]
    sent = sent.sort_values(["first_day", c.CAMPAIGN_ID], kind="stable")
    return sent[[c.CAMPAIGN_ID, "first_day", "customers"]]


def _why_not(windows: Windows | None, groups: _Groups | None, last_day: dt.date) -> str:
    if windows is None or groups is None:
        return "no_time_before"
    if windows.during.last_day > last_day:
        return "not_over"
    return "few_customers" if groups.treated.sum() < LEAST_CUSTOMERS else ""
