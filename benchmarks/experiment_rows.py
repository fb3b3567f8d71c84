"""Rows of ``benchmarks/experiments.py``: intervals tallied world by world."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from features.insight.experiments.estimates import Effect, effect
from features.insight.experiments.results import Method, means_by
from features.insight.experiments.samples import Sample
from features.insight.intervals import wilson

Floats = npt.NDArray[np.float64]
Z: Final = float(norm.isf(0.025))


@dataclass(kw_only=True)
class Tally:
    """Intervals of one metric and method, world by world."""

    truth: list[float] = field(default_factory=list)
    found: list[float] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)

    def add(self, truth: float, found: float, low: float, high: float) -> None:
        """Keep one interval."""
        for name, value in (("truth", truth), ("found", found), ("low", low), ("high", high)):
            getattr(self, name).append(value)

    @property
    def width(self) -> Floats:
        """Widths, ``[W]``."""
        return np.array(self.high) - np.array(self.low)

    @property
    def hits(self) -> int:
        """How many contain the truth."""
        return int(((np.array(self.low) <= self.truth) & (np.array(self.high) >= self.truth)).sum())


def row(
    model: str, metrics: dict[str, float], *, interval: Any = None, config: Any = None, note: str = ""
) -> dict[str, Any]:
    return {
        "model": model,
        "metrics": metrics,
        "interval": interval or {},
        "per_seed": {},
        "fit_cpu_s": 0.0,
        "fit_wall_s": 0.0,
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "config": config or {},
        "note": note,
    }


def share_of(hits: int, of: int) -> tuple[float, list[float]]:
    low, high = wilson(hits, of)
    return hits / of, [float(low), float(high)]


def estimated(sample: Sample, method: Method) -> Effect:
    means = means_by(sample, method).means
    return effect(means[1], means[0])


def interval_of(sample: Sample, method: Method) -> tuple[float, float, float]:
    one = estimated(sample, method)
    return one.difference, one.low, one.high


def interval_row(
    name: str,
    method: str,
    tally: Tally,
    tallies: dict[tuple[str, str], Tally],
    *,
    oracle_width: float | Floats | None,
    label: str,
) -> dict[str, Any]:
    coverage, bounds = share_of(tally.hits, len(tally.truth))
    gaps = np.array(tally.found) - tally.truth
    metrics = {
        "coverage": coverage,
        "width_over_plain": float(np.median(tally.width / tallies[name, "plain"].width)),
        "effect": float(np.mean(tally.truth)),
        "bias_in_se": float(gaps.mean() / (gaps.std() / np.sqrt(len(gaps)))),
        "found_effect": float(np.mean((np.array(tally.low) > 0) | (np.array(tally.high) < 0))),
    }
    if oracle_width is not None:
        metrics["width_ratio"] = float(np.median(tally.width / oracle_width))
    model = {"cuped": "footfall", "plain": "footfall, no past", "oracle": "oracle"}[method]
    return row(
        model,
        metrics,
        interval={"coverage": bounds},
        config={"world": label, "metric": name, "worlds": len(tally.truth)},
        note="bias_in_se: mean error over its standard error; found_effect: share of intervals without 0",
    )
