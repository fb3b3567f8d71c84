"""The processes of one training, called ranks, and what they tell each other.

Every rank calls the same methods in the same order: a call returns once all of them have made it. One rank alone gets
back what it gave.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from scipy import sparse
from torch import Tensor

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranks:
    """This process among those of a training.

    Args:
        rank: number of this one, from 0.
        of: how many there are.
        local_rank: number of this one among those of its host.
        local_of: how many its host has.
        patient: a group without a time limit worth the name, for what only the first rank does.
    """

    rank: int = 0
    of: int = 1
    local_rank: int = 0
    local_of: int = 1
    patient: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this rank tracks, writes and speaks for all."""
        return self.rank == 0

    @property
    def num_hosts(self) -> int:
        """Hosts, each with as many ranks as this one's."""
        return self.of // self.local_of

    def sum(self, values: npt.ArrayLike) -> Array:
        """Return the sum over ranks of arrays of one shape."""
        return self._reduced(values, dist.ReduceOp.SUM)

    def largest(self, values: npt.ArrayLike) -> Array:
        """Return the largest over ranks, element by element, of arrays of one shape."""
        return self._reduced(values, dist.ReduceOp.MAX)

    def gather(self, values: Tensor) -> Tensor:
        """Return the rows of all ranks, those of rank 0 first; ``[n, ...]`` in, a row count of its own for each rank."""
        if self.of == 1:
            return values
        return self._gathered(values, None)

    def gather_array(self, values: Array) -> Array:
        """Do as ``gather`` does, for numpy."""
        if self.of == 1:
            return values
        return self.gather(torch.from_numpy(np.ascontiguousarray(values))).numpy()

    def sum_sparse(self, matrix: sparse.csr_array) -> sparse.csr_array:
        """Return the sum over ranks of matrices of one shape."""
        if self.of == 1:
            return matrix
        entries = sparse.coo_array(matrix)
        row, column = (self.gather_array(np.asarray(index, np.int64)) for index in entries.coords)
        return sparse.csr_array((self.gather_array(entries.data), (row, column)), shape=matrix.shape)

    def told(self, value: Any) -> Any:
        """Return what rank 0 gave: a value that JSON knows; the others' counts for nothing.

        Whatever rank 0 did before it told may have taken long.
        """
        if self.of == 1:
            return value
        said = json.dumps(value).encode() if self.is_first else b""
        heard = self._gathered(torch.tensor(list(said), dtype=torch.uint8), self.patient)
        return json.loads(bytes(heard.tolist()))

    def wait(self) -> None:
        """Return once every rank is here, however long one of them works alone."""
        if self.of > 1:
            dist.barrier(group=self.patient)

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors with those of rank 0."""
        if self.of > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def _gathered(self, values: Tensor, group: Any) -> Tensor:
        sizes = torch.stack(self._each(torch.tensor([len(values)], device=values.device), group)).flatten().tolist()
        padded = values.new_zeros(max(sizes), *values.shape[1:])
        padded[: len(values)] = values
        return torch.cat([part[:size] for part, size in zip(self._each(padded, group), sizes, strict=True)])

    def _each(self, values: Tensor, group: Any) -> list[Tensor]:
        """Return every rank's tensor, all of one shape."""
        parts = [torch.empty_like(values) for _ in range(self.of)]
        dist.all_gather(parts, values, group=group)
        return parts

    def _reduced(self, values: npt.ArrayLike, how: Any) -> Array:
        array = np.array(values)  # a copy: it is overwritten
        if self.of > 1:
            dist.all_reduce(torch.from_numpy(array), op=how)
        return array


ALONE: Final = Ranks()
