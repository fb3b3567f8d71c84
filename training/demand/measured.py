"""What a training measures on its test windows: the model as it stood at each, beside baselines, cut by who buys."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.build import FeatureSet
from features.panel.demand_panel import DemandPanel
from training.demand.backtesting.backtest import Forecaster, backtest, baseline_forecasters
from training.demand.backtesting.buyers import buyers_before, by_buyers
from training.demand.backtesting.tables import report_of, scores_of
from training.demand.calibrate import before_and_after
from training.demand.rolling import RollingForecaster

OURS: Final = "footfall"
GATE: Final = "empirical_quantiles"


def measured_on(rolling: RollingForecaster, origins: tuple[int, ...], features: FeatureSet) -> dict[str, Any]:
    """Return metrics and tables of the model and its baselines over the windows from ``origins``, paired intervals too.

    Beside what ``report_of`` returns, ``buyers`` holds the metrics by group of customer, and ``calibration`` the model's PIT
    and service before and after.

    Args:
        rolling: the model as it stands at each origin.
        origins: first period of each window; nothing comes back where there are none.
        features: the panel that is forecast, and who bought its items.
    """
    if not origins:
        return {}
    inputs, config = rolling.inputs, rolling.inputs.config
    days = {"D": 1, "W": 7}[inputs.frequency]
    lead = min(config.horizon, -(-config.lead_time_days // days))
    baselines = baseline_forecasters(inputs, carts=_carts(features.panel))
    forecasters: dict[str, Forecaster] = {OURS: rolling, **baselines}
    asked: dict[str, Any] = {"lead_periods": lead, "service_levels": config.service_levels}
    found = {name: backtest(one, inputs, origins, **asked) for name, one in forecasters.items()}
    raw = backtest(rolling.uncalibrated, inputs, origins, **asked)
    scores = {name: scores_of(one, inputs) for name, one in found.items()}
    least = features.shop.privacy.minimum_group
    return {
        **report_of(found, inputs, ours=OURS, gate=GATE, seed=config.seed),
        "buyers": [by_buyers(scores, one, minimum=least) for one in buyers_before(features, origins[0])],
        "calibration": before_and_after(raw, found[OURS], rolling.calibration(inputs.num_periods)),
    }


def headline(report: dict[str, Any]) -> dict[str, float]:
    """Return what a run's metrics hold of its report; nothing where no window was held out."""
    if not report:
        return {}
    names = ("wql_less_gate", "wql_less_gate_low", "wql_less_gate_high")
    return {
        **report["models"][OURS],
        **{f"{name}_wql": values["wql"] for name, values in report["models"].items() if name != OURS},
        **dict(zip(names, report["wql_less_gate"][OURS], strict=True)),
    }


def _carts(panel: DemandPanel) -> npt.NDArray[np.floating] | None:
    """Return add-to-carts ``[I, T]``; a shop that logs none has zeros in their place, of which nothing can be learnt."""
    carts = panel.observed.get("num_carts")
    return carts if carts is not None and np.any(carts > 0) else None
