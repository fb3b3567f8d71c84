"""Where a forecaster was furthest off: what a person looks at before they trust the rest."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from features.release.layout import QUANTILES
from training.demand.backtesting import metrics
from training.demand.backtesting.backtest import Backtest

NUM_MISSES: Final = 8


def biggest_misses(found: Backtest, count: int = NUM_MISSES) -> list[dict[str, Any]]:
    """Return the item and window of the largest pinball losses, an item once, largest first.

    Args:
        found: a backtest.
        count: how many at most.

    Returns:
        ``row`` (of the panel), ``origin``, ``sold`` and ``expected`` units of the window's known periods, ``loss_share``
        (of all loss), ``units`` by period (``None`` where unknown), and ``quantiles`` by level.
    """
    loss = np.nansum(metrics.pinball(found.actual, found.quantiles), axis=2)  # [I, W]
    window = loss.argmax(axis=1)
    worst = loss[np.arange(len(loss)), window]
    rows = np.argsort(-worst, kind="stable")[:count]
    return [_miss(found, int(row), int(window[row]), worst[row] / loss.sum()) for row in rows if worst[row] > 0]


def _miss(found: Backtest, row: int, window: int, share: float) -> dict[str, Any]:
    units, quantiles = found.actual[row, window], found.quantiles[row, window]  # [H], [H, Q]
    known = np.isfinite(units)
    return {
        "row": row,
        "origin": int(found.origins[window]),
        "sold": float(units[known].sum()),
        "expected": float(found.mean[row, window][known].sum()),
        "loss_share": float(share),
        "units": [float(one) if np.isfinite(one) else None for one in units],
        "quantiles": {f"{level:.1f}": quantiles[:, i].astype(float).tolist() for i, level in enumerate(QUANTILES)},
    }
