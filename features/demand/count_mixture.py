"""Mixtures of negative binomials in numpy: what serving reads of an exported demand network.

Each component has a mean and a size (the dispersion parameter ``r``; variance = mean + mean² / r). The trained side
is ``training.demand.network.distributions``; tests hold the two equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

_CHUNK_CELLS: Final = 1 << 18  # probabilities held at once while quantiles are looked up
_ROUNDING: Final = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class CountMixture:
    """Mixtures of ``K`` negative binomials, one for each cell of shape ``[...]``.

    Args:
        log_weight: log shares, ``[..., K]``; they add up to 1.
        log_mean: ``[..., K]``.
        log_size: ``[..., K]``; a large size is nearly Poisson.
    """

    log_weight: Floats
    log_mean: Floats
    log_size: Floats

    @property
    def mean(self) -> Floats:
        """Mean units, ``[...]``."""
        return np.exp(self.log_weight + self.log_mean).sum(-1)

    @property
    def variance(self) -> Floats:
        """Variance of units, ``[...]``."""
        mean = np.exp(self.log_mean)
        second = mean + mean**2 * (1 + np.exp(-self.log_size))
        return (np.exp(self.log_weight) * second).sum(-1) - self.mean**2

    def at(self, *index: int | slice | npt.NDArray[np.integer]) -> CountMixture:
        """Return the cells that an index of the leading dimensions picks."""
        return self._map(lambda values: values[index])

    def scaled(self, log_factor: float) -> CountMixture:
        """Return the forecast with every mean times ``exp(log_factor)``; sizes stay, so spread goes along."""
        return CountMixture(
            log_weight=self.log_weight, log_mean=self.log_mean + np.float32(log_factor), log_size=self.log_size
        )

    def cdf(self, units: Floats) -> npt.NDArray[np.float64]:
        """Return P(X <= units) of each cell, ``[...]``; 0 below 0, NaN where ``units`` is NaN.

        A negative binomial's CDF is a regularised incomplete beta function (Abramowitz and Stegun, 26.5.26).
        """
        log_ratio = np.asarray(self.log_mean, np.float64) - self.log_size
        more = np.floor(np.maximum(units, 0))[..., None] + 1  # NaN stays NaN
        from scipy.special import betainc  # noqa: PLC0415 - a quarter of a second that a start need not wait for

        components = betainc(np.exp(np.asarray(self.log_size, np.float64)), more, 1 / (1 + np.exp(log_ratio)))
        found = np.minimum((np.exp(self.log_weight) * components).sum(-1), 1.0)
        return np.where(np.asarray(units) < 0, 0.0, found)

    def quantiles(self, levels: Sequence[float]) -> npt.NDArray[np.int64]:
        """Return, for each cell and level, the smallest whole number whose CDF reaches the level.

        Args:
            levels: ``Q`` probabilities in (0, 1).

        Returns:
            Whole numbers, ``[..., Q]``.
        """
        top = max(levels)
        flat = self._map(lambda values: np.asarray(values, np.float64).reshape(-1, values.shape[-1]))
        # Cantelli's inequality: no quantile lies further above the mean than this many standard deviations.
        spread = np.sqrt(np.maximum(flat.variance, 0)) * math.sqrt(top / (1 - top))
        bound = np.ceil(flat.mean + spread + 1).astype(np.int64)
        order = np.argsort(bound, kind="stable")
        found = np.empty((len(order), len(levels)), np.int64)
        start = 0
        while start < len(order):
            # Cells in the order of their bound, so that a chunk's table is no wider than its cells need.
            cells = order[start : _chunk_stop(bound[order], start)]
            table = flat.at(cells)._cdf_table(int(bound[cells[-1]]))
            for column, level in enumerate(levels):  # a level that a probability equals up to rounding is reached
                found[cells, column] = (table < level - _ROUNDING).sum(axis=1)
            start += len(cells)
        return found.reshape(*np.shape(self.log_mean)[:-1], len(levels))

    def _cdf_table(self, top: int) -> npt.NDArray[np.float64]:
        """P(X <= 0 .. top), ``[N, top + 1]``.

        From one probability to the next: p(k) = p(k - 1) (k - 1 + r) / k x mean / (r + mean).
        """
        counts = np.arange(1, top + 1)
        total = np.zeros((len(self.log_mean), top + 1))
        for component in range(self.log_mean.shape[1]):  # one at a time: K tables at once would be K times the memory
            size = np.exp(self.log_size[:, component, None])  # [N, 1]
            log_total = np.logaddexp(self.log_size[:, component, None], self.log_mean[:, component, None])
            log_prob = np.empty_like(total)
            log_prob[:, :1] = size * (self.log_size[:, component, None] - log_total)
            steps = np.log((counts - 1 + size) / counts) + (self.log_mean[:, component, None] - log_total)
            log_prob[:, 1:] = log_prob[:, :1] + np.cumsum(steps, axis=1)
            total += np.exp(self.log_weight[:, component, None] + log_prob)
        return np.cumsum(total, axis=1)

    def _map(self, function: Callable[[Floats], Floats]) -> CountMixture:
        return CountMixture(
            log_weight=function(self.log_weight),
            log_mean=function(self.log_mean),
            log_size=function(self.log_size),
        )


def _chunk_stop(bounds: npt.NDArray[np.int64], start: int) -> int:
    """Return where a chunk from ``start`` ends, so that cells x (widest bound + 1) stays within the limit."""
    width = np.arange(1, len(bounds) - start + 1) * (bounds[start:] + 1)
    return start + max(1, int(np.searchsorted(width, _CHUNK_CELLS, side="right")))
