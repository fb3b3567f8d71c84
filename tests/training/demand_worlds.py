"""Small shops whose demand is known, for the tests of the demand model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.panel.demand_panel import DemandPanel
from training.demand.config import DemandConfig

NUM_ITEMS, NUM_PERIODS, HORIZON = 48, 180, 7
START = pd.Timestamp("2024-01-01")  # a Monday


def small_config(**changes: object) -> DemandConfig:
    settings: dict[str, object] = {
        "horizon": HORIZON,
        "context_length": 42,
        "spans": (7, 28, 56),
        "hidden_size": 32,
        "num_layers": 1,
        "num_heads": 4,
        "num_members": 1,
        "batch_size": 64,
        "max_steps": 150,
        "validate_every_steps": 50,
        "num_threads": 1,
    }
    return DemandConfig(**{**settings, **changes})  # type: ignore[arg-type]


def true_rates(seed: int = 0) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """Rates ``[I, T + H]`` and the promotion plan: a base a item, doubled on Sundays, tripled when promoted."""
    rng = np.random.default_rng(seed)
    width = NUM_PERIODS + HORIZON
    base = rng.uniform(1.0, 8.0, NUM_ITEMS)
    sunday = np.arange(width) % 7 == 6
    weeks = rng.random((NUM_ITEMS, width // 7 + 1)) < 0.25
    promotion = np.repeat(weeks, 7, axis=1)[:, :width]
    rates = base[:, None] * np.where(sunday, 2.0, 1.0) * np.where(promotion, 3.0, 1.0)
    return rates, promotion.astype(np.float32)


def poisson_panel(seed: int = 0) -> DemandPanel:
    """A Poisson shop over ``true_rates``; some days of item 0 are missing."""
    rng = np.random.default_rng(seed + 1)
    rates, promotion = true_rates(seed)
    units = rng.poisson(rates[:, :NUM_PERIODS]).astype(np.float32)
    units[0, :20] = np.nan
    ids = np.array([f"item-{number}" for number in range(NUM_ITEMS)], object)
    views = units * 10 + rng.random(units.shape).astype(np.float32)
    return DemandPanel(
        item_ids=ids,
        start=START,
        frequency="D",
        units=units,
        known_ahead={"promotion": promotion, "holiday": np.zeros_like(promotion)},
        observed={"num_views": np.nan_to_num(views)},
        static={"category": np.array([f"c{number % 3}" for number in range(NUM_ITEMS)], object)},
    )
