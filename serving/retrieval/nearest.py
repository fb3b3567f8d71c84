"""FAISS as the service asks it: the nearest of all items, and exact scores of some."""

from __future__ import annotations

from typing import Any, Final

import faiss as _faiss
import numpy as np
import numpy.typing as npt

from serving.kept import kept

faiss: Any = _faiss  # its types lack most of what it holds
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

    def __init__(self, index: Any) -> None:
        faiss.omp_set_num_threads(1)
        self._index = index
        has_map = hasattr(index, "id_map")
        self._inner: Any = faiss.downcast_index(index.index) if has_map else index
        #: The code of each place, int64 ``[N]``.
        self.codes: Ints = faiss.vector_to_array(index.id_map) if has_map else np.arange(index.ntotal)
        self._reranks = isinstance(self._inner, faiss.IndexRefine)
        base = faiss.downcast_index(self._inner.base_index) if self._reranks else self._inner
        # Some indexes map what is asked by themselves: see training/retrieval/asked_space.py.
        self._maps = isinstance(base, faiss.IndexPreTransform)
        cells = faiss.downcast_index(base.index) if self._maps else base
        self._num_visited = int(cells.nprobe) if isinstance(cells, faiss.IndexIVF) else 0
        self._thoroughness = kept(self._thoroughness_of, maxsize=256)

    @property
    def num_items(self) -> int:
        """How many items it holds."""
        return int(self._index.ntotal)

    def search(self, vecs: Floats, depth: int) -> tuple[Floats, Ints]:
        """Return scores and codes of the nearest items, best first, ``[Q, depth]``; codes are -1 where there are fewer."""
        params = self._thoroughness(_rounded_up(depth))
        scores, places = self._inner.search(np.ascontiguousarray(vecs, np.float32), depth, params=params)
        return scores, np.where(places < 0, -1, self.codes[places])

    def _thoroughness_of(self, depth: int) -> Any:
        """Return the settings of a list so long: as the index was tuned, and more for a longer one, which reaches farther."""
        params = None
        if self._num_visited:
            params = faiss.SearchParametersIVF(nprobe=int(self._num_visited * max(1.0, depth / _TUNED_K)))
            if self._maps:
                params = faiss.SearchParametersPreTransform(index_params=params)
        if self._reranks:
            tuned, beyond = float(self._inner.k_factor), max(0, depth - _TUNED_K)
            reranked = tuned * (depth - beyond) + min(tuned, _RERANKED_BEYOND) * beyond
            more = {} if params is None else {"base_index_params": params}
            params = faiss.IndexRefineSearchParameters(k_factor=reranked / depth, **more)
        return params


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
