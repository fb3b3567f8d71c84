"""The demand part of a release: forecasts by period, decisions, alerts, and the network for what-ifs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features import columns as c
from features.panel.demand_panel import DemandPanel
from features.release import layout
from training.demand.boosted.pooled import AnyModel
from training.demand.decisions.alerts import KINDS, alert_frame
from training.demand.decisions.item_facts import ItemFacts
from training.demand.decisions.orders import decision_frame, period_days
from training.demand.decisions.what_if import write_what_if
from training.demand.forecast import Forecast
from training.demand.inputs.panel_inputs import PanelInputs


def write_files(
    directory: Path, *, features: Path, panel: DemandPanel, inputs: PanelInputs, model: AnyModel, future: Forecast
) -> dict[str, Any]:
    """Write every file of ``features.release.layout`` for a demand part but its calibration.

    Args:
        directory: of the part's draft.
        features: feature directory: items table and newest stock.
        panel: units and plan.
        inputs: of the panel.
        model: trained.
        future: its forecast from the panel's end.

    Returns:
        what a reader must know besides, for the part's ``about``.
    """
    config = inputs.config
    facts = ItemFacts.load(features, panel, config)
    forecast_frame(panel, future).to_parquet(directory / layout.FORECASTS, index=False)
    decisions = decision_frame(panel, future, facts, config)
    decisions.to_parquet(directory / layout.DECISIONS, index=False)
    alerts, notes = alert_frame(panel, future, facts, decisions, config)
    alerts.to_parquet(directory / layout.ALERTS, index=False)
    if config.decisions.what_if:
        write_what_if(directory, model, panel, inputs)
    until, assumptions = plan_end(panel, config.horizon)
    counts = Counter(alerts["kind"])
    return {
        "as_of": as_of(panel),
        "frequency": panel.frequency,
        "horizon": config.horizon,
        "lead_time_days": config.lead_time_days,
        "plan_until": until,
        "assumptions": assumptions,
        "alerts": {"counts": {kind: counts[kind] for kind in KINDS}, "notes": notes},
    }


def forecast_frame(panel: DemandPanel, forecast: Forecast) -> pd.DataFrame:
    """Return one row an item and period: item_id, day (first of the period), mean, q0.1 ... q0.9."""
    num_items, horizon = forecast.mean.shape
    values = forecast.quantiles.reshape(num_items * horizon, -1)
    return pd.DataFrame(
        {
            c.ITEM_ID: np.repeat(panel.item_ids, horizon),
            c.DAY: np.tile(period_days(panel, horizon).date, num_items),
            "mean": forecast.mean.ravel(),
            **{layout.quantile_column(level): values[:, column] for column, level in enumerate(layout.QUANTILES)},
        }
    )


def plan_end(panel: DemandPanel, horizon: int) -> tuple[str | None, list[str]]:
    """Return the last day for which anything is announced, and what is assumed of the days after it.

    Returns:
        a day as ``YYYY-MM-DD``, ``None`` where the shop announces nothing; sentences, none where nothing is assumed.
    """
    if not panel.planned:
        return None, []
    ahead = [np.asarray(panel.known_ahead[name])[:, panel.num_periods :][:, :horizon] for name in panel.planned]
    announced = np.flatnonzero(np.any([values != 0 for values in ahead], axis=(0, 1)))
    if not len(announced):
        return None, ["No plan is announced for the days ahead; they are forecast as if nothing were planned."]
    last = period_days(panel, horizon)[announced.max()] + pd.Timedelta(days=panel.period_days - 1)
    day = last.date().isoformat()
    if announced.max() == horizon - 1:
        return day, []
    return day, [f"The announced plan ends on {day}; later days are forecast as if nothing were planned."]


def as_of(panel: DemandPanel) -> str:
    """Return the last day that the forecasts know, as ``YYYY-MM-DD``."""
    last = panel.start + pd.Timedelta(days=panel.num_periods * panel.period_days - 1)
    return str(last.date().isoformat())
