"""Distributions over whole units: mixtures of negative binomials.

Each component has a mean and a size (the dispersion parameter ``r``; variance = mean + mean² / r), as in
Salinas, Flunkert, Gasthaus (2020), "DeepAR"; a mixture adds heavier tails and, through a component of small
mean, extra zeros.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from scipy.special import betainc
from torch import Tensor

_CHUNK_CELLS: Final = 1 << 21  # probabilities held at once while quantiles are looked up
_ROUNDING: Final = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class CountMixture:
    """Mixtures of ``K`` negative binomials, one for each cell of shape ``[...]``.

    Args:
        log_weight: log shares, ``[..., K]``; they add up to 1.
        log_mean: ``[..., K]``.
        log_size: ``[..., K]``; a large size is nearly Poisson.
    """

    log_weight: Tensor
    log_mean: Tensor
    log_size: Tensor

    @classmethod
    def pooled(cls, members: Sequence[CountMixture]) -> CountMixture:
        """Return the equal mixture of several forecasts of the same cells: again a mixture, of all components."""
        log_share = torch.log(torch.tensor(1.0 / len(members)))
        return cls(
            log_weight=torch.cat([m.log_weight + log_share for m in members], dim=-1),
            log_mean=torch.cat([m.log_mean for m in members], dim=-1),
            log_size=torch.cat([m.log_size for m in members], dim=-1),
        )

    @classmethod
    def concatenated(cls, parts: Sequence[CountMixture]) -> CountMixture:
        """Return the cells of several forecasts, one after the other."""
        return cls(
            log_weight=torch.cat([part.log_weight for part in parts]),
            log_mean=torch.cat([part.log_mean for part in parts]),
            log_size=torch.cat([part.log_size for part in parts]),
        )

    @property
    def mean(self) -> Tensor:
        """Mean units, ``[...]``."""
        return (self.log_weight.exp() * self.log_mean.exp()).sum(-1)

    @property
    def variance(self) -> Tensor:
        """Variance of units, ``[...]``."""
        mean = self.log_mean.exp()
        second = mean + mean.square() * (1 + torch.exp(-self.log_size))
        return (self.log_weight.exp() * second).sum(-1) - self.mean.square()

    def at(self, *index: Tensor) -> CountMixture:
        """Return the cells that an index of the leading dimensions picks."""
        return self._map(lambda values: values[index])

    def scaled(self, log_factor: float) -> CountMixture:
        """Return the forecast with every mean times ``exp(log_factor)``; sizes stay, so spread goes along."""
        return CountMixture(log_weight=self.log_weight, log_mean=self.log_mean + log_factor, log_size=self.log_size)

    def log_prob(self, units: Tensor) -> Tensor:
        """Return the log probability of each count, ``[...]``."""
        return torch.logsumexp(self.log_weight + self._component_log_prob(units[..., None]), dim=-1)

    def cdf(self, units: Tensor) -> Tensor:
        """Return P(X <= units) of each cell, float64 ``[...]``; 0 below 0, NaN where ``units`` is NaN.

        A negative binomial's CDF is a regularised incomplete beta function (Abramowitz and Stegun, 26.5.26).
        """
        share = torch.sigmoid((self.log_size - self.log_mean).double())  # r / (r + mean)
        more = units.double().clamp(min=0).floor()[..., None] + 1  # NaN stays NaN
        components = betainc(self.log_size.double().exp().numpy(), more.numpy(), share.numpy())
        found = (self.log_weight.double().exp() * torch.from_numpy(components)).sum(-1).clamp(max=1)
        return torch.where(units < 0, 0.0, found)

    def quantiles(self, levels: Sequence[float]) -> Tensor:
        """Return, for each cell and level, the smallest whole number whose CDF reaches the level.

        Args:
            levels: ``Q`` probabilities in (0, 1).

        Returns:
            Whole numbers as float32, ``[..., Q]``.
        """
        wanted = torch.tensor(levels, dtype=torch.float64)
        return self.inverse_cdf(wanted.expand(*self.log_mean.shape[:-1], len(levels)))

    def inverse_cdf(self, levels: Tensor) -> Tensor:
        """Return the smallest whole numbers whose CDF reaches each cell's own levels.

        Args:
            levels: probabilities in (0, 1), ``[..., Q]``.

        Returns:
            Whole numbers as float32, ``[..., Q]``.
        """
        top = float(levels.max())
        wanted = levels.reshape(-1, levels.shape[-1]).double()
        flat = self._map(lambda values: values.reshape(-1, values.shape[-1]).double())
        # Cantelli's inequality: no quantile lies further above the mean than this many standard deviations.
        bound = (flat.mean + flat.variance.clamp(min=0).sqrt() * math.sqrt(top / (1 - top)) + 1).ceil()
        order = bound.argsort()
        found = torch.empty(wanted.shape)
        start = 0
        while start < len(order):
            # Cells in the order of their bound, so that a chunk's table is no wider than its cells need.
            stop = _chunk_stop(bound[order], start)
            cells = order[start:stop]
            table = flat.at(cells)._cdf_table(int(bound[cells[-1]]))
            # A level that a probability equals up to rounding counts as reached.
            sought = (wanted[cells] - _ROUNDING).contiguous()
            found[cells] = torch.searchsorted(table, sought).float()
            start = stop
        return found.reshape(levels.shape)

    def _cdf_table(self, top: int) -> Tensor:
        """P(X <= 0 .. top), float64 ``[..., top + 1]``.

        From one probability to the next: p(k) = p(k - 1) (k - 1 + r) / k x mean / (r + mean).
        """
        mixture = self._map(lambda values: values.double()[..., None])  # [..., K, 1]
        counts = torch.arange(1, top + 1, dtype=torch.float64)
        size = mixture.log_size.exp()
        log_total = torch.logaddexp(mixture.log_size, mixture.log_mean)
        first = size * (mixture.log_size - log_total)
        steps = torch.log((counts - 1 + size) / counts) + (mixture.log_mean - log_total)
        log_prob = torch.cat([first, first + steps.cumsum(-1)], dim=-1)  # [..., K, top + 1]
        return (mixture.log_weight + log_prob).exp().sum(-2).cumsum(-1)

    def _component_log_prob(self, units: Tensor) -> Tensor:
        size = self.log_size.exp()
        log_total = torch.logaddexp(self.log_size, self.log_mean)
        choose = torch.lgamma(units + size) - torch.lgamma(size) - torch.lgamma(units + 1)
        return choose + size * (self.log_size - log_total) + units * (self.log_mean - log_total)

    def _map(self, function: Callable[[Tensor], Tensor]) -> CountMixture:
        return CountMixture(
            log_weight=function(self.log_weight),
            log_mean=function(self.log_mean),
            log_size=function(self.log_size),
        )


def _chunk_stop(bounds: Tensor, start: int) -> int:
    """Return where a chunk from ``start`` ends, so that cells x (widest bound + 1) stays within the limit."""
    cells = torch.arange(1, len(bounds) - start + 1)
    fits = cells * (bounds[start:] + 1) <= _CHUNK_CELLS
    return start + max(1, int(fits.sum()))
