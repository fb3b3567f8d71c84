"""Requests and answers about demand: forecasts, orders, other plans, alerts."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from msgspec import Meta

from serving.api.schemas import Answer, Days, Id, Request

AlertKind = Literal["reorder_now", "protect", "slow_mover", "riser"]
AlertAction = Literal["order", "protect", "mark_down", "delist", "stock_up"]
ALERT_KINDS: tuple[str, ...] = ("reorder_now", "protect", "slow_mover", "riser")
PlanName = Annotated[str, Meta(min_length=1, max_length=128)]
Decision = Annotated[
    dict[str, float | str] | None,
    Meta(
        description="`lead_time_days`, `lead_mean`; by service level (`_90`, `_95`) `reorder_point`, `safety_stock`, "
        "`order_up_to`; where stock is known `on_hand`, `days_of_cover`, `stockout_risk`, `runs_out_on`; where price and "
        "cost are known `newsvendor_level`, `newsvendor_quantity`; `new`, 1 for an item that never sold. What is unknown "
        "is left out; null where the lead time lies beyond the horizon"
    ),
]
Quantiles = Annotated[dict[str, float], Meta(description='units by level: {"0.1": 0, ..., "0.9": 4}')]


class PlanChange(Request, frozen=True, kw_only=True):
    """One item under another plan; days and columns that are not named stay as they are planned."""

    item_id: Id
    plan: Annotated[
        dict[PlanName, float | None],
        Meta(
            min_length=1,
            description="by column of the plan: `price` (of a unit, minor units), `promotion`, `display`, `mailer`, or an "
            "outside regressor; null takes away what is planned",
        ),
    ]
    from_day: Annotated[dt.date | None, Meta(description="the first day ahead where left out")] = None
    until_day: Annotated[dt.date | None, Meta(description="included; the last day ahead where left out")] = None


class DemandRequest(Request, frozen=True, kw_only=True):
    """Items to forecast, how many days ahead, and items to forecast under another plan."""

    item_ids: Annotated[tuple[Id, ...], Meta(max_length=1000)] = ()
    days: Annotated[Days | None, Meta(description="all that is forecast where left out")] = None
    what_if: Annotated[tuple[PlanChange, ...], Meta(max_length=1000)] = ()


class DemandPeriod(Answer, frozen=True, kw_only=True):
    """The forecast of one day, or of the week that starts on it."""

    day: dt.date
    mean: float
    quantiles: Quantiles


class DemandTotal(Answer, frozen=True, kw_only=True):
    """The units of several days together, which is not what their quantiles add up to."""

    days: int
    mean: float
    quantiles: Quantiles


class ItemDemand(Answer, frozen=True, kw_only=True):
    """One item's forecast and the decision that follows from it."""

    item_id: str
    forecast: list[DemandPeriod]
    decision: Decision


class PlannedDemand(Answer, frozen=True, kw_only=True):
    """One item's forecast under another plan, beside the plan as it is."""

    item_id: str
    from_day: dt.date
    until_day: dt.date
    plan: dict[str, float | None]
    forecast: list[DemandPeriod]
    total: DemandTotal
    total_as_planned: DemandTotal
    decision: Decision
    warnings: Annotated[list[str], Meta(description="why the forecast may have nothing to go by")]


class DemandAnswer(Answer, frozen=True, kw_only=True):
    """Forecasts of the items that have one; ``unknown`` lists the others."""

    items: list[ItemDemand]
    what_if: list[PlannedDemand]
    unknown: list[str]
    assumptions: Annotated[list[str], Meta(description="what the forecasts take for granted")]
    frequency: str
    as_of: str | None
    model_version: str


class AlertsRequest(Request, frozen=True, kw_only=True):
    """Which alerts to answer."""

    kind: Annotated[
        AlertKind | None, Meta(description="every kind where left out, the first of each before the second")
    ] = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class Alert(Answer, frozen=True, kw_only=True):
    """An item to look at, and why."""

    kind: AlertKind
    item_id: str
    action: AlertAction
    quantity: Annotated[
        int | None, Meta(description="units to order, that are short, too many or more; null where unknown")
    ]
    day: dt.date
    reason: str


class AlertsAnswer(Answer, frozen=True, kw_only=True):
    """Alerts, most urgent first; ``counts`` are of all there are."""

    alerts: list[Alert]
    counts: dict[str, int]
    notes: Annotated[list[str], Meta(description="what is absent, and why")]
    as_of: str | None
    model_version: str
