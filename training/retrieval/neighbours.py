"""What item-kNN knows, as soft targets: a share of each target's weight goes to the neighbours of its history.

A log of a few events a user says little about which items go together; co-occurrence counted over all users says
more, and a tower that learns only from next items has to find it anew. So a part of the softmax's target is what
item-kNN would show: for a history ``a b c`` whose items have neighbour distributions ``P(. | item)``,

    soft target = (P(. | c) + decay P(. | b) + decay^2 P(. | a)) / (1 + decay + decay^2)

This is distillation (Hinton, Vinyals and Dean 2015) from a teacher that costs seconds. Of the softmax only the
numerator changes, and there the expected vector of the neighbours stands for the neighbours themselves: one sparse
product over the catalogue, and one small product a history, whatever the number of neighbours.

Shapes: ``M`` positions, ``V`` item codes, ``D`` width.
"""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from features.sequences import Sequences
from training.evaluation.baselines.item_knn import item_similarity
from training.parallel.ranks import ALONE, Ranks
from training.retrieval.batches import PackedHistories

_SHRINKAGE: Final = 10.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbours:
    """A distribution over neighbours for each item.

    Args:
        rows: sparse CSR float32 ``[V, V]``; a row sums to 1, or is empty.
        columns: its transpose, CSR too.
        has: 1 where a row is not empty, float32 ``[V]``.
        decay: weight of an event of the history relative to the one after it.
    """

    rows: Tensor
    columns: Tensor
    has: Tensor
    decay: float

    def to(self, device: torch.device) -> Neighbours:
        """Return the same on a device."""
        moved = {name: getattr(self, name).to(device) for name in ("rows", "columns", "has")}
        return dataclasses.replace(self, **moved)

    @classmethod
    def fit(
        cls,
        sequences: Sequences,
        *,
        candidates: npt.NDArray[np.integer],
        num_codes: int,
        most: int,
        decay: float,
        ranks: Ranks = ALONE,
    ) -> Neighbours:
        """Take the ``most`` candidates most similar to each item, in proportion to their similarity.

        Args:
            sequences: the fit part.
            candidates: item codes that can be recommended.
            num_codes: V.
            most: neighbours kept an item.
            decay: see above.
            ranks: whose sequences count together.
        """
        shown = np.zeros(num_codes, bool)
        shown[candidates] = True
        similarity = item_similarity(
            sequences, candidates=shown, shrinkage=_SHRINKAGE, num_neighbours=most, ranks=ranks
        )
        total = np.asarray(similarity.sum(axis=1), np.float32).ravel()
        rows = sparse.csr_array(sparse.diags_array(1 / np.maximum(total, 1e-9)) @ similarity).astype(np.float32)
        has = torch.from_numpy((total > 0).astype(np.float32))
        return cls(rows=_csr(rows), columns=_csr(sparse.csr_array(rows.T)), has=has, decay=decay)

    def expected(self, unit_items: Tensor, histories: PackedHistories) -> tuple[Tensor, Tensor]:
        """Return each position's expected neighbour vector ``[M, D]`` and how much of a distribution it had ``[M]``.

        Args:
            unit_items: unit vectors of all items ``[V, D]``, with gradient.
            histories: whose items up to each position are asked.
        """
        of_item: Tensor = _SparseProduct.apply(self.rows, self.columns, unit_items)  # type: ignore[no-untyped-call]
        vecs = self._faded(of_item[histories.item], histories.lengths)
        mass = self._faded(self.has[histories.item].unsqueeze(1), histories.lengths)
        return vecs, mass.squeeze(1)

    def _faded(self, values: Tensor, lengths: list[tuple[int, int]]) -> Tensor:
        """Return the weighted mean of each position and those before it in its history; ``[M, *]`` both."""
        groups = torch.split(values, [length * count for length, count in lengths])
        faded = [
            (self._weights(length, group.device) @ group.view(count, length, -1)).view(length * count, -1)
            for group, (length, count) in zip(groups, lengths, strict=True)
        ]
        return torch.cat(faded)

    def _weights(self, length: int, device: torch.device | None = None) -> Tensor:
        """Return row-normalised weights ``[length, length]`` of the events before, and of itself.

        >>> nobody = torch.zeros(0)
        >>> Neighbours(rows=nobody, columns=nobody, has=nobody, decay=0.5)._weights(2).tolist()
        [[1.0, 0.0], [0.3333333432674408, 0.6666666865348816]]
        """
        index = torch.arange(length, device=device)
        weights = torch.tril(torch.pow(self.decay, (index[:, None] - index[None, :]).clamp_min(0).float()))
        return weights / weights.sum(dim=1, keepdim=True)


class _SparseProduct(torch.autograd.Function):
    """``rows @ dense``; the gradient is taken with the transpose made once."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, columns: Tensor, dense: Tensor) -> Tensor:
        ctx.save_for_backward(columns)
        return rows @ dense

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, Tensor]:
        (columns,) = ctx.saved_tensors
        return None, None, columns @ grads[0]


def _csr(matrix: sparse.csr_array) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int64)),
            torch.from_numpy(matrix.indices.astype(np.int64)),
            torch.from_numpy(matrix.data.astype(np.float32)),
            size=matrix.shape,
            check_invariants=False,
        )
