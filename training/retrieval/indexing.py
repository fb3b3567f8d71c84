"""The FAISS index of a part: chosen by the number of items, tuned to a recall that is measured against exact search.

================  ==========================================================================================
items             index
================  ==========================================================================================
up to flat_limit  exact
up to 400,000     4 bits a dimension, all items scanned; the best are ranked again by vectors of half precision
up to 2,000,000   within some of 4,096 cells: where users ask about few directions, a byte for each of these,
                  and the best ranked again; else, or where that does not reach the recall, 4 bits a dimension
more              up to 16,384 cells, a byte a direction, in shards on disk (``training/retrieval/cells.py``)
================  ==========================================================================================

Why these and no others: docs/decisions/0022 and 0036.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import faiss
import numpy as np
import numpy.typing as npt

from features.release import layout
from features.sequences import Sequences
from training.retrieval.asked_space import AskedSpace, cells_of, index_in
from training.retrieval.cells import build_cells, index_codes
from training.retrieval.ensemble import Towers
from training.retrieval.questions import user_vectors

logger = logging.getLogger(__name__)

SCANNED_LIMIT: Final = 400_000
WHOLE_LIMIT: Final = 2_000_000  # beyond, nothing is held whole: neither vectors nor lists
RECALL: Final = 0.99
TOP_K: Final = 100
# So many times ``TOP_K`` items are ranked again by their vectors.
_RERANKED: Final = (4, 6, 8, 12, 16, 24, 32)
_STANDARD_ERRORS: Final = 2.0
_NUM_CELLS: Final = 4096
_CELLS_VISITED: Final = (64, 96, 128, 192, 256, 384, 512, 768, 1024, 4096)
# With the coordinate of a cell's spread multiples of 8, which FAISS reads quickly.
_DIRECTIONS: Final = (15, 23, 31)
_DIRECTIONS_SHARE: Final = 0.995  # of the variance of scores that they hold, or they are not tried
# Of the cells, beyond which 4 bits a dimension are read as quickly.
_MOST_VISITED: Final = 0.25
_TRAINED_ON: Final = 200_000
_MOST_QUERIES: Final = 500
_MOST_USERS: Final = 4_000  # whose vectors are worked out: those beyond the queries tell where users ask

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


def write_index(
    directory: Path,
    vecs: Floats,
    candidates: Ints,
    *,
    flat_limit: int,
    queries: Floats | None = None,
    least_recall: float = 0.98,
) -> dict[str, Any]:
    """Write the index of a part, in one file or in shards; return what the manifest says of it.

    ``reaches_bar`` says whether the recall that was measured is at least ``bar``: a build that misses it is logged.

    Args:
        directory: of the part's draft.
        vecs: float32 ``[V, d]``, may be mapped from disk.
        candidates: item codes, rising.
        flat_limit: the most candidates that are indexed exactly.
        queries: user vectors ``[Q, d]`` by which recall is measured; the items' own where left out, which are easier.
        least_recall: the bar.
    """
    if len(candidates) > WHOLE_LIMIT:
        about = build_cells(directory, vecs, candidates, queries=queries, recall=least_recall)
        logger.info("index: %s", ", ".join(f"{name} {value}" for name, value in about.items()))
    else:
        built = build_index(vecs, candidates, flat_limit=flat_limit, queries=queries)
        faiss.write_index(built.index, str(directory / layout.INDEX))
        about = built.about
        if (found := about.get(f"recall@{TOP_K}")) is not None:
            about |= {"bar": least_recall, "reaches_bar": found >= least_recall}
    warn_of(about)
    return about


def warn_of(about: dict[str, Any]) -> None:
    """Log an index that misses its bar."""
    if not about.get("reaches_bar", True):
        logger.warning(
            "index: recall@%d is %s, expected at least %s; items are missing from lists. Add cells or lower least_index_recall.",
            *(TOP_K, about[f"recall@{TOP_K}"], about["bar"]),
        )


def codes_of(index: Path) -> Ints:
    """Return the item codes that a written index holds, rising."""
    if (index.parent / layout.INDEX_SEARCH).exists():
        return index_codes(index.parent)
    held: Any = faiss.read_index(str(index))
    return np.sort(faiss.vector_to_array(held.id_map))


def build_index(vecs: Floats, candidates: Ints, *, flat_limit: int, queries: Floats | None = None) -> BuiltIndex:
    """Index the candidates, whose FAISS ids are their codes.

    Args:
        vecs: float32 ``[V, d]``.
        candidates: item codes.
        flat_limit: the most candidates that are indexed exactly.
        queries: user vectors ``[Q, d]`` by which recall is measured; the items' own where left out, which are easier.
    """
    held = np.ascontiguousarray(vecs[candidates], np.float32)
    inner, about = _chosen(held, queries, flat_limit=flat_limit)
    index = _with_codes(inner, candidates)
    logger.info("index: %s", ", ".join(f"{name} {value}" for name, value in about.items()))
    return BuiltIndex(index=index, about=about)


def _with_codes(inner: Any, codes: Ints) -> faiss.IndexIDMap2:
    """Return an index whose rows go by their codes."""
    inner.ntotal = 0  # FAISS wants it empty here
    index = faiss.IndexIDMap2(inner)
    inner.ntotal = index.ntotal = len(codes)
    faiss.copy_array_to_vector(np.asarray(codes, np.int64), index.id_map)
    index.construct_rev_map()
    return index


def _chosen(held: Floats, queries: Floats | None, *, flat_limit: int) -> tuple[Any, dict[str, Any]]:
    """Return the first kind that reaches the recall, the last where none does, and what is known of it."""
    kind = kind_for(len(held), held.shape[1], flat_limit=flat_limit)
    about: dict[str, Any] = {"kind": kind, "num_items": len(held)}
    rng = np.random.default_rng(0)
    trained_on = np.sort(rng.permutation(len(held))[:_TRAINED_ON])
    users = held if queries is None else np.ascontiguousarray(queries, np.float32)
    drawn = rng.permutation(len(users))
    asked, others = users[np.sort(drawn[:_MOST_QUERIES])], users[np.sort(drawn[_MOST_QUERIES:])]
    if kind != "Flat":
        about["asked"] = "items" if queries is None else "users"
    if len(held) > max(flat_limit, SCANNED_LIMIT) and len(others) >= held.shape[1] and queries is not None:
        mapped, found = _in_asked_space(held, asked, others, trained_on)
        if found:
            return mapped, about | {name: value for name, value in found.items() if name != "is_right"}
    index: Any = faiss.index_factory(held.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    index.train(held[trained_on])
    index.add(held)
    if kind != "Flat":
        about |= _tuned(index, held, asked, _ladder(index))
        del about["is_right"]
    return index, about


def _in_asked_space(held: Floats, asked: Floats, others: Floats, trained_on: Ints) -> tuple[Any, dict[str, Any]]:
    """Return an index over the few directions in which users ask, nothing where there are not few."""
    for number in _DIRECTIONS:
        if number >= held.shape[1]:
            continue
        space = AskedSpace.learn(others, held[trained_on], num_directions=number)
        if space.share < _DIRECTIONS_SHARE:
            continue
        index = index_in(space, held, num_cells=_NUM_CELLS, trained_on=trained_on)
        steps = product([one for one in _CELLS_VISITED if one <= _MOST_VISITED * _NUM_CELLS], (4, 8))
        found = _tuned(index, held, asked, steps)
        if found["is_right"]:
            kind = f"IVF{_NUM_CELLS},SQ8 of {number} directions,Refine(SQfp16)"
            return index, found | {"kind": kind, "directions_share": round(space.share, 4)}
    return None, {}


def kind_for(num_items: int, dim: int, *, flat_limit: int) -> str:
    """Return what FAISS's index factory is asked for.

    >>> kind_for(100_000, 64, flat_limit=50_000)
    'PQ64x4fs,Refine(SQfp16)'
    """
    if num_items <= flat_limit:
        return "Flat"
    scan = f"PQ{dim}x4fs,Refine(SQfp16)"
    return scan if num_items <= SCANNED_LIMIT else f"IVF{_NUM_CELLS},{scan}"


def _ladder(index: faiss.IndexRefine) -> Iterable[tuple[int, int]]:
    """Return what is tried, quickest first: cells visited, 0 where there are none, and times ``TOP_K`` ranked again."""
    return product((0,), _RERANKED) if cells_of(index) is None else product(_CELLS_VISITED, (8, 16, 32))


def _tuned(
    index: faiss.IndexRefine, held: Floats, queries: Floats, ladder: Iterable[tuple[int, int]]
) -> dict[str, Any]:
    """Set the quickest settings that reach the recall, the most thorough ones where none does; they are in the file."""
    k = min(TOP_K, len(held))
    exact = exact_search(held, queries, k=k)
    cells = cells_of(index)
    found: dict[str, Any] = {}
    for visited, reranked in ladder:
        index.k_factor = reranked
        if cells is not None:
            cells.nprobe = visited
        hits = hits_of(index.search(queries, k)[1], exact, held, queries)
        # Beyond chance: these queries are not the ones that will be asked.
        is_right = bool(hits.mean() - _STANDARD_ERRORS * hits.std() / np.sqrt(len(hits)) >= RECALL)
        found = {f"recall@{TOP_K}": round(float(hits.mean()), 4), "reranked": reranked * TOP_K, "is_right": is_right}
        found |= {"cells": _NUM_CELLS, "visited": visited} if cells is not None else {}
        if is_right:
            break
    return found


def user_queries(towers: Towers, sequences: Sequences, *, most: int = _MOST_USERS) -> Floats:
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
