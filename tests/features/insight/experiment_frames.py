"""Outcomes of a test as the table function returns them, for tests of what is made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from features.insight.experiments.definition import ExperimentDefinition
from features.insight.experiments.participants import Participants

NUM_USERS = 1200
START_US = 1_772_000_000_000_000
DAY_US = 86_400_000_000


def made(**values: Any) -> ExperimentDefinition:
    metrics = {
        "orders": {"count": "orders", "covariate_days": 14, "window_days": 7},
        "revenue": {"count": "revenue", "winsorise": 0.99},
        "refunds": {"count": "events", "of": "refund"},
    }
    return ExperimentDefinition.parse("home", {"metrics": metrics, **values}, where="experiments.home")


def a_frame(*, lift: float = 0.5, exposed: float = 1.0, seed: int = 0) -> pd.DataFrame:
    """Outcomes as the table function returns them."""
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, 2, NUM_USERS)
    met = (arm == 1) & (rng.random(NUM_USERS) < exposed)
    rate = rng.gamma(1.0, 1.0, NUM_USERS)
    before, orders = rng.poisson(2 * rate), rng.poisson(rate * (1 + lift * met))
    return pd.DataFrame(
        {
            "user_id": [f"u{number:04d}" for number in range(NUM_USERS)],
            "arm": np.where(arm == 1, "strict", "control"),
            "assigned_us": START_US + np.arange(NUM_USERS) * 600_000_000,
            "num_arms": 1,
            "until_us": START_US + 100 * DAY_US,
            "has_past": 1,
            "orders": orders,
            "orders__before": before,
            "revenue": orders * 1000,
            "refunds": 0,
            "exposed": met.astype(int),
            "kind": np.where(np.arange(NUM_USERS) % 3 == 0, "plus", "basic"),
        }
    )


def participants(frame: pd.DataFrame | None = None, **values: Any) -> Participants:
    return Participants.of(a_frame() if frame is None else frame, made(**values))
