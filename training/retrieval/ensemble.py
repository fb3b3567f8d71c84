"""Several towers as one: their vectors side by side in one longer unit vector.

The inner product of two such vectors is the mean of the members' cosines, so that one index and one
exported user tower serve an ensemble as they serve a single one::

    user        [u1, u2, u3] / sqrt(3)
    item        [v1, v2, v3] / sqrt(3)
    score       (u1·v1 + u2·v2 + u3·v3) / 3

Members that learned the same from different seeds err differently; the mean of their scores ranks better than any
of them (Lakshminarayanan, Pritzel and Blundell 2017, "Simple and scalable predictive uncertainty estimation using
deep ensembles").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from training.retrieval.batches import PackedHistories
from training.retrieval.config import TowerConfig
from training.retrieval.towers import TwoTower


class TowerEnsemble(nn.Module):
    """Members of one shape, asked together.

    Args:
        members: trained towers, at least one.
    """

    def __init__(self, members: Sequence[TwoTower]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def __iter__(self) -> Iterator[TwoTower]:
        return iter(cast(Sequence[TwoTower], self.members))

    @property
    def config(self) -> TowerConfig:
        """The shape of each member."""
        return next(iter(self)).config

    def encode(self, histories: PackedHistories) -> Tensor:
        """Return a unit vector ``[M, members x D]`` at every position of packed histories, without gradient."""
        return side_by_side([member.encode(histories) for member in self])

    def unit_items(self) -> Tensor:
        """Return unit vectors of every code ``[V, members x D]``, without gradient."""
        return side_by_side([member.unit_items() for member in self])


Towers = TwoTower | TowerEnsemble


def side_by_side(vecs: Sequence[Tensor]) -> Tensor:
    """Join unit vectors ``[N, D]`` of each member to unit vectors ``[N, members x D]``."""
    return torch.cat(list(vecs), dim=-1) / len(vecs) ** 0.5
