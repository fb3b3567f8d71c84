"""From forecasts to orders: when to order again, up to how much, and what may go wrong before it arrives.

Everything is read off the distribution of totals: the reorder point is the smallest whole number of units that covers
the lead time's demand with the wanted probability, the order-up-to level covers the lead time and the review period
(Silver, Pyke, Thomas 2017, "Inventory and Production Management in Supply Chains"), and the newsvendor quantity covers
those with the probability at which another unit's margin and its holding cost balance (Arrow, Harris, Marschak 1951).
"""

from __future__ import annotations

import logging
from typing import Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import columns as c
from features.panel.demand_panel import DemandPanel
from training.demand.config import DemandConfig
from training.demand.decisions.item_facts import ItemFacts
from training.demand.forecast import Forecast, TotalForecast

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.floating]
RUNS_OUT_CHANCE: Final = 0.5  # as likely as not
_RATIO_DIGITS: Final = 3  # critical ratios are rounded, so that items share their look-up


@runtime_checkable
class TotalDistribution(TotalForecast, Protocol):
    """Totals that also know how likely each number of units is."""

    def total_cdf(self, periods: npt.NDArray[np.integer], units: Floats) -> npt.NDArray[np.float64]:
        """Return P(total of the first ``periods`` <= ``units``), ``[I]`` like both."""


def decision_frame(panel: DemandPanel, forecast: Forecast, facts: ItemFacts, config: DemandConfig) -> pd.DataFrame:
    """Return one row an item; blank where something it needs is unknown or lies beyond the horizon.

    Columns, with a pair or triple for each service level (``_90``, ``_95``):

        lead_time_days, lead_mean          days until a delivery, and the units expected in them
        reorder_point, safety_stock        order when stock and orders under way are at this or less; its part above the mean
        order_up_to                        order so much that stock and orders under way reach this
        on_hand, days_of_cover             units on the shelf, and how long they last at the expected rate
        stockout_risk                      chance that the lead time's demand exceeds what is on hand
        runs_out_on                        first period at whose end running out is at least as likely as not
        newsvendor_level, _quantity        critical ratio of margin and holding cost, and its order-up-to level

        new                                1 where the item never sold: its forecast is that of its peers

    Items whose lead time is longer than the horizon are left out, since nothing is known of their total.

    Args:
        panel: names the items and the length of a period.
        forecast: from the panel's end.
        facts: of the items.
        config: horizon, service levels, and what an order has to last.
    """
    lead = -(-facts.lead_time_days // panel.period_days)
    known = np.flatnonzero(lead <= config.horizon)
    if len(known) < len(lead):
        log.warning(
            "demand: %d of %d items have a lead time beyond the horizon of %d days and get no reorder point; "
            "forecast a longer horizon",
            *(len(lead) - len(known), len(lead), config.horizon * panel.period_days),
        )
    until = -(-(facts.lead_time_days + config.decisions.review_days) // panel.period_days)
    columns: dict[str, object] = {c.ITEM_ID: panel.item_ids, c.LEAD_TIME_DAYS: facts.lead_time_days}
    columns |= order_levels(forecast.totals, lead, until, config)
    columns |= stock_columns(panel, forecast, facts, lead)
    columns |= newsvendor(forecast.totals, facts, until, config)
    columns["new"] = panel.never_sold.astype(np.int64)
    return pd.DataFrame(columns).iloc[known].reset_index(drop=True)


def service_levels(config: DemandConfig) -> tuple[float, ...]:
    """Return the levels whose columns are written, rising: those of the report and the alerts' own."""
    return tuple(sorted({*config.service_levels, config.decisions.service_level}))


def level_name(level: float) -> str:
    """Return how a column names a service level.

    >>> level_name(0.95), level_name(0.975)
    ('95', '97.5')
    """
    return f"{100 * level:g}"


def order_levels(
    totals: TotalForecast, lead: npt.NDArray[np.int64], until: npt.NDArray[np.int64], config: DemandConfig
) -> dict[str, object]:
    """Return when to order and up to how much.

    Args:
        totals: of the first periods.
        lead: periods until a delivery, ``[I]``.
        until: periods that an order has to last, ``[I]``.
        config: horizon and service levels.
    """
    levels = service_levels(config)
    mean, points = totals.total_quantiles(np.minimum(lead, config.horizon), levels)
    _, tops = totals.total_quantiles(np.minimum(until, config.horizon), levels)
    names = [level_name(level) for level in levels]
    beyond = until > config.horizon
    columns: dict[str, object] = {"lead_mean": mean}
    columns |= {f"reorder_point_{name}": points[:, at].astype(np.int64) for at, name in enumerate(names)}
    columns |= {f"safety_stock_{name}": points[:, at] - mean for at, name in enumerate(names)}
    return columns | {f"order_up_to_{name}": _whole(tops[:, at], beyond) for at, name in enumerate(names)}


def stock_columns(
    panel: DemandPanel, forecast: Forecast, facts: ItemFacts, lead: npt.NDArray[np.int64]
) -> dict[str, object]:
    """Return how long what is on hand lasts, and the chance that it does not last until a delivery."""
    on_hand, horizon, totals = facts.on_hand, forecast.mean.shape[1], forecast.totals
    columns: dict[str, object] = {
        "on_hand": _whole(on_hand, np.isnan(on_hand)),
        "days_of_cover": days_of_cover(on_hand, forecast.mean) * panel.period_days,
    }
    if np.isnan(on_hand).all():
        return columns | {"stockout_risk": np.nan, "runs_out_on": pd.NaT}
    assert isinstance(totals, TotalDistribution), "decisions on stock need more of a total than its quantiles"
    periods = np.arange(1, horizon + 1)
    covered = [totals.total_cdf(np.full(len(on_hand), one), on_hand) for one in periods]
    held = np.stack(covered, axis=1)  # [I, H]; NaN where stock is unknown
    rows, out = np.arange(len(on_hand)), held <= RUNS_OUT_CHANCE
    columns["stockout_risk"] = 1 - held[rows, np.minimum(lead, horizon) - 1]
    days = pd.Series(period_days(panel, horizon)).take(out.argmax(axis=1)).reset_index(drop=True)
    return columns | {"runs_out_on": days.where(np.asarray(out.any(axis=1)))}


def period_days(panel: DemandPanel, horizon: int) -> pd.DatetimeIndex:
    """Return the first day of each period ahead, ``[H]``."""
    step = pd.Timedelta(days=panel.period_days)
    return pd.date_range(panel.start + panel.num_periods * step, periods=horizon, freq=step)


def days_of_cover(on_hand: Floats, mean: Floats) -> Floats:
    """Return the periods that stock lasts at the expected rate, ``[I]``; the horizon's mean rate goes on beyond it.

    >>> days_of_cover(np.array([3.0, 7.0]), np.array([[1.0, 4.0], [1.0, 4.0]])).round(2).tolist()
    [1.5, 2.8]

    Args:
        on_hand: units, ``[I]``; NaN where unknown.
        mean: expected units a period, ``[I, H]``.
    """
    horizon = mean.shape[1]
    total = np.concatenate([np.zeros((len(mean), 1)), np.cumsum(mean, axis=1, dtype=np.float64)], axis=1)
    passed = np.minimum((total[:, 1:] <= on_hand[:, None]).sum(axis=1), horizon)  # whole periods
    left = on_hand - total[np.arange(len(mean)), passed]
    rate = np.where(passed < horizon, mean[np.arange(len(mean)), np.minimum(passed, horizon - 1)], mean.mean(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        periods = np.where(on_hand == 0, 0.0, passed + left / rate)
    return np.where(np.isfinite(periods), periods, np.nan)


def newsvendor(
    totals: TotalForecast, facts: ItemFacts, until: npt.NDArray[np.int64], config: DemandConfig
) -> dict[str, object]:
    """Return the critical ratio ``(p - c) / (p - c + h)`` and its order-up-to level; blank without price, cost or margin."""
    ratio = critical_ratio(facts.price, facts.cost, config.decisions.holding_share)
    unknown = np.isnan(ratio) | (until > config.horizon)
    if unknown.all():
        return {"newsvendor_level": ratio, "newsvendor_quantity": _whole(ratio, unknown)}
    least = 10.0**-_RATIO_DIGITS
    rounded = np.clip(np.round(np.nan_to_num(ratio, nan=0.5), _RATIO_DIGITS), least, 1 - least)
    levels, at = np.unique(rounded, return_inverse=True)
    _, units = totals.total_quantiles(np.minimum(until, config.horizon), tuple(levels.tolist()))
    return {
        "newsvendor_level": ratio,
        "newsvendor_quantity": _whole(units[np.arange(len(at)), at], unknown),
    }


def critical_ratio(price: Floats, cost: Floats, holding_share: float) -> Floats:
    """Return the share of demand worth covering, ``[I]``; NaN where price or cost is unknown or leaves no margin.

    >>> critical_ratio(np.array([10.0, 10.0]), np.array([6.0, 12.0]), 0.25).round(3).tolist()
    [0.727, nan]
    """
    margin = price - cost
    ratio = margin / np.where(margin > 0, margin + holding_share * cost, np.nan)
    return np.where(ratio < 1, ratio, np.nan)  # what costs nothing to hold has no quantity that is enough


def _whole(values: Floats, blank: npt.NDArray[np.bool_]) -> pd.arrays.IntegerArray:
    return pd.arrays.IntegerArray(np.where(blank, 0, np.nan_to_num(values)).astype(np.int64), blank.copy())
