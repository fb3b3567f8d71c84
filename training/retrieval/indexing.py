"""The FAISS index of a part: chosen by the number of items, tuned to a recall that is measured against exact search.

================  ==========================================================================================
items             index
================  ==========================================================================================
up to flat_limit  exact
up to 400,000     4 bits a dimension, all items scanned; the best are ranked again by vectors of half precision
more              the same within the nearest of 4,096 cells
================  ==========================================================================================

Why these and no others: docs/decisions/0022.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import faiss
import numpy as np
import numpy.typing as npt

from features.sequences import Sequences
from training.retrieval.ensemble import Towers
from training.retrieval.questions import user_vectors

logger = logging.getLogger(__name__)

SCANNED_LIMIT: Final = 400_000
RECALL: Final = 0.99
TOP_K: Final = 100
# So many times ``TOP_K`` items are ranked again by their vectors.
_RERANKED: Final = (4, 6, 8, 12, 16, 24, 32)
_STANDARD_ERRORS: Final = 2.0
_NUM_CELLS: Final = 4096
_CELLS_VISITED: Final = (64, 96, 128, 192, 256, 512, 1024, 4096)
_TRAINED_ON: Final = 200_000
_MOST_QUERIES: Final = 500

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class BuiltIndex:
    """An index and what is known of it.

    Args:
        index: inner product; ids are item codes.
        about: ``kind``, ``num_items``, settings, and ``recall@100`` against exact search, with what was asked.
    """

    index: faiss.Index
    about: dict[str, Any]


def build_index(vecs: Floats, candidates: Ints, *, flat_limit: int, queries: Floats | None = None) -> BuiltIndex:
    """Index the candidates, whose FAISS ids are their codes.

    Args:
        vecs: float32 ``[V, d]``.
        candidates: item codes.
        flat_limit: the most candidates that are indexed exactly.
        queries: user vectors ``[Q, d]`` by which recall is measured; the items' own where left out, which are easier.
    """
    held = np.ascontiguousarray(vecs[candidates], np.float32)
    kind = kind_for(len(held), held.shape[1], flat_limit=flat_limit)
    inner: Any = faiss.index_factory(held.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    rng = np.random.default_rng(0)
    inner.train(held[np.sort(rng.permutation(len(held))[:_TRAINED_ON])])
    index = faiss.IndexIDMap2(inner)
    index.add_with_ids(held, np.asarray(candidates, np.int64))
    about: dict[str, Any] = {"kind": kind, "num_items": len(held)}
    if kind != "Flat":
        asked = held if queries is None else np.ascontiguousarray(queries, np.float32)
        asked = asked[np.sort(rng.permutation(len(asked))[:_MOST_QUERIES])]
        about |= _tuned(inner, held, asked) | {"asked": "items" if queries is None else "users"}
    logger.info("index: %s", ", ".join(f"{name} {value}" for name, value in about.items()))
    return BuiltIndex(index=index, about=about)


def kind_for(num_items: int, dim: int, *, flat_limit: int) -> str:
    """Return what FAISS's index factory is asked for.

    >>> kind_for(100_000, 64, flat_limit=50_000)
    'PQ64x4fs,Refine(SQfp16)'
    """
    if num_items <= flat_limit:
        return "Flat"
    scan = f"PQ{dim}x4fs,Refine(SQfp16)"
    return scan if num_items <= SCANNED_LIMIT else f"IVF{_NUM_CELLS},{scan}"


def _tuned(index: faiss.IndexRefine, held: Floats, queries: Floats) -> dict[str, Any]:
    """Set the quickest settings that reach the recall, the most thorough ones where none does; they are in the file."""
    k = min(TOP_K, len(held))
    exact = exact_search(held, queries, k=k)
    base: Any = faiss.downcast_index(index.base_index)
    is_partitioned = isinstance(base, faiss.IndexIVF)
    ladder = product(_CELLS_VISITED, (8, 16, 32)) if is_partitioned else product((0,), _RERANKED)
    found: dict[str, Any] = {}
    for visited, reranked in ladder:
        index.k_factor = reranked
        if is_partitioned:
            base.nprobe = visited
        hits = hits_of(index.search(queries, k)[1], exact, held, queries)
        found = {f"recall@{TOP_K}": round(float(hits.mean()), 4), "reranked": reranked * TOP_K}
        found |= {"cells": _NUM_CELLS, "visited": visited} if is_partitioned else {}
        # Beyond chance: these queries are not the ones that will be asked.
        if hits.mean() - _STANDARD_ERRORS * hits.std() / np.sqrt(len(hits)) >= RECALL:
            break
    return found


def user_queries(towers: Towers, sequences: Sequences, *, most: int = _MOST_QUERIES) -> Floats:
    """Return the vectors of some users with a history, drawn alike each time, float32 ``[Q, d]``."""
    users = np.flatnonzero(sequences.lengths > 0)
    drawn = np.random.default_rng(0).permutation(users)[:most]
    return user_vectors(towers, sequences.take(np.sort(drawn))).numpy()


def exact_search(held: Floats, queries: Floats, *, k: int) -> Ints:
    """Return the rows of the ``k`` greatest inner products, ``[Q, k]``, best first."""
    rows: Ints = faiss.knn(queries, held, k, metric=faiss.METRIC_INNER_PRODUCT)[1]
    return rows


def recall_of(found: Ints, exact: Ints, held: Floats, queries: Floats) -> float:
    """Return the mean of ``hits_of``."""
    return float(hits_of(found, exact, held, queries).mean())


def hits_of(found: Ints, exact: Ints, held: Floats, queries: Floats) -> npt.NDArray[np.float64]:
    """Return of each query the share of places that hold an item as good as exact search has; of equal items any will do.

    Args:
        found: rows of ``held`` ``[Q, k]``, -1 where there is none.
        exact: the same as exact search has them, best first.
        held: float32 ``[N, d]``.
        queries: float32 ``[Q, d]``.
    """
    worst = np.einsum("qd,qd->q", held[exact[:, -1]], queries) - 1e-6  # [Q]
    scores = np.einsum("qkd,qd->qk", held[found], queries)
    return np.asarray(((scores >= worst[:, None]) & (found >= 0)).mean(axis=1))
