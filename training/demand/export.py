"""The demand part of a release: forecasts by period, and the decisions that follow from the totals."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import columns as c
from features.demand_panel import DemandPanel
from features.release import layout
from training.demand.config import DemandConfig
from training.demand.forecast import Forecast

log = logging.getLogger(__name__)


def forecast_frame(panel: DemandPanel, forecast: Forecast) -> pd.DataFrame:
    """Return one row an item and period: item_id, day (first of the period), mean, q0.1 ... q0.9."""
    num_items, horizon = forecast.mean.shape
    step = pd.Timedelta(days=panel.period_days)
    first = panel.start + panel.num_periods * step
    days = pd.date_range(first, periods=horizon, freq=step).date
    values = forecast.quantiles.reshape(num_items * horizon, -1)
    return pd.DataFrame(
        {
            c.ITEM_ID: np.repeat(panel.item_ids, horizon),
            c.DAY: np.tile(days, num_items),
            "mean": forecast.mean.ravel(),
            **{layout.quantile_column(level): values[:, column] for column, level in enumerate(layout.QUANTILES)},
        }
    )


def decision_frame(
    panel: DemandPanel, forecast: Forecast, lead_time_days: npt.NDArray[np.int64], config: DemandConfig
) -> pd.DataFrame:
    """Return one row an item: when to order again, and how much of that is safety stock.

    The reorder point is the smallest whole number of units that covers the demand of the lead time with the
    wished probability; safety stock is what it holds above the mean. Items whose lead time is longer than
    the horizon are left out, since nothing is known of their total.

    Args:
        panel: names the items and the length of a period.
        forecast: from the panel's end.
        lead_time_days: ``[I]``, 1 or more.
        config: horizon and service levels.
    """
    periods = -(-lead_time_days // panel.period_days)
    known = np.flatnonzero(periods <= config.horizon)
    if len(known) < len(periods):
        log.warning(
            "demand: %d of %d items have a lead time beyond the horizon of %d days and get no reorder point; "
            "forecast a longer horizon",
            *(len(periods) - len(known), len(periods), config.horizon * panel.period_days),
        )
    mean, points = forecast.totals.total_quantiles(np.minimum(periods, config.horizon), config.service_levels)
    columns: dict[str, object] = {
        c.ITEM_ID: panel.item_ids[known],
        c.LEAD_TIME_DAYS: lead_time_days[known],
        "lead_mean": mean[known],
    }
    for column, level in enumerate(config.service_levels):
        columns[f"reorder_point_{100 * level:.0f}"] = points[known, column].astype(np.int64)
    for column, level in enumerate(config.service_levels):
        columns[f"safety_stock_{100 * level:.0f}"] = points[known, column] - mean[known]
    return pd.DataFrame(columns)


def lead_times(items: Path, item_ids: npt.NDArray[np.object_], default_days: int) -> npt.NDArray[np.int64]:
    """Return each item's lead time in days, from the contract's items table, ``[I]``; at least 1."""
    frame = pd.read_parquet(items, columns=[c.ITEM_ID, c.LEAD_TIME_DAYS]).set_index(c.ITEM_ID)
    days = frame[c.LEAD_TIME_DAYS].astype("Float64").reindex(item_ids).fillna(default_days)
    return np.maximum(days.to_numpy(np.float64), 1).astype(np.int64)


def as_of(panel: DemandPanel) -> str:
    """Return the last day that the forecasts know, as ``YYYY-MM-DD``."""
    last = panel.start + pd.Timedelta(days=panel.num_periods * panel.period_days - 1)
    return str(last.date().isoformat())
