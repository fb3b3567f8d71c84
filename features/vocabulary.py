"""Ids outside, dense codes inside: the only gate between the two."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import DataError

PAD: Final = 0  # no item here
UNKNOWN: Final = 1  # an item, but none that the vocabulary holds
FIRST: Final = 2  # the first real code


@dataclass(frozen=True, kw_only=True, eq=False)
class Vocabulary:
    """Ids in a fixed order; an id's code is its position plus 2.

    Args:
        ids: distinct strings ``[V - 2]``, dtype object.
    """

    ids: npt.NDArray[np.object_]
    _index: pd.Index = field(repr=False)

    @classmethod
    def from_ids(cls, ids: Iterable[Any]) -> Vocabulary:
        """Build from distinct ids, in the order given.

        Raises:
            DataError: an id repeats or is missing.
        """
        array = np.asarray(list(ids), dtype=object)
        index = pd.Index(array, dtype=object)
        if index.hasnans:
            raise DataError("Vocabulary: expected an id in every position, found a missing one.")
        if not index.is_unique:
            repeated = index[index.duplicated()][0]
            raise DataError(f"Vocabulary: expected distinct ids, found {repeated!r} twice.")
        return cls(ids=array, _index=index)

    def __len__(self) -> int:
        """Number of codes, PAD and UNKNOWN included: the height of an embedding table."""
        return len(self.ids) + FIRST

    def __contains__(self, id_: object) -> bool:
        return id_ in self._index

    def encode(self, ids: Iterable[Any]) -> npt.NDArray[np.int32]:
        """Return the code of each id, UNKNOWN where the vocabulary does not hold it.

        >>> Vocabulary.from_ids(["a", "b"]).encode(["b", "z"]).tolist()
        [3, 1]
        """
        positions = self._index.get_indexer(pd.Index(list(ids), dtype=object))
        return np.where(positions < 0, UNKNOWN, positions + FIRST).astype(np.int32)

    def code_of(self, id_: object) -> int:
        """Return one id's code, UNKNOWN where the vocabulary does not hold it; quicker than ``encode([id_])``.

        >>> Vocabulary.from_ids(["a", "b"]).code_of("b")
        3
        """
        try:
            position = self._index.get_loc(id_)
        except KeyError:
            return UNKNOWN
        assert isinstance(position, int), "ids are distinct, so one position answers"
        return position + FIRST

    def decode(self, codes: npt.ArrayLike) -> npt.NDArray[np.object_]:
        """Return the id of each code.

        Raises:
            DataError: a code is PAD, UNKNOWN or past the end; none of them names an item.
        """
        array = np.asarray(codes)
        if array.size and (array.min() < FIRST or array.max() >= len(self)):
            raise DataError(
                f"Vocabulary: expected codes in {FIRST} .. {len(self) - 1}, found {array.min()} .. {array.max()}."
            )
        return self.ids[array - FIRST]

    def save(self, path: Path) -> None:
        """Write the ids, in order, to a Parquet file with one column ``id``."""
        pq.write_table(pa.table({"id": pa.array(self.ids, pa.string())}), path)

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read what ``save`` wrote."""
        return cls.from_ids(pq.read_table(path)["id"].to_pylist())
