"""The columns of the log that figures may be cut by: few values each, none of them a customer's own."""

from __future__ import annotations

from typing import Final

from features import columns as c

CUTS: Final = (
    c.EVENT_TYPE,
    c.CHANNEL,
    c.REGION,
    "section",
    c.SLOT,
    "source",
    "medium",
    "campaign",
    "content",
    c.CAMPAIGN_ID,
    c.VARIANT,
)
