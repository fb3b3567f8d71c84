"""FAISS as the service asks it: the nearest of all items, of those that a filter leaves, and exact scores of a few."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import faiss
import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]

# The lists that an index which ranks its best again was tuned with had so many items.
_TUNED_K: Final = 100
# Of what a longer list holds beyond that, so many times its items are ranked again.
_RERANKED_BEYOND: Final = 4.0


class Nearest:
    """An index over item codes, searched on one thread.

    Args:
        index: inner product; its ids are item codes.
    """

    def __init__(self, index: faiss.Index) -> None:
        faiss.omp_set_num_threads(1)
        self._index = index
        has_map = hasattr(index, "id_map")
        self._inner: Any = faiss.downcast_index(index.index) if has_map else index
        #: The code of each place, int64 ``[N]``.
        self.codes: Ints = faiss.vector_to_array(index.id_map) if has_map else np.arange(index.ntotal)
        self._reranks = isinstance(self._inner, faiss.IndexRefine)
        base = faiss.downcast_index(self._inner.base_index) if self._reranks else self._inner
        self._num_visited = int(base.nprobe) if isinstance(base, faiss.IndexIVF) else 0

    @property
    def num_items(self) -> int:
        """How many items it holds."""
        return int(self._index.ntotal)

    @property
    def is_partitioned(self) -> bool:
        """Whether the items lie in cells, so that a search among a few looks at few."""
        return self._num_visited > 0

    def search(self, vecs: Floats, depth: int) -> tuple[Floats, Ints]:
        """Return scores and codes of the nearest items, best first, ``[Q, depth]``; codes are -1 where there are fewer."""
        params = self._reranking(_rounded_up(depth)) if self._reranks else None
        scores, places = self._inner.search(np.ascontiguousarray(vecs, np.float32), depth, params=params)
        return scores, np.where(places < 0, -1, self.codes[places])

    def search_among(self, vec: Floats, k: int, allowed: Bitmap) -> tuple[Floats, Ints]:
        """Return scores and codes of the nearest items that a bitmap marks, best first, at most ``k``.

        The fewer are marked, the more cells are visited, so that as many candidates are met.
        """
        share = allowed.num / max(1, self.num_items)
        inside = faiss.SearchParametersIVF(sel=allowed.selector, nprobe=int(self._num_visited / max(share, 1e-3)))
        params = inside
        if self._reranks:
            params = faiss.IndexRefineSearchParameters(k_factor=self._factor(k), base_index_params=inside)
        scores, places = self._inner.search(np.ascontiguousarray(vec[None], np.float32), k, params=params)
        held = places[0] >= 0
        return scores[0][held], self.codes[places[0][held]]

    @lru_cache(maxsize=256)  # noqa: B019 - one index a release, and both go together
    def _reranking(self, depth: int) -> Any:
        """Return what an index that ranks its best again is told."""
        return faiss.IndexRefineSearchParameters(k_factor=self._factor(depth))

    def _factor(self, depth: int) -> float:
        """Return how many times a list's items are ranked again: as it was tuned, less of what lies beyond."""
        tuned, beyond = float(self._inner.k_factor), max(0, depth - _TUNED_K)
        return (tuned * (depth - beyond) + min(tuned, _RERANKED_BEYOND) * beyond) / depth


class Bitmap:
    """Which places of an index a filter leaves, a bit each.

    Args:
        marked: bool ``[N]``.
    """

    def __init__(self, marked: npt.NDArray[np.bool_]) -> None:
        self._bits = np.packbits(marked, bitorder="little")  # FAISS reads them where they are
        self.num = int(marked.sum())
        self.selector = faiss.IDSelectorBitmap(len(self._bits), faiss.swig_ptr(self._bits))


def scores_of(vectors: Floats, codes: Ints, vec: Floats) -> Floats:
    """Return the inner products of some rows with a vector, float32 ``[C]``, without a copy of the rows.

    Args:
        vectors: float32 ``[V, d]``, contiguous; may be mapped from disk.
        codes: rows ``[C]``.
        vec: float32 ``[d]``.
    """
    rows, query = np.ascontiguousarray(codes, np.int64), np.ascontiguousarray(vec, np.float32)
    scores = np.empty(len(rows), np.float32)
    pointers = (faiss.swig_ptr(one) for one in (scores, query, vectors, rows))
    faiss.fvec_inner_products_by_idx(*pointers, vectors.shape[1], 1, len(rows))
    return scores


def _rounded_up(depth: int) -> int:
    """Return a depth, rounded up so that few different ones are met."""
    return depth if depth <= _TUNED_K else -(-depth // 32) * 32
