"""Campaigns as sections of a page: what they brought, what became of messages, whom media reach, how coupons were used."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from features import columns as c
from features.insight.campaigns.coupons_section import coupon_section
from features.insight.campaigns.definition import CampaignsDefinition
from features.insight.campaigns.effects_section import effects_section
from features.insight.campaigns.judge import judge_campaigns
from features.insight.campaigns.messages_section import messages_section, reach_section
from features.insight.campaigns.sends import campaign_costs, campaigns_sent
from features.insight.collecting import collected
from features.insight.inputs import Inputs, Period
from features.report.sections import NothingToShow, Section
from features.report.words import Words

SUBJECT = "campaigns"


def sections(inputs: Inputs, words: Words) -> list[Section]:
    """Return what campaigns that began in the period brought, and what became of its messages and coupons.

    Args:
        inputs: ``definitions["campaigns"]`` is what ``CampaignsDefinition.parse`` reads; comparisons use the whole log.
        words: of the page.

    Raises:
        NothingToShow: nothing was sent and no coupon was given in these days.
        ConfigError: the definition does not fit.
        UnknownId: it names a campaign that wrote to nobody.
    """
    definition = CampaignsDefinition.parse(inputs.definitions.get(SUBJECT), where=SUBJECT)
    begun = campaigns_of(inputs, definition)
    found = [
        _effects(inputs, replace(definition, only=begun), words) if begun else None,
        messages_section(inputs, definition, words),
        reach_section(inputs, words),
        coupon_section(inputs, words),
    ]
    shown = [section for section in found if section is not None]
    if not shown:
        raise NothingToShow(words("campaigns.none"))
    return shown


def campaigns_of(inputs: Inputs, definition: CampaignsDefinition) -> tuple[str, ...]:
    """Return the campaigns that began in the period, or those that the shop names."""
    if definition.only:
        return definition.only
    sent = collected(campaigns_sent(inputs.log))
    begins = pd.to_datetime(sent["first_day"]).dt.date
    inside = (begins >= inputs.period.first_day) & (begins <= inputs.period.last_day)
    return tuple(sorted(map(str, sent[c.CAMPAIGN_ID][inside])))


def _effects(inputs: Inputs, definition: CampaignsDefinition, words: Words) -> Section | None:
    days, users, spend = _days(inputs), inputs.table("users"), inputs.table("spend")
    costs = None if spend is None else collected(campaign_costs(spend)).set_index(c.CAMPAIGN_ID)["cost"]
    judged = judge_campaigns(
        inputs.log,
        definition,
        first_day=days.first_day,
        last_day=days.last_day,
        users=None if users is None else collected(users).drop_duplicates(c.USER_ID),
        costs=None if costs is None else {str(name): float(cost) for name, cost in costs.items()},
    )
    return effects_section(judged, inputs, words)


def _days(inputs: Inputs) -> Period:
    """Return the first and last day of the log."""
    first, last = inputs.log.aggregate(f"min({c.LOCAL_DAY}), max({c.LOCAL_DAY})").fetchall()[0]
    return Period(first_day=first, last_day=last)
