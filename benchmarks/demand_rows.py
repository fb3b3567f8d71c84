"""What a demand benchmark writes: rows with intervals, differences and tables, and every forecast behind them."""

from __future__ import annotations

import math
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from features.panel.demand_panel import DemandPanel
from features.release.layout import QUANTILES, quantile_column
from training.demand.backtesting.backtest import Backtest
from training.demand.backtesting.scores import Scores, differences, intervals
from training.demand.backtesting.tables import scores_of, tables
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.measured import OURS
from training.evaluation.bootstrap import Interval

# WQL measured before by the pinned configurations; a row further off than the tolerance voids its comparison.
REFERENCE: Final[Mapping[str, Mapping[str, float]]] = {
    "daily": {
        "seasonal_naive": 0.792,
        "autoets": 0.671,
        "empirical_quantiles": 0.604,
        "lightgbm_recursive": 0.563,
        "lightgbm_direct": 0.557,
        "lightgbm_quantiles": 0.559,
        "lightgbm_ensemble": 0.5534,
    },
    "weekly": {
        "seasonal_naive": 0.515,
        "autoets": 0.408,
        "empirical_quantiles": 0.403,
        "lightgbm_recursive": 0.335,
        "lightgbm_direct": 0.323,
        "lightgbm_quantiles": 0.320,
        "lightgbm_ensemble": 0.3154,
    },
}
TOLERANCE: Final = 0.03


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A forecaster's backtests and what they cost.

    Args:
        model: name of the row.
        found: one backtest a seed; those without chance have one.
        fit_cpu_s: mean over seeds, the choice of steps and other trials included.
        fit_wall_s: alike.
        config: settings.
        threads: that the fit ran on.
        note: what a reader must know.
        seeds: of ``found``.
        rival: row of ours that had the same data as this one, and is compared with it.
    """

    model: str
    found: tuple[Backtest, ...]
    fit_cpu_s: float = 0.0
    fit_wall_s: float = 0.0
    config: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 1
    note: str = ""
    seeds: tuple[int, ...] = (0,)
    rival: str = OURS

    def scores(self, inputs: PanelInputs) -> Scores:
        """Return its scores, averaged over seeds series by series."""
        return Scores.averaged([scores_of(one, inputs) for one in self.found])


def rows(measured: Sequence[Measured], inputs: PanelInputs, *, panel: str) -> list[dict[str, Any]]:
    """Return one row a forecaster; ``difference`` is the row ``difference_of`` less this, paired over series."""
    scores = {one.model: one.scores(inputs) for one in measured}
    found = []
    for one in measured:
        own = scores[one.model]
        alone = {name: [i.low, i.high] for name, i in intervals(own).items()}
        compared = one.model != one.rival and one.rival in scores
        found.append(
            {
                "model": one.model,
                "metrics": own.values(),
                "interval": {"wql": alone["wql"]},
                "intervals": alone,
                "difference": _plain(differences(scores[one.rival], own)) if compared else {},
                "difference_of": one.rival if compared else "",
                "per_seed": {
                    str(seed): scores_of(test, inputs).values() for seed, test in zip(one.seeds, one.found, strict=True)
                },
                "fit_cpu_s": round(one.fit_cpu_s, 1),
                "fit_wall_s": round(one.fit_wall_s, 1),
                "threads": one.threads,
                "peak_mb": peak_mb(),
                "config": dict(one.config),
                "note": "; ".join(filter(None, [one.note, verdict(panel, one.model, own.values()["wql"])])),
                **averaged([tables(test, inputs) for test in one.found]),
            }
        )
    return found


def verdict(panel: str, model: str, wql: float) -> str:
    """Say how far a reference row is from what it was before; nothing where it never was measured."""
    expected = REFERENCE.get(panel, {}).get(model)
    if expected is None:
        return ""
    off = wql / expected - 1
    said = f"WQL {off:+.1%} from the pinned configuration's {expected:g}"
    return said if abs(off) <= TOLERANCE else f"VOID: {said}, more than {TOLERANCE:.0%}"


def averaged(found: Sequence[Any]) -> Any:
    """Return objects of one shape with the mean of each of their numbers.

    >>> averaged([{"a": [1.0, None]}, {"a": [2.0, None]}])
    {'a': [1.5, None]}
    """
    first = found[0]
    if isinstance(first, dict):
        return {name: averaged([one[name] for one in found]) for name in first}
    if isinstance(first, list):
        return [averaged(list(parts)) for parts in zip(*found, strict=True)]
    if isinstance(first, float):
        return math.fsum(found) / len(found)  # exact, so that equal numbers stay what they are
    return first


def write_predictions(directory: Path, measured: Sequence[Measured], panel: DemandPanel, *, scale: float) -> None:
    """Write ``quantiles.parquet`` and ``reorder_points.parquet`` of ours, and ``quantiles-MODEL.parquet`` of each other."""
    directory.mkdir(parents=True, exist_ok=True)
    for one in measured:
        mark = "" if one.model == OURS else f"-{one.model}"
        pairs = list(zip(one.seeds, one.found, strict=True))
        quantiles = [quantile_rows(test, panel, seed=seed, scale=scale) for seed, test in pairs]
        pd.concat(quantiles).to_parquet(directory / f"quantiles{mark}.parquet", index=False)
        points = [reorder_rows(test, panel, seed=seed, scale=scale) for seed, test in pairs]
        pd.concat(points).to_parquet(directory / f"reorder_points{mark}.parquet", index=False)


def quantile_rows(found: Backtest, panel: DemandPanel, *, seed: int, scale: float = 1.0) -> pd.DataFrame:
    """Return one row a series and period: seed, unique_id, ds, cutoff, mean, q0.1 ... q0.9; known periods only."""
    shape = found.actual.shape
    step = pd.Timedelta(days=panel.period_days)
    origins = np.array(found.origins)
    periods = origins[:, None] + np.arange(shape[2])  # [W, H]
    frame = pd.DataFrame(
        {
            "seed": seed,
            "unique_id": np.broadcast_to(_ids(panel)[:, None, None], shape).ravel(),
            "ds": np.broadcast_to(panel.start + periods * step, shape).ravel(),
            "cutoff": np.broadcast_to((panel.start + (origins - 1) * step)[:, None], shape).ravel(),
            "mean": scale * found.mean.ravel(),
            **{quantile_column(level): scale * found.quantiles[..., i].ravel() for i, level in enumerate(QUANTILES)},
        }
    )
    return frame[np.isfinite(found.actual).ravel()]


def reorder_rows(found: Backtest, panel: DemandPanel, *, seed: int, scale: float = 1.0) -> pd.DataFrame:
    """Return one row a series and window: seed, unique_id, cutoff, lead_total, and the reorder point of each level."""
    shape = found.lead_total.shape
    step = pd.Timedelta(days=panel.period_days)
    cutoffs = panel.start + (np.array(found.origins) - 1) * step
    frame = pd.DataFrame(
        {
            "seed": seed,
            "unique_id": np.broadcast_to(_ids(panel)[:, None], shape).ravel(),
            "cutoff": np.broadcast_to(cutoffs, shape).ravel(),
            "lead_total": scale * found.lead_total.ravel(),
            **{
                f"reorder_point_{100 * level:g}": scale * found.reorder_points[..., i].ravel()
                for i, level in enumerate(found.levels)
            },
        }
    )
    return frame[np.isfinite(found.lead_total).ravel()]


def peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _ids(panel: DemandPanel) -> Any:
    numbers = pd.to_numeric(pd.Series(panel.item_ids), errors="coerce")
    return panel.item_ids if numbers.isna().any() else numbers.to_numpy(np.int64)


def _plain(found: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
    return {name: {"mean": one.mean, "low": one.low, "high": one.high} for name, one in found.items()}
