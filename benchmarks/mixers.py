"""Blocks that others publish in the place of attention and a feed-forward network.

Each takes the place of ``training.retrieval.towers.Block``: ``[M, D]`` in and out, histories laid flat and sorted by
length as ``PackedHistories`` says. ``benchmarks/ablations.py`` measures them, and ``docs/retrieval.md`` says what came
of it. Towers with these blocks answer in a benchmark; they cannot be exported.

Every position is a question of its own here, so no position may see a later one; where the published form does, its
docstring says what stands in.

Shapes: ``M`` real positions, ``L`` length of a group's histories, ``H`` heads, ``D`` width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.retrieval.config import RetrievalConfig, TowerConfig
from training.retrieval.learn import Build, Lesson, build_module
from training.retrieval.module import RetrievalModule
from training.retrieval.towers import causal_attention

Lengths = list[tuple[int, int]]


class Attention(nn.Module):
    """Pre-norm causal attention as the towers have it, the residual and dropout left to the caller."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.norm = nn.LayerNorm(config.dim)
        self.query_key_value = nn.Linear(config.dim, 3 * config.dim)
        self.out = nn.Linear(config.dim, config.dim)

    def forward(self, x: Tensor, lengths: Lengths) -> Tensor:
        """Return ``[M, D]``."""
        out: Tensor = self.out(causal_attention(self.query_key_value(self.norm(x)), lengths, num_heads=self.num_heads))
        return out


class FeedForward(nn.Sequential):
    """Pre-norm feed-forward network as the towers have it, the residual left to the caller."""

    def __init__(self, config: TowerConfig) -> None:
        dim = config.dim
        super().__init__(
            nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim), nn.Dropout(config.dropout)
        )


class HSTUBlock(nn.Module):
    """Pointwise SiLU attention without softmax, gated, with a bias by distance; it has no feed-forward network.

    As in Zhai et al. 2024, "Actions speak louder than words" (HSTU), without its bias by elapsed time: the gap's bucket
    is in the block's input already, and the files that the ablations read have no instants.
    """

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.num_heads, self.dropout, self.max_length = config.num_heads, config.dropout, config.max_length
        self.input_norm = nn.LayerNorm(config.dim)
        self.gate_query_key_value = nn.Linear(config.dim, 4 * config.dim)
        self.distance_bias = nn.Parameter(torch.zeros(config.num_heads, config.max_length))
        self.attended_norm = nn.LayerNorm(config.dim)
        self.out = nn.Linear(config.dim, config.dim)

    def forward(self, x: Tensor, lengths: Lengths) -> Tensor:
        """Return ``[M, D]``."""
        gate, *qkv = F.silu(self.gate_query_key_value(self.input_norm(x))).chunk(4, dim=-1)
        groups = torch.split(torch.cat(qkv, dim=-1), _sizes(lengths))
        attended = torch.cat([self._attend_group(g, *size) for g, size in zip(groups, lengths, strict=True)])
        return x + F.dropout(self.out(self.attended_norm(attended) * gate), self.dropout, self.training)

    def _attend_group(self, qkv: Tensor, length: int, count: int) -> Tensor:
        q, k, v = qkv.view(count, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)  # [count, H, L, D / H]
        distance = _distance(length)
        scores = q @ k.transpose(-1, -2) + self.distance_bias[:, distance.clamp_min(0)]
        weights = F.silu(scores) * (distance >= 0) / self.max_length
        return (weights @ v).transpose(1, 2).reshape(count * length, -1)


class FrequencyBlock(nn.Module):
    """Attention beside a filter whose high frequencies are weighed anew; causal.

    As in Shin et al. 2024, "An attentive inductive bias for sequential recommendation beyond the self-attention"
    (BSARec): ``share * (low + beta^2 * high) + (1 - share) * attention``, in pre-norm form. BSARec filters a whole
    history padded on its left, so that an event hears later ones; it learns from one target a row for that reason. Its
    last position, the one it answers from, is a sum over the events before with weights that depend on their distance
    alone (the Dirichlet kernel). Those weights at every position give each what BSARec would give it as the last one of
    a row of its own; exact for one block, and causal for any number.

    Args:
        config: of the tower.
        share: of the filter in the sum; the published choice for Beauty.
        cutoff: BSARec's ``c``; frequencies up to its half are low.
    """

    kernel: Tensor

    def __init__(self, config: TowerConfig, *, share: float = 0.7, cutoff: int = 5) -> None:
        super().__init__()
        self.share, self.dropout = share, config.dropout
        self.norm, self.attention, self.feed_forward = nn.LayerNorm(config.dim), Attention(config), FeedForward(config)
        self.beta = nn.Parameter(torch.randn(config.dim))
        self.register_buffer("kernel", low_pass(config.max_length, cutoff), persistent=False)

    def forward(self, x: Tensor, lengths: Lengths) -> Tensor:
        """Return ``[M, D]``."""
        normed = self.norm(x)
        groups = torch.split(normed, _sizes(lengths))
        low = torch.cat([self._low(g, *size) for g, size in zip(groups, lengths, strict=True)])
        filtered = low + self.beta.square() * (normed - low)
        mixed = self.share * filtered + (1 - self.share) * self.attention(x, lengths)
        x = x + F.dropout(mixed, self.dropout, self.training)
        return x + self.feed_forward(x)

    def _low(self, x: Tensor, length: int, count: int) -> Tensor:
        distance = _distance(length)
        weights = self.kernel[distance.clamp_min(0)] * (distance >= 0)  # [L, L]
        return (weights @ x.view(count, length, -1)).view(count * length, -1)


class RecurrentBlock(nn.Module):
    """A gated linear recurrence with complex diagonal weights, then a feed-forward network.

    As in Yue et al. 2024, "Linear recurrent units for sequential recommendation" (LRURec), after Orvieto et al. 2023:
    ``h_t = decay * h_(t-1) + scale * u_t`` in each of D complex channels, read back into D real ones, behind a SiLU
    gate. Positions are mixed in log2(L) steps over the flat array, as a parallel scan.

    Args:
        config: of the tower; heads do not count.
        least: smallest modulus that a channel's decay starts from.
        most: the largest.
    """

    def __init__(self, config: TowerConfig, *, least: float = 0.4, most: float = 0.99) -> None:
        super().__init__()
        self.dropout, self.norm, self.feed_forward = config.dropout, nn.LayerNorm(config.dim), FeedForward(config)
        modulus = (torch.rand(config.dim) * (most**2 - least**2) + least**2).sqrt()
        self.log_rate = nn.Parameter(torch.log(-torch.log(modulus)))
        self.log_phase = nn.Parameter(torch.log(torch.rand(config.dim).clamp_min(1e-3) * math.pi / 10))
        self.log_scale = nn.Parameter(torch.log((1 - modulus.square()).sqrt()))
        self.inputs_and_gate = nn.Linear(config.dim, 3 * config.dim)  # real, imaginary, gate
        self.read = nn.Linear(2 * config.dim, config.dim)
        self.out = nn.Linear(config.dim, config.dim)

    def forward(self, x: Tensor, lengths: Lengths) -> Tensor:
        """Return ``[M, D]``."""
        real, imaginary, gate = self.inputs_and_gate(self.norm(x)).chunk(3, dim=-1)
        state = self.scan(torch.complex(real, imaginary) * self.log_scale.exp(), lengths)
        read = self.read(torch.cat([state.real, state.imag], dim=-1))
        x = x + F.dropout(self.out(read * F.silu(gate)), self.dropout, self.training)
        return x + self.feed_forward(x)

    def scan(self, inputs: Tensor, lengths: Lengths) -> Tensor:
        """Return every state ``[M, D]`` of complex inputs ``[M, D]``, each history from a state of 0.

        After a step of reach r, a state sums the 2 r inputs up to its own; the next step adds the state 2 r before.
        """
        position = torch.cat([torch.arange(length).repeat(count) for length, count in lengths])
        state, reach = inputs, 1
        while reach <= int(position[-1]):  # the last group is the longest
            earlier = F.pad(state[:-reach], (0, 0, reach, 0)) * (position >= reach).unsqueeze(1)
            state = state + earlier * self._decay(reach)
            reach *= 2
        return state

    def _decay(self, steps: int) -> Tensor:
        """Return the decay over so many steps, complex ``[D]``."""
        modulus = torch.exp(-steps * self.log_rate.exp())
        return torch.polar(modulus, steps * self.log_phase.exp())


def low_pass(length: int, cutoff: int) -> Tensor:
    """Return by how much an event at each distance enters the low frequencies of the newest, ``[length]``.

    Of a Fourier series of ``length`` terms the frequencies 0 to ``cutoff // 2`` are kept.

    >>> low_pass(4, 1).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    distance = torch.arange(length, dtype=torch.float64)
    waves = [torch.cos(2 * math.pi * k * distance / length) for k in range(1, cutoff // 2 + 1)]
    return ((1 + 2 * sum(waves, torch.zeros_like(distance))) / length).float()


def with_blocks(make_block: Callable[[TowerConfig], nn.Module]) -> Build:
    """Return how to build a module whose user tower has other blocks."""

    def build(lesson: Lesson, config: RetrievalConfig, **options: Any) -> RetrievalModule:
        module = build_module(lesson, config, **options)
        module.towers.users.blocks = nn.ModuleList(make_block(config.tower) for _ in range(config.tower.num_layers))
        return rebuilt(module)

    return build


def rebuilt(module: RetrievalModule) -> RetrievalModule:
    """Return a module anew, with averages of the towers as they are now."""
    kept = {"num_steps": module.num_steps, "neighbours": module.neighbours}
    return RetrievalModule(module.towers, module.batches, module.questions, module.config, **kept)


def _distance(length: int) -> Tensor:
    """Return how many events each lies before another, int64 ``[L, L]``; negative for later ones."""
    index = torch.arange(length)
    return index[:, None] - index[None, :]


def _sizes(lengths: Lengths) -> list[int]:
    return [length * count for length, count in lengths]
