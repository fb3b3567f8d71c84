"""Both towers as plain modules.

Shapes: ``M`` real positions laid flat, ``N`` items, ``V`` item codes, ``D`` width, ``H`` heads.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from features.columns import EVENT_TYPES
from features.content import Bags, ItemContent
from features.history import NUM_GAPS
from features.vocabulary import UNKNOWN
from training.retrieval.batches import PackedHistories
from training.retrieval.config import TowerConfig

_INITIAL_STD = 0.02


class ContentBag(nn.Module):
    """The mean embedding of an item's codes; 0 for an empty bag."""

    offsets: Tensor
    codes: Tensor

    def __init__(self, bags: Bags, dim: int) -> None:
        super().__init__()
        self.register_buffer("offsets", torch.from_numpy(bags.offsets), persistent=False)
        self.register_buffer("codes", torch.from_numpy(bags.codes), persistent=False)
        self.table = nn.Parameter(torch.randn(bags.num_codes, dim) * _INITIAL_STD)

    def forward(self, items: Tensor) -> Tensor:
        """Return ``[N, D]`` for item codes ``[N]``."""
        lengths = self.offsets[items + 1] - self.offsets[items]
        starts = lengths.cumsum(0) - lengths
        place = torch.arange(int(lengths.sum()), device=items.device)
        source = place + torch.repeat_interleave(self.offsets[items] - starts, lengths)
        return F.embedding_bag(self.codes[source], self.table, starts, mode="mean")


class ItemTower(nn.Module):
    """An id embedding plus content; the id is hidden at random while learning."""

    def __init__(self, num_codes: int, config: TowerConfig, content: ItemContent | None) -> None:
        super().__init__()
        self.id_dropout = config.id_dropout if content is not None else 0.0
        self.sparse = False  # gradients of the rows met alone, see sparse_rows
        self.id_table = nn.Parameter(torch.randn(num_codes, config.dim) * _INITIAL_STD)
        bags = [] if content is None else [getattr(content, field.name) for field in dataclasses.fields(content)]
        self.content = nn.ModuleList(ContentBag(bag, config.dim) for bag in bags if len(bag.codes))

    def forward(self, items: Tensor, known: Tensor | None = None) -> Tensor:
        """Return raw item vectors ``[N, D]``.

        Args:
            items: item codes ``[N]``.
            known: bool ``[N]``; where false, the id of an unknown item stands in and content must do.
        """
        hidden = torch.zeros_like(items, dtype=torch.bool) if known is None else ~known
        if self.training and self.id_dropout:
            hidden = hidden | (torch.rand(len(items), device=items.device) < self.id_dropout)
        vecs = F.embedding(torch.where(hidden, UNKNOWN, items), self.id_table, sparse=self.sparse)
        for bag in self.content:
            vecs = vecs + bag(items)
        return vecs


class Block(nn.Module):
    """Pre-norm causal attention and a feed-forward network over flat positions."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.num_heads, self.dropout = config.num_heads, config.dropout
        self.attention_norm = nn.LayerNorm(config.dim)
        self.query_key_value = nn.Linear(config.dim, 3 * config.dim)
        self.attention_out = nn.Linear(config.dim, config.dim)
        self.feed_norm = nn.LayerNorm(config.dim)
        self.feed_in = nn.Linear(config.dim, 4 * config.dim)
        self.feed_out = nn.Linear(4 * config.dim, config.dim)

    def forward(self, x: Tensor, lengths: list[tuple[int, int]]) -> Tensor:
        """Return ``[M, D]``; a position attends to itself and those before it in its own history."""
        qkv = self.query_key_value(self.attention_norm(x))
        return self.after_attention(x, causal_attention(qkv, lengths, num_heads=self.num_heads))

    def after_attention(self, x: Tensor, attended: Tensor) -> Tensor:
        """Return the block's output ``[M, D]`` from its input and what attention made of it."""
        x = x + self._drop(self.attention_out(attended))
        return x + self.feed_forward(x)

    def feed_forward(self, x: Tensor) -> Tensor:
        """Return the feed-forward update of ``[M, D]``."""
        return self._drop(self.feed_out(F.gelu(self.feed_in(self.feed_norm(x)))))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class GatedBlock(Block):
    """The same with a learned gate on what attention adds and on what the feed-forward network adds, which is SwiGLU.

    As in Borisyuk et al. 2025, "From features to transformers: redefining ranking for scalable impact" (LiGR), and in
    the modular SASRec that builds on it (eSASRec, 2025): ``x + sigmoid(gate(x)) * update(norm(x))``.
    """

    def __init__(self, config: TowerConfig) -> None:
        super().__init__(config)
        self.attention_gate = nn.Linear(config.dim, config.dim)
        self.feed_gate = nn.Linear(config.dim, config.dim)
        self.feed_in = nn.Linear(config.dim, 8 * config.dim, bias=False)  # values and their gates
        self.feed_out = nn.Linear(4 * config.dim, config.dim, bias=False)

    def after_attention(self, x: Tensor, attended: Tensor) -> Tensor:
        """Return ``[M, D]``."""
        x = x + torch.sigmoid(self.attention_gate(x)) * self._drop(self.attention_out(attended))
        return x + torch.sigmoid(self.feed_gate(x)) * self.feed_forward(x)

    def feed_forward(self, x: Tensor) -> Tensor:
        """Return the feed-forward update of ``[M, D]``."""
        value, gate = self.feed_in(self.feed_norm(x)).chunk(2, dim=-1)
        return self._drop(self.feed_out(F.silu(gate) * value))


def causal_attention(qkv: Tensor, lengths: list[tuple[int, int]], *, num_heads: int) -> Tensor:
    """Attend within each group of histories of equal length; ``[M, 3 D] -> [M, D]``."""
    groups = torch.split(qkv, [length * count for length, count in lengths])
    return torch.cat([_attend_group(g, *size, num_heads) for g, size in zip(groups, lengths, strict=True)])


def _attend_group(qkv: Tensor, length: int, count: int, num_heads: int) -> Tensor:
    dim = qkv.shape[-1] // 3
    if length == 1:  # attention to oneself alone
        return qkv[:, 2 * dim :]
    q, k, v = qkv.view(count, length, 3, num_heads, dim // num_heads).permute(2, 0, 3, 1, 4)
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # [count, H, length, D / H]
    return out.transpose(1, 2).reshape(count * length, dim)


_BLOCKS: Final[dict[str, type[Block]]] = {"attention": Block, "ligr": GatedBlock}


class UserTower(nn.Module):
    """A causal encoder: item vector, event type, time gap, price band and position in; unit vectors out."""

    def __init__(self, config: TowerConfig, *, num_price_bands: int) -> None:
        super().__init__()
        self.dropout = config.dropout
        sizes = {
            "event_type": len(EVENT_TYPES) + 1,
            "gap": NUM_GAPS,
            "price_band": num_price_bands + 1,
            "position": config.max_length,
        }
        self.tables = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(size, config.dim) * _INITIAL_STD) for name, size in sizes.items()}
        )
        self.input_norm = nn.LayerNorm(config.dim)
        self.blocks = nn.ModuleList(_BLOCKS[config.mixer](config) for _ in range(config.num_layers))
        self.output_norm = nn.LayerNorm(config.dim)

    def forward(self, item_vecs: Tensor, histories: PackedHistories) -> Tensor:
        """Return a unit vector at every position ``[M, D]``.

        Args:
            item_vecs: raw vectors of the items met ``[M, D]``.
            histories: the rest of what is known of each event.
        """
        x = item_vecs
        for name, table in self.tables.items():
            x = x + F.embedding(getattr(histories, name), table)
        x = F.dropout(self.input_norm(x), self.dropout, self.training)
        for block in self.blocks:
            x = block(x, histories.lengths)
        return F.normalize(self.output_norm(x), dim=-1)


class TwoTower(nn.Module):
    """An item tower that also feeds the user tower."""

    known: Tensor

    def __init__(
        self,
        config: TowerConfig,
        *,
        known: Tensor,
        num_price_bands: int,
        content: ItemContent | None,
    ) -> None:
        """Build both towers.

        Args:
            config: their shape.
            known: bool ``[V]``; whether the fit part holds the item, so that its id means something.
            num_price_bands: of the shop.
            content: of every item code; ``None`` to learn from ids alone.
        """
        super().__init__()
        self.config = config
        self.register_buffer("known", known, persistent=False)
        self.items = ItemTower(len(known), config, content)
        self.users = UserTower(config, num_price_bands=num_price_bands)

    def raw_items(self, items: Tensor) -> Tensor:
        """Return raw vectors ``[N, D]`` of item codes ``[N]``."""
        vecs: Tensor = self.items(items, self.known[items])
        return vecs

    def encode(self, histories: PackedHistories) -> Tensor:
        """Return a unit vector ``[M, D]`` at every position of packed histories, without gradient."""
        with torch.no_grad():
            met, place = torch.unique(histories.item, return_inverse=True)
            vecs: Tensor = self.users(self.raw_items(met)[place], histories)
        return vecs

    def unit_items(self) -> Tensor:
        """Return unit vectors of every code ``[V, D]``, without gradient."""
        return F.normalize(self.all_raw_items(), dim=-1)

    def all_raw_items(self, chunk: int = 8192) -> Tensor:
        """Return raw vectors of every code ``[V, D]``, without gradient."""
        with torch.no_grad():
            codes = torch.arange(len(self.known), device=self.known.device)
            return torch.cat([self.raw_items(part) for part in torch.split(codes, chunk)])

    def dense_methods(self) -> list[tuple[nn.Module, str]]:
        """Name what works position by position, whatever histories they lie in: what a compiler can join."""
        return [(block, "after_attention") for block in self.users.modules() if isinstance(block, Block)]
