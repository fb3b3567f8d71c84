"""Other bodies and heads for the demand network, for ablations: what the shipped one was chosen over.

Shapes: B windows, L context periods, H horizon periods, D hidden size, K components.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from features.release.layout import QUANTILES
from training.demand.config import DemandConfig
from training.demand.inputs.windows import InputSizes, Windows
from training.demand.network.distributions import CountMixture
from training.demand.network.model import CountHead, DemandNetwork

LEVELS: Final = torch.tensor(QUANTILES)
_NO_UNITS: Final = -12.0  # log mean of a component that is always zero


class NoSimilarPeriods(nn.Module):
    """Zeros in the place of the attention to similar periods."""

    def __init__(self, out_size: int) -> None:
        super().__init__()
        self.out_size = out_size

    def forward(self, windows: Windows) -> Tensor:
        """Return ``[B, H, out]``."""
        return windows.horizon.new_zeros(*windows.horizon.shape[:2], self.out_size)


class PooledContext(nn.Module):
    """The context pooled at several rates; each rate forecasts at its own pace and is stretched to the horizon.

    In the manner of Challu et al. (2023), "N-HiTS: Neural Hierarchical Interpolation for Time Series Forecasting".
    """

    rates: Final = (1, 2, 7)

    def __init__(self, sizes: InputSizes, config: DemandConfig, out_size: int) -> None:
        super().__init__()
        self.horizon, self.width = config.horizon, max(1, out_size // len(self.rates))
        self.rest = out_size - self.width * len(self.rates)
        self.stacks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(sizes.context * -(-config.context_length // rate), config.hidden_size),
                nn.GELU(),
                nn.Linear(config.hidden_size, self.width * -(-config.horizon // rate)),
            )
            for rate in self.rates
        )

    def forward(self, windows: Windows) -> Tensor:
        """Return ``[B, H, out]``."""
        context = windows.context.transpose(1, 2)  # [B, C, L]
        parts = [windows.horizon.new_zeros(len(context), self.rest, self.horizon)]
        for rate, stack in zip(self.rates, self.stacks, strict=True):
            pooled = nn.functional.avg_pool1d(context, rate, ceil_mode=True)
            coarse = stack(pooled.flatten(1)).reshape(len(context), self.width, -1)
            parts.append(nn.functional.interpolate(coarse, size=self.horizon, mode="linear", align_corners=False))
        return torch.cat(parts, dim=1).transpose(1, 2)


class LinearNetwork(DemandNetwork):
    """Trend and remainder of the context, the state and the plan, all through linear maps.

    In the manner of Zeng et al. (2023), "Are Transformers Effective for Time Series Forecasting?" (DLinear).
    """

    smoothing: Final = 7

    def __init__(self, sizes: InputSizes, config: DemandConfig) -> None:
        super().__init__(sizes, config)
        length = config.context_length
        self.trend, self.rest = nn.Linear(length, config.horizon), nn.Linear(length, config.horizon)
        encoded = sizes.state + config.embedding_size * len(sizes.static)
        self.encode = nn.Sequential(nn.Linear(encoded, config.hidden_size))
        self.enter = nn.Linear(sizes.plan + sizes.horizon + 2, config.hidden_size)
        self.decode = nn.Sequential()
        self.similar = nn.Identity()

    def forward(self, windows: Windows) -> tuple[CountMixture, CountMixture]:
        """Return the distribution of each horizon period and of the totals, ``[B, H]`` both."""
        static = [table(windows.static[:, column]) for column, table in enumerate(self.embeddings)]
        past = self.encode(torch.cat([windows.state, *static], dim=1))
        units = windows.context[..., 0]  # [B, L]
        trend = nn.functional.avg_pool1d(
            units[:, None], self.smoothing, stride=1, padding=self.smoothing // 2, count_include_pad=False
        )[:, 0]
        linear = torch.stack([self.trend(trend), self.rest(units - trend)], dim=2)  # [B, H, 2]
        hidden = past[:, None] + self.enter(torch.cat([windows.horizon_plan, windows.horizon, linear], dim=2))
        single = self.head(hidden, torch.log(windows.level)[:, None].expand(hidden.shape[:2]))
        return single, self._totals(hidden, single)


class ZeroInflatedHead(CountHead):
    """A mixture whose first component is always zero."""

    def forward(self, hidden: Tensor, log_anchor: Tensor) -> CountMixture:
        """Return the distributions, ``[...]``."""
        found = super().forward(hidden, log_anchor)
        zero = torch.full_like(found.log_mean[..., :1], _NO_UNITS)
        log_mean = torch.cat([zero, found.log_mean[..., 1:]], dim=-1)
        return CountMixture(log_weight=found.log_weight, log_mean=log_mean, log_size=found.log_size)


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantiles:
    """Nine rising quantiles of each cell, ``[..., 9]``, in the place of a distribution."""

    values: Tensor

    @property
    def mean(self) -> Tensor:
        """Their mean, ``[...]``."""
        return self.values.mean(-1)

    def log_prob(self, units: Tensor) -> Tensor:
        """Return less the pinball loss, by the size of what is forecast: what training makes as large as it can."""
        error = units[..., None] - self.values
        loss = torch.maximum(LEVELS * error, (LEVELS - 1) * error).mean(-1)
        return -loss / (1 + self.mean.detach().clamp(min=0)).sqrt()

    @classmethod
    def pooled(cls, members: Sequence[Quantiles]) -> Quantiles:
        """Return the mean of several forecasts, level by level."""
        return cls(values=torch.stack([one.values for one in members]).mean(0))


class QuantileHead(nn.Module):
    """``[..., D]`` and a log anchor ``[...]`` to quantiles that cannot cross."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.project = nn.Linear(size, len(QUANTILES))
        nn.init.zeros_(self.project.weight)
        self.project.bias.data = torch.tensor([-1.0] + [-1.5] * (len(QUANTILES) - 1))

    def forward(self, hidden: Tensor, log_anchor: Tensor) -> Quantiles:
        """Return the quantiles, ``[..., 9]``."""
        found = self.project(hidden)
        steps = torch.cat([found[..., :1], nn.functional.softplus(found[..., 1:])], dim=-1).cumsum(-1)
        log_units = steps + torch.log1p(log_anchor.exp())[..., None]
        return Quantiles(values=torch.expm1(log_units.clamp(-5, 10)).clamp(min=0))
