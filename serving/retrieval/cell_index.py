"""An index whose lists stay on disk: workers of one machine map the same pages, and start without reading them.

Written by ``training/retrieval/cells.py``; asked as ``Nearest`` is. What the visited cells hold best, by a byte a direction, is
ranked again by the item vectors themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import faiss as _faiss
import numpy as np
import numpy.typing as npt

from features.errors import ReleaseError
from features.files import read_json
from features.release import layout
from serving.retrieval.nearest import scores_of

faiss: Any = _faiss
Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]

FORMAT: Final = 1
_TUNED_K: Final = 100


class CellIndex:
    """Cells of items, mapped from disk.

    Args:
        directory: of the part.
        vectors: float32 ``[V, d]``, contiguous; may be mapped from disk.

    Raises:
        ReleaseError: the files are of another format or do not fit together.
    """

    def __init__(self, directory: Path, vectors: Floats) -> None:
        faiss.omp_set_num_threads(1)
        plan = _plan(directory / layout.INDEX_SEARCH)
        self._vectors = np.asarray(vectors)
        self._visited, self._reranked = int(plan["visited"]), int(plan["reranked"])
        #: The code of each item that it holds, int32 ``[N]``, rising.
        self.codes: Ints = np.asarray(np.load(directory / layout.INDEX_CODES, mmap_mode="r", allow_pickle=False))
        self._index = faiss.read_index(str(directory / layout.INDEX))
        self._cells = faiss.downcast_index(self._index.index)
        self._shards = [_mapped(directory / name) for name in plan["shards"]]
        if sum(shard.nlist for shard in self._shards) != self._cells.nlist:
            raise ReleaseError(
                f"{directory}: expected shards of {self._cells.nlist} cells in all; export the part again."
            )
        pointers = faiss.InvertedListsPtrVector()
        for shard in self._shards:
            pointers.push_back(shard)
        self._lists = faiss.VStackInvertedLists(len(self._shards), pointers.data())
        self._cells.replace_invlists(self._lists, False)

    @property
    def dim(self) -> int:
        """Width of what is asked."""
        return int(self._index.d)

    @property
    def num_items(self) -> int:
        """How many items it holds."""
        return len(self.codes)

    def search(self, vecs: Floats, depth: int) -> tuple[Floats, Ints]:
        """Return scores and codes of the nearest items, best first, ``[Q, depth]``; codes are -1 where there are fewer."""
        deeper = max(1.0, depth / _TUNED_K)
        wanted = max(depth, min(self.num_items, int(self._reranked * deeper)))
        cells = faiss.SearchParametersIVF(nprobe=min(self._cells.nlist, int(self._visited * deeper)))
        params = faiss.SearchParametersPreTransform(index_params=cells)
        vecs = np.ascontiguousarray(vecs, np.float32)
        found = self._index.search(vecs, wanted, params=params)[1]
        scores = np.full((len(vecs), depth), -np.inf, np.float32)
        codes = np.full((len(vecs), depth), -1, np.int64)
        for row, vec in enumerate(vecs):
            held = found[row][found[row] >= 0]
            exact = scores_of(self._vectors, held, vec)
            best = _best(exact, held, depth)
            scores[row, : len(best)], codes[row, : len(best)] = exact[best], held[best]
        return scores, codes


def _best(scores: Floats, codes: Ints, number: int) -> Ints:
    """Return the places of the greatest scores, best first; ties go to the smaller code."""
    kept = np.argpartition(-scores, number)[:number] if len(scores) > number else np.arange(len(scores))
    return np.asarray(kept[np.lexsort((codes[kept], -scores[kept]))])


def _mapped(path: Path) -> Any:
    try:
        lists = faiss.read_InvertedLists(faiss.FileIOReader(str(path)), faiss.IO_FLAG_MMAP)
    except RuntimeError as error:
        raise ReleaseError(f"{path}: expected lists of an index, found {error}; export the part again.") from None
    lists.prefetch_nthread = 0  # by itself it starts 32 threads a search to touch the pages
    return lists


def _plan(path: Path) -> dict[str, Any]:
    plan: dict[str, Any] = read_json(path)
    if plan.get("format") != FORMAT:
        raise ReleaseError(f"{path}: expected format {FORMAT}, found {plan.get('format')}; upgrade Footfall.")
    return plan
