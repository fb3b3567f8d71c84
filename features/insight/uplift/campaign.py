"""The customers of a randomised campaign: what was known of each before it, and what each did in its days."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from features import columns as c
from features.errors import DataError
from features.insight.campaigns.outcomes import Outcome, Panel, outcomes
from features.insight.campaigns.sends import first_days
from features.insight.campaigns.windows import Windows
from features.insight.collecting import collected
from features.insight.inputs import Period
from features.insight.uplift.trial import Trial

BEFORE: Final[tuple[Outcome, ...]] = ("revenue", "orders", "buyer_days", "visitor_days")
_WORDS: Final = (c.REGION, "device", "membership")


@dataclass(frozen=True, kw_only=True, eq=False)
class CampaignTrial:
    """A randomised campaign as a model of uplift needs it.

    Args:
        users: ids, ``[N]``.
        attributes: known on the evening before, one row a user.
        trial: arms and outcomes.
    """

    users: pd.Index
    attributes: pd.DataFrame
    trial: Trial


def campaign_trial(
    events: object,
    arms: pd.Series,
    windows: Windows,
    *,
    outcome: Outcome = "buyer_days",
    users: pd.DataFrame | None = None,
) -> CampaignTrial:
    """Return the customers of a campaign that held some out at random.

    What is known of a customer: for each of revenue, orders, days with a purchase and days with a visit its sum over the
    days before and over the last block of them, as ``log(1 + x)``; days since the first event; region, device and
    membership of the users table. Nothing of the campaign's own days is.

    Args:
        events: rows of the event log, of any engine.
        arms: whether each customer was treated, by user_id.
        windows: the campaign's days and those before it.
        outcome: that is to be moved: 1 where a customer did it at all in the campaign's days.
        users: the contract's users, if there are any.

    Raises:
        DataError: nobody is in the campaign, or an arm is empty.
    """
    if arms.empty:
        raise DataError("uplift: expected customers with an arm, found none; name the column with the arms.")
    units = pd.Index(arms.index)
    attributes = pd.DataFrame({"days_known": _days_known(events, units, windows.during.first_day)}, index=units)
    for name in BEFORE:
        panel = _panel(events, units, windows.blocks, name)
        total = panel.rates * panel.days
        attributes[f"{name}_before"] = np.log1p(total.sum(axis=1))
        attributes[f"{name}_lately"] = np.log1p(total[:, -1])
    if users is not None:
        known = users.drop_duplicates(c.USER_ID).set_index(c.USER_ID).reindex(units)
        attributes[[name for name in _WORDS if name in known]] = known[[name for name in _WORDS if name in known]]
    did = _panel(events, units, (windows.during,), outcome).rates[:, 0]
    return CampaignTrial(
        users=units,
        attributes=attributes,
        trial=Trial(outcome=(did > 0).astype(np.float64), treated=arms.to_numpy(bool)),
    )


def _panel(events: object, units: pd.Index, periods: tuple[Period, ...], outcome: Outcome) -> Panel:
    return Panel.of(collected(outcomes(events, periods=periods, outcome=outcome)), periods=periods, units=units)


def _days_known(events: object, units: pd.Index, day: dt.date) -> np.ndarray:
    """Return how long before a day each customer was first seen; missing for who came later."""
    first = collected(first_days(events)).set_index(c.USER_ID)["first_day"].reindex(units)
    days = (pd.Timestamp(day) - pd.to_datetime(first)).dt.days.to_numpy(float)
    return np.where(days > 0, days, np.nan)
