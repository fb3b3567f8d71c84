"""Network and boosted trees as one distribution: a linear opinion pool (Stone 1961), the trees being one more component.

    network: 3 negative binomials a member, share .75     trees: 1 negative binomial, share .25

What a period's trees say becomes the negative binomial of their mean and spread. Of totals they know the mean alone;
its spread, by the network's, is theirs of single periods by the network's. A pool is a mixture again, so that
quantiles, totals, samples and calibration read it like any other.

Shapes: I items, H horizon, K components
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.demand.network.distributions import CountMixture
from training.demand.network.model import DemandModel

if TYPE_CHECKING:
    from training.demand.boosted.trees import BoostedTrees

_LEAST_MEAN: Final = 1e-3
_WIDTH: Final = 2 * NormalDist().inv_cdf(0.9)  # standard deviations from the first level to the last
_LEAST_EXCESS: Final = 1.02  # variance by mean: hardly more than Poisson


@dataclass(frozen=True, kw_only=True, eq=False)
class PooledModel:
    """A trained network and boosted trees.

    Args:
        network: in evaluation mode.
        trees: have learnt from the same periods as the network was fitted on.
        share: of the trees in every forecast, in (0, 1].
    """

    network: DemandModel
    trees: BoostedTrees
    share: float

    def pooled(self, single: CountMixture, total: CountMixture, *, origin: int) -> tuple[CountMixture, CountMixture]:
        """Return the network's distributions from an origin, ``[I, H]`` both, with the trees' share in them."""
        trees = tree_components(self.trees.quantiles(origin), single, total)
        return pool(single, trees[0], self.share), pool(total, trees[1], self.share)


AnyModel = DemandModel | PooledModel


def share_of(model: AnyModel) -> float:
    """Return the share of trees in a model's forecasts."""
    return model.share if isinstance(model, PooledModel) else 0.0


def tree_components(
    quantiles: npt.NDArray[np.floating], single: CountMixture, total: CountMixture
) -> tuple[CountMixture, CountMixture]:
    """Return what trees say as negative binomials of periods and of totals, ``[I, H, 1]`` both.

    Args:
        quantiles: of periods, in order, ``[I, H, Q]``; the first level is .1 and the last .9.
        single: of the network, ``[I, H]``.
        total: of the network, of the first 1 .. H periods.
    """
    units = torch.from_numpy(np.asarray(quantiles, np.float64))
    mean = units.mean(-1).clamp(min=_LEAST_MEAN)
    variance = ((units[..., -1] - units[..., 0]) / _WIDTH).square()
    variance = torch.maximum(variance, mean * _LEAST_EXCESS)
    total_mean = mean.cumsum(1)
    # Relative spread of periods, theirs by the network's, each period as heavy as its variance is.
    at_network = variance * (single.mean / mean).square()
    wider = at_network.cumsum(1) / single.variance.clamp(min=_LEAST_MEAN).cumsum(1)
    total_variance = total.variance * (total_mean / total.mean.clamp(min=_LEAST_MEAN)).square() * wider
    total_variance = torch.maximum(total_variance, total_mean * _LEAST_EXCESS)
    return _binomials(mean, variance), _binomials(total_mean, total_variance)


def pool(network: CountMixture, trees: CountMixture, share: float) -> CountMixture:
    """Return the mixture of both, ``[..., K + 1]``; the trees have ``share`` of it."""
    log_shares = torch.log(torch.tensor([1 - share, share], dtype=network.log_weight.dtype).clamp(min=1e-30))
    return CountMixture(
        log_weight=torch.cat([network.log_weight + log_shares[0], trees.log_weight + log_shares[1]], dim=-1),
        log_mean=torch.cat([network.log_mean, trees.log_mean], dim=-1),
        log_size=torch.cat([network.log_size, trees.log_size], dim=-1),
    )


def _binomials(mean: Tensor, variance: Tensor) -> CountMixture:
    log_mean = mean.log()[..., None].float()
    log_size = (mean.square() / (variance - mean)).log()[..., None].float()
    return CountMixture(log_weight=torch.zeros_like(log_mean), log_mean=log_mean, log_size=log_size)
