"""The demand network: windows in, count distributions out.

Shapes: B windows, L context periods, H horizon periods, D hidden size, N heads, K components.

An encoder summarises the past. For every horizon period an attention looks up the past periods whose calendar
and plan were most like it, and a decoder turns both into a count distribution around the item's level. A second
head forecasts the total of the first 1 .. H periods, because totals are not sums of quantiles.
In the manner of Das et al. (2023), "Long-term Forecasting with TiDE", with the attention in place of its
flattened context.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.demand.config import DemandConfig
from training.demand.inputs.windows import InputSizes, Windows
from training.demand.network.distributions import CountMixture

# Bounds of a component's log mean against the level, and of its log size: 1/150 to 150 times, and r from .02 to 150.
_MOST_LOG_RATIO = 5.0
_LOG_SIZE_RANGE = (-4.0, 5.0)


class ResidualBlock(nn.Module):
    """``x + MLP(norm(x))``, ``[..., D] -> [..., D]``."""

    def __init__(self, size: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(size), nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size), nn.Dropout(dropout)
        )

    def forward(self, values: Tensor) -> Tensor:
        """Return the values, refined."""
        return values + self.layers(values)


class CountHead(nn.Module):
    """``[..., D]`` and a log anchor ``[...]`` to a mixture of ``K`` negative binomials."""

    def __init__(self, size: int, num_components: int) -> None:
        super().__init__()
        self.num_components = num_components
        self.project = nn.Linear(size, 3 * num_components)
        nn.init.zeros_(self.project.weight)
        # Components start spread around the anchor: equal ones would stay equal.
        spread = torch.linspace(-1, 1, num_components) if num_components > 1 else torch.zeros(1)
        self.project.bias.data = torch.cat([torch.zeros(num_components), spread - 0.2, torch.zeros(num_components)])

    def forward(self, hidden: Tensor, log_anchor: Tensor) -> CountMixture:
        """Return the distributions, ``[...]``."""
        weight, ratio, size = self.project(hidden).split(self.num_components, dim=-1)
        return CountMixture(
            log_weight=torch.log_softmax(weight, dim=-1),
            log_mean=log_anchor[..., None] + _MOST_LOG_RATIO * torch.tanh(ratio / _MOST_LOG_RATIO),
            log_size=size.clamp(*_LOG_SIZE_RANGE),
        )


class SimilarPeriods(nn.Module):
    """For each horizon period, what happened in past periods with a like calendar and plan.

    Queries and keys come from one network, so that a period resembles itself most.
    """

    def __init__(self, sizes: InputSizes, config: DemandConfig) -> None:
        super().__init__()
        self.heads, self.head_size = config.num_heads, config.head_size
        width = self.heads * self.head_size
        self.describe = nn.Sequential(nn.Linear(sizes.plan, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        # How fast each head forgets: from not at all to the inverse square of the age.
        self.forgetting = nn.Parameter(torch.linspace(0, 2, self.heads))
        self.sharpness = nn.Parameter(torch.ones(self.heads))
        self.out_size = self.heads * sizes.context

    def forward(self, windows: Windows) -> Tensor:
        """Return what each head saw, ``[B, H, N C]``."""
        keys = self._split(self.describe(windows.context_plan))  # [B, N, L, E]
        queries = self._split(self.describe(windows.horizon_plan))  # [B, N, H, E]
        length = windows.context_mask.shape[1]
        age = torch.arange(length, 0, -1, dtype=torch.float32)
        bias = -self.forgetting[:, None] * torch.log(age)  # [N, L]
        distance = _squared_distance(queries, keys)  # [B, N, H, L]
        scores = bias[:, None] - self.sharpness[:, None, None].square() * distance
        scores = scores.masked_fill(~windows.context_mask[:, None, None], -1e4)
        seen = torch.softmax(scores, dim=-1) @ windows.context[:, None]  # [B, N, H, C]
        return seen.transpose(1, 2).flatten(2)

    def _split(self, values: Tensor) -> Tensor:
        return values.reshape(*values.shape[:2], self.heads, self.head_size).transpose(1, 2)


class DemandNetwork(nn.Module):
    """One member: the whole path from windows to distributions."""

    def __init__(self, sizes: InputSizes, config: DemandConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.embeddings = nn.ModuleList(nn.Embedding(size, config.embedding_size) for size in sizes.static)
        self.similar = SimilarPeriods(sizes, config)
        encoded = sizes.state + config.embedding_size * len(sizes.static)
        self.encode = nn.Sequential(nn.Linear(encoded, hidden), *self._blocks(config))
        ahead = sizes.plan + sizes.horizon + self.similar.out_size
        self.enter = nn.Linear(ahead, hidden)
        self.decode = nn.Sequential(*self._blocks(config), nn.LayerNorm(hidden))
        self.head = CountHead(hidden, config.num_components)
        self.total = nn.Sequential(nn.Linear(hidden + 2, hidden), *self._blocks(config)[:1], nn.LayerNorm(hidden))
        self.total_head = CountHead(hidden, config.num_components)
        for table in self.embeddings:
            assert isinstance(table, nn.Embedding)
            nn.init.normal_(table.weight, std=0.05)

    def forward(self, windows: Windows) -> tuple[CountMixture, CountMixture]:
        """Return the distribution of each horizon period and of the total of the first 1 .. H, ``[B, H]`` both."""
        static = [table(windows.static[:, column]) for column, table in enumerate(self.embeddings)]
        past = self.encode(torch.cat([windows.state, *static], dim=1))  # [B, D]
        ahead = torch.cat([windows.horizon_plan, windows.horizon, self.similar(windows)], dim=2)
        hidden = self.decode(past[:, None] + self.enter(ahead))  # [B, H, D]
        log_level = torch.log(windows.level)[:, None].expand(hidden.shape[:2])
        single = self.head(hidden, log_level)
        return single, self._totals(hidden, single)

    def _totals(self, hidden: Tensor, single: CountMixture) -> CountMixture:
        # The total's mean is anchored on the sum of means, which is right whatever the dependence; its spread is learnt.
        count = torch.arange(1, hidden.shape[1] + 1, dtype=torch.float32)
        log_sum = torch.log(single.mean.detach().cumsum(1) + 1e-6)
        about = torch.stack([torch.log(count).expand_as(log_sum), log_sum], dim=2)
        mean_hidden = hidden.cumsum(1) / count[:, None]
        return self.total_head(self.total(torch.cat([mean_hidden, about], dim=2)), log_sum)

    @staticmethod
    def _blocks(config: DemandConfig) -> list[nn.Module]:
        return [ResidualBlock(config.hidden_size, config.dropout) for _ in range(config.num_layers)]


class DemandModel(nn.Module):
    """Several networks side by side, whose forecasts are pooled."""

    def __init__(self, sizes: InputSizes, config: DemandConfig) -> None:
        super().__init__()
        self.members = nn.ModuleList(DemandNetwork(sizes, config) for _ in range(config.num_members))

    def forward(self, windows: Windows) -> tuple[CountMixture, CountMixture]:
        """Return the pooled distributions of single periods and of totals, ``[B, H]`` both."""
        found = [member(windows) for member in self.members]
        return CountMixture.pooled([single for single, _ in found]), CountMixture.pooled([total for _, total in found])


def _squared_distance(queries: Tensor, keys: Tensor) -> Tensor:
    """Return ``|q - k|²`` for ``[..., H, E]`` and ``[..., L, E]``, ``[..., H, L]``."""
    cross = queries @ keys.transpose(-1, -2)
    return queries.square().sum(-1)[..., None] - 2 * cross + keys.square().sum(-1)[..., None, :]
