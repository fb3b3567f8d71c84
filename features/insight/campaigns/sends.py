"""Which campaigns wrote to whom, when, and what they cost."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from features import columns as c
from features.errors import UnknownId, did_you_mean
from features.insight.campaigns.messages import NO_NAME
from features.tables.sql import run

FrameT = TypeVar("FrameT")


def campaigns_sent(events: FrameT) -> FrameT:
    """Return the campaigns of a log: campaign_id, first_day, last_day (of sending), customers, num_sent."""
    text = f"""
        SELECT {c.CAMPAIGN_ID}, min({c.LOCAL_DAY}) AS first_day, max({c.LOCAL_DAY}) AS last_day,
            count(DISTINCT {c.USER_ID}) AS customers, count(*) AS num_sent
        FROM {{events}} WHERE {c.EVENT_TYPE} = 'message_sent' AND {c.CAMPAIGN_ID} IS NOT NULL GROUP BY 1
    """
    return run(text, events=events)


def audiences(events: FrameT) -> FrameT:
    """Return who was written to by which campaign, and when first: campaign_id, user_id, first_day."""
    text = f"""
        SELECT {c.CAMPAIGN_ID}, {c.USER_ID}, min({c.LOCAL_DAY}) AS first_day
        FROM {{events}} WHERE {c.EVENT_TYPE} = 'message_sent' AND {c.CAMPAIGN_ID} IS NOT NULL GROUP BY 1, 2
    """
    return run(text, events=events)


def first_days(events: FrameT) -> FrameT:
    """Return the first day on which each customer did anything: user_id, first_day. Messages to it do not count."""
    text = f"""
        SELECT {c.USER_ID}, min({c.LOCAL_DAY}) AS first_day FROM {{events}}
        WHERE {c.EVENT_TYPE} NOT IN ('message_sent', 'message_delivered', 'message_bounced', '{c.IMPRESSION}') GROUP BY 1
    """
    return run(text, events=events)


def campaign_costs(spend: FrameT) -> FrameT:
    """Return what was spent on each campaign: campaign_id, cost (minor units); ``(none)`` for the rest."""
    text = f"""
        SELECT coalesce({c.CAMPAIGN_ID}, '{NO_NAME}') AS {c.CAMPAIGN_ID}, CAST(sum({c.COST}) AS BIGINT) AS cost
        FROM {{spend}} GROUP BY 1
    """
    return run(text, spend=spend)


def known_campaign(campaign_id: str, known: Collection[str]) -> str:
    """Return the id if the log has it.

    Raises:
        UnknownId: it says which is near.
    """
    if campaign_id not in known:
        hint = did_you_mean(campaign_id, known)
        raise UnknownId(
            f"campaigns: expected one of the {len(known)} that wrote to customers, found {campaign_id!r}.{hint}"
        )
    return campaign_id
