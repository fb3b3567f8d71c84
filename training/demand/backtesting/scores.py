"""Metrics of forecasts as ratios of sums over series, so that any class or draw of series has its value.

Shapes: I series, M metrics.

Sums make the paired bootstrap cheap: a draw of series adds up their two columns, whatever the metric. A metric
that is a mean over series (RMSSE) is a sum of its values over a count of those that have one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.release.layout import QUANTILES
from training.demand.backtesting import metrics
from training.demand.backtesting.backtest import Backtest
from training.evaluation.bootstrap import Interval, resampled_means

Floats = npt.NDArray[np.float64]

RESAMPLES: Final = 1000  # draws of series behind an interval
_MEDIAN: Final = QUANTILES.index(0.5)
_PIT_EDGES: Final = (0.1, 0.9)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """Two sums a series and metric; over all series, the first by the second is the metric.

    Args:
        names: of the metrics.
        top: ``[I, M]``.
        bottom: ``[I, M]``, 0 where a series does not count.
    """

    names: tuple[str, ...]
    top: Floats
    bottom: Floats

    @classmethod
    def of(cls, found: Backtest, past: npt.NDArray[np.floating], *, season: int) -> Scores:
        """Score a backtest.

        Args:
            found: what was said and what came.
            past: units before its first origin, ``[I, T]``: the scale of RMSSE and of the scaled pinball loss.
            season: periods of the seasonal naive forecast whose past error is the latter's scale.
        """
        rows = len(found.actual)
        flat = found.actual.reshape(rows, -1)
        known = np.isfinite(flat)
        units = np.where(known, flat, 0.0)
        quantiles = found.quantiles.reshape(rows, flat.shape[1], -1)
        mean = np.where(known, found.mean.reshape(rows, -1), 0.0)
        columns = {
            "wql": (np.nan_to_num(metrics.pinball(flat, quantiles)).sum(1), units.sum(1)),
            "wape": (np.abs(units - np.where(known, quantiles[..., _MEDIAN], 0.0)).sum(1), units.sum(1)),
            "rmsse": metrics.rmsse_of_series(flat, found.mean.reshape(rows, -1), past),
            "spl": metrics.scaled_pinball(flat, quantiles, past, season=season),
            "bias": ((mean - units).sum(1), units.sum(1)),
            **_pit_columns(found),
            **_service_columns(found),
        }
        top, bottom = (np.stack([np.asarray(pair[i], float) for pair in columns.values()], axis=1) for i in (0, 1))
        return cls(names=tuple(columns), top=top, bottom=bottom)

    @classmethod
    def averaged(cls, seeds: Sequence[Scores]) -> Scores:
        """Return the mean over seeds, series by series: a seed is no further series."""
        return cls(
            names=seeds[0].names,
            top=np.mean([one.top for one in seeds], axis=0),
            bottom=np.mean([one.bottom for one in seeds], axis=0),
        )

    def rows(self, chosen: npt.NDArray[np.bool_]) -> Scores:
        """Return the scores of some series."""
        return Scores(names=self.names, top=self.top[chosen], bottom=self.bottom[chosen])

    def weighted(self, weight: Floats) -> Scores:
        """Return the scores with each series counted so many times, ``[I]``."""
        return Scores(names=self.names, top=self.top * weight[:, None], bottom=self.bottom * weight[:, None])

    @property
    def units(self) -> Floats:
        """Units sold in the windows, ``[I]``."""
        return self.bottom[:, self.names.index("wql")]

    def values(self) -> dict[str, float]:
        """Return each metric; one that no series counts for is left out."""
        top, bottom = self.top.sum(axis=0), self.bottom.sum(axis=0)
        return {name: float(a / b) for name, a, b in zip(self.names, top, bottom, strict=True) if b > 0}


def intervals(ours: Scores, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Interval]:
    """Return each metric with its 95% interval over draws of series."""
    return _intervals(ours, None, resamples=resamples, seed=seed)


def differences(ours: Scores, theirs: Scores, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Interval]:
    """Return ours less theirs by metric, with the 95% interval over draws of series; one draw serves both."""
    return _intervals(ours, theirs, resamples=resamples, seed=seed)


def _intervals(ours: Scores, theirs: Scores | None, *, resamples: int, seed: int) -> dict[str, Interval]:
    both = [ours] if theirs is None else [ours, theirs]
    shared = [name for name in ours.names if all(name in one.values() for one in both)]
    columns = [one.top[:, [one.names.index(name) for name in shared]] for one in both]
    columns += [one.bottom[:, [one.names.index(name) for name in shared]] for one in both]
    stacked = np.concatenate(columns, axis=1)  # [I, 2 M] or [I, 4 M]
    draws = resampled_means(stacked, resamples=resamples, seed=seed)
    means = _ratios(stacked.mean(axis=0, keepdims=True), len(both))[0]
    low, high = np.nanquantile(_ratios(draws, len(both)), [0.025, 0.975], axis=0)
    return {
        name: Interval(mean=float(means[i]), low=float(low[i]), high=float(high[i])) for i, name in enumerate(shared)
    }


def _ratios(sums: Floats, models: int) -> Floats:
    """Return tops by bottoms, of the first model less that of the second where there are two, ``[R, M]``."""
    top, bottom = np.split(sums, 2, axis=1)
    ratio = np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
    parts = np.split(ratio, models, axis=1)
    return parts[0] if models == 1 else parts[0] - parts[1]


def _pit_columns(found: Backtest) -> dict[str, tuple[Floats, Floats]]:
    count = found.pit.known.sum(axis=(1, 2)).astype(float)
    below, within = (np.nansum(found.pit.share_below(edge), axis=(1, 2)) for edge in _PIT_EDGES)
    return {"pit80": (within - below, count), "pit_low": (below, count), "pit_high": (count - within, count)}


def _service_columns(found: Backtest) -> dict[str, tuple[Floats, Floats]]:
    known = np.isfinite(found.lead_total)
    count = known.sum(axis=1).astype(float)
    columns = {}
    for level in found.service_levels:
        points = found.reorder_points[..., found.levels.index(level)]
        name = f"{100 * level:.0f}"
        columns[f"service{name}"] = (((found.lead_total <= points) & known).sum(axis=1).astype(float), count)
        columns[f"stock{name}"] = (np.where(known, points, 0.0).sum(axis=1), count)
    return columns
