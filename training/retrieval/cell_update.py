"""Items come and go between trainings: cells and directions stay as they were learned, their lists change."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import faiss as _faiss
import numpy as np
import numpy.typing as npt

from features.release import layout
from training.retrieval.cells import (
    TOP_K,
    Cells,
    Entries,
    entries_of,
    exact_rows,
    file_facts,
    opened,
    split_queries,
    tuned,
    write_search,
    write_shards,
)
from training.retrieval.clusters import Clusters

faiss: Any = _faiss
_NUM_ASKED: Final = 500

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]


def update_cells(
    source: Path, target: Path, vecs: Floats, candidates: Ints, *, queries: Floats | None, recall: float
) -> dict[str, Any]:
    """Write the index of one directory into another, with what came and without what went; return what is known of it.

    An item that stays keeps its place: its vector is taken to be what it was. The search is tuned again.

    Args:
        source: holds an index in shards.
        target: gets one; already holds the item vectors.
        vecs: float32 ``[V, d]``.
        candidates: what it is to hold, rising.
        queries: user vectors ``[Q, d]`` that tune; the items' own where left out.
        recall: to be reached.
    """
    started = time.perf_counter()
    index, kept_alive, before = opened(source)
    lists, base = kept_alive[0], faiss.downcast_index(index.index)
    new, gone = np.setdiff1d(candidates, before), np.setdiff1d(before, candidates)
    arrived = learned(source)
    arrived.add(vecs, new)
    names = write_shards(target, _changed(lists, arrived, gone), code_size=base.code_size)
    arrived.base.reset()
    np.save(target / layout.INDEX_DIRECTIONS, arrived.of_items)
    write_search(target, arrived.index, candidates, names, {"visited": 1, "reranked": TOP_K})
    changed, kept_too, codes = opened(target)
    asked = split_queries(vecs, candidates, queries, _NUM_ASKED)[0]
    found = tuned(changed, vecs, asked, exact_rows(vecs, codes, asked, k=TOP_K), recall=recall)
    write_search(target, arrived.index, candidates, names, found)
    del kept_too
    about = {"num_items": len(candidates), "asked": "items" if queries is None else "users"} | found
    about |= file_facts(target, names, len(candidates)) | {"added": len(new), "removed": len(gone)}
    return about | {"update_s": round(time.perf_counter() - started, 1)}


def learned(directory: Path) -> Cells:
    """Return the cells of a written index, without items: how it maps items follows from its files."""
    index = faiss.read_index(str(directory / layout.INDEX))
    base = faiss.downcast_index(index.index)
    means = faiss.downcast_index(base.quantizer).reconstruct_n(0, base.nlist)
    of_items = np.load(directory / layout.INDEX_DIRECTIONS)
    return Cells(
        index=index,
        of_items=of_items,
        clusters=Clusters.over(np.ascontiguousarray(means[:, : len(of_items)])),
        share=1.0,
    )


def _changed(lists: Any, arrived: Cells, gone: Ints) -> Iterator[Entries]:
    """Yield each cell as it is to be: what stays in its order, then what came."""
    for (ids, codes), (new_ids, new_codes) in zip(entries_of(lists), arrived.entries(), strict=True):
        stays = ~np.isin(ids, gone)
        merged_ids, merged = np.concatenate([ids[stays], new_ids]), np.concatenate([codes[stays], new_codes])
        order = np.argsort(merged_ids, kind="stable")
        yield merged_ids[order], merged[order]
