"""An index for millions of items: built in blocks, in shards on disk that processes map and share.

===================  ======================================================================================
file                 what it holds
===================  ======================================================================================
index.faiss          the map of users, the cells' means, how a byte stands for a direction; no items
index-00000.faiss    codes and bytes of the items of the first cells, ``index-00001.faiss`` of the next ...
index_codes.npy      which items those are
index_directions.npy how an item's vector is mapped, for items that come later
index_search.json    the shards in order, how many cells are visited and how many items are ranked again
===================  ======================================================================================

The best of the visited cells are ranked again by ``item_vectors.npy``, which a part holds anyway. No array of all vectors is ever
in memory: what is built from are blocks of a mapped file. Why these and no others: docs/decisions/0036.
"""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import faiss as _faiss
import numpy as np
import numpy.typing as npt

from features.files import read_json, write_json
from features.release import layout
from training.retrieval.asked_space import AskedSpace, behind_map, spreads
from training.retrieval.clusters import Clusters

faiss: Any = _faiss  # its types lack most of what it holds
log = logging.getLogger(__name__)

FORMAT: Final = 1
TOP_K: Final = 100
BLOCK: Final = 200_000  # items; 51 MB at 64 dimensions
SHARD_BYTES: Final = 256 << 20
_ITEMS_A_CELL: Final = 300
_MOST_CELLS: Final = {True: 16_384, False: 8_192}  # in few directions they cost little to find
_SAMPLED_A_CELL: Final = 32
_TELL_DIRECTIONS: Final = 200_000
_DIRECTIONS: Final = (15, 23, 31)  # with the coordinate of the spread multiples of 8, which FAISS reads quickly
_DIRECTIONS_SHARE: Final = 0.995
_VISITED_SHARES: Final = (0.004, 0.008, 0.012, 0.016, 0.024, 0.032, 0.048, 0.064, 0.096, 0.128, 0.192, 0.25, 0.5)
_RERANKED: Final = 4  # times TOP_K: with a byte a direction, twice as many find nothing more
_STANDARD_ERRORS: Final = 2.0

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]
Entries = tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]  # of one cell: item codes [n], bytes [n, width]


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """Where items belong, and how they are written.

    Args:
        index: FAISS's, without items; maps what is asked by itself.
        of_items: float32 ``[m, d]``, maps an item vector.
        clusters: of mapped items.
        share: of the variance of scores that ``m`` directions hold.
    """

    index: Any
    of_items: Floats
    clusters: Clusters
    share: float

    @classmethod
    def learn(cls, vecs: Floats, candidates: Ints, users: Floats | None, *, num_cells: int = 0) -> Cells:
        """Find directions and cells from a sample.

        Args:
            vecs: float32 ``[V, d]``, may be mapped from disk.
            candidates: rows to be indexed.
            users: vectors ``[Q, d]`` that tell where is asked; all directions count where left out.
            num_cells: chosen by the number of items where 0.
        """
        drawn = np.random.default_rng(0).permutation(
            len(candidates)
        )  # the sample is nested: directions by its beginning
        space = _space(users, _rows(vecs, candidates[drawn[:_TELL_DIRECTIONS]]))
        most = _MOST_CELLS[len(space.of_items) < vecs.shape[1]]
        num_cells = min(num_cells or min(most, len(candidates) // _ITEMS_A_CELL), len(candidates))
        mapped = _rows(vecs, candidates[drawn[: _SAMPLED_A_CELL * num_cells]]) @ space.of_items.T  # [S, m]
        clusters = Clusters.learn(mapped, max(1, num_cells))
        num_cells = len(clusters.means)
        is_whole = len(space.of_items) == vecs.shape[1]
        spread = np.zeros(num_cells, np.float32) if is_whole else spreads(mapped, clusters.means, clusters.of(mapped))
        quantizer = faiss.IndexFlatIP(_width(space, vecs.shape[1]))
        quantizer.add(_with_last(clusters.means, spread, quantizer.d))
        base = faiss.IndexIVFScalarQuantizer(
            quantizer, quantizer.d, num_cells, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT, False
        )
        quantizer.this.disown()
        base.own_fields = True
        base.train(_with_last(mapped, 0, quantizer.d))
        index = behind_map(space, base)
        return cls(index=index, of_items=space.of_items, clusters=clusters, share=space.share)

    @property
    def base(self) -> Any:
        """The cells behind the map of users."""
        return faiss.downcast_index(self.index.index)

    def add(self, vecs: Floats, codes: Ints) -> None:
        """Put items into their cells, a block at a time."""
        base = self.base
        for start in range(0, len(codes), BLOCK):
            ids = np.ascontiguousarray(codes[start : start + BLOCK], np.int64)
            mapped = np.asarray(vecs[ids], np.float32) @ self.of_items.T
            coded, cells = _with_last(mapped, 0, base.d), self.clusters.of(mapped)
            base.add_core(len(ids), *(faiss.swig_ptr(one) for one in (coded, ids, cells)))

    def entries(self) -> Iterator[Entries]:
        """Yield what each cell holds."""
        yield from entries_of(self.base.invlists)


def _space(users: Floats | None, sample: Floats) -> AskedSpace:
    """Return the few directions that users ask about; all of them as they are where there are not few."""
    dim = sample.shape[1]
    for number in (one for one in _DIRECTIONS if one < dim and users is not None and len(users) >= dim):
        assert users is not None
        space = AskedSpace.learn(users, sample, num_directions=number)
        if space.share >= _DIRECTIONS_SHARE:
            return space
    return AskedSpace(of_users=np.eye(dim, dtype=np.float32), of_items=np.eye(dim, dtype=np.float32), share=1, length=1)


def _rows(vecs: Floats, codes: Ints) -> Floats:
    """Return some rows of a mapped file, read in the order in which they lie."""
    return np.ascontiguousarray(vecs[np.sort(codes)], np.float32)


def _width(space: AskedSpace, dim: int) -> int:
    """Return how many numbers stand for an item: one more for a cell's spread, but not where all directions count."""
    return len(space.of_items) + (len(space.of_items) < dim)


def _with_last(points: Floats, last: Floats | int, width: int) -> Floats:
    """Return points with one more coordinate, where the width has room for it."""
    if points.shape[1] == width:
        return np.ascontiguousarray(points, np.float32)
    coded = np.empty((len(points), width), np.float32)
    coded[:, :-1], coded[:, -1] = points, last
    return coded


def entries_of(lists: Any) -> Iterator[Entries]:
    """Yield copies of what each of FAISS's inverted lists holds."""
    for cell in range(lists.nlist):
        size = lists.list_size(cell)
        if size == 0:
            yield np.zeros(0, np.int64), np.zeros((0, lists.code_size), np.uint8)
            continue
        ids, codes = lists.get_ids(cell), lists.get_codes(cell)
        yield (
            faiss.rev_swig_ptr(ids, size).copy(),
            faiss.rev_swig_ptr(codes, size * lists.code_size).reshape(size, -1).copy(),
        )
        lists.release_ids(cell, ids)
        lists.release_codes(cell, codes)


def build_cells(
    directory: Path,
    vecs: Floats,
    candidates: Ints,
    *,
    queries: Floats | None,
    recall: float,
    num_cells: int = 0,
    num_asked: int = 500,
) -> dict[str, Any]:
    """Write an index over item vectors in blocks; return what the manifest says of it.

    Args:
        directory: of the part's draft.
        vecs: float32 ``[V, d]``; mapped from disk where there are many.
        candidates: item codes, rising.
        queries: user vectors ``[Q, d]``: the first tune the search, the others tell where is asked.
        recall: that the quickest settings are to reach beyond twice its standard error.
        num_cells: chosen by the number of items where 0.
        num_asked: queries that tune; the items' own vectors where there are no queries.
    """
    started = time.perf_counter()
    asked, others = split_queries(vecs, candidates, queries, num_asked)
    cells = Cells.learn(vecs, candidates, others, num_cells=num_cells)
    cells.add(vecs, candidates)
    found = tuned(cells.index, vecs, asked, exact_rows(vecs, candidates, asked, k=TOP_K), recall=recall)
    names = write_shards(directory, cells.entries(), code_size=cells.base.code_size)
    cells.base.reset()
    np.save(directory / layout.INDEX_DIRECTIONS, cells.of_items)
    write_search(directory, cells.index, candidates, names, found)
    kind = f"IVF{cells.base.nlist},SQ8 of {len(cells.of_items)} directions"
    about = {"kind": kind, "num_items": len(candidates), "asked": "items" if queries is None else "users"}
    about |= found | {"directions_share": round(cells.share, 4)} | file_facts(directory, names, len(candidates))
    return about | {"build_s": round(time.perf_counter() - started, 1), "build_peak_mb": peak_mb()}


def split_queries(
    vecs: Floats, candidates: Ints, queries: Floats | None, num_asked: int
) -> tuple[Floats, Floats | None]:
    """Return the vectors that tune, drawn alike each time, and those that tell where users ask."""
    rng = np.random.default_rng(0)
    if queries is None:
        drawn = np.sort(rng.choice(len(candidates), min(num_asked, len(candidates)), replace=False))
        return np.ascontiguousarray(vecs[candidates[drawn]], np.float32), None
    drawn = rng.permutation(len(queries))
    asked, others = (np.ascontiguousarray(queries[np.sort(one)]) for one in (drawn[:num_asked], drawn[num_asked:]))
    return asked, others


def write_shards(directory: Path, cells: Iterable[Entries], *, code_size: int) -> list[str]:
    """Write lists of consecutive cells, a shard once it is large enough; return the names in order."""
    names: list[str] = []
    held: list[Entries] = []
    size = 0

    def flush() -> None:
        lists = faiss.ArrayInvertedLists(len(held), code_size)
        for cell, (ids, codes) in enumerate(held):
            if len(ids):
                flat = np.ascontiguousarray(codes)
                lists.add_entries(cell, len(ids), faiss.swig_ptr(np.ascontiguousarray(ids)), faiss.swig_ptr(flat))
        names.append(layout.INDEX_SHARD.format(len(names)))
        writer = faiss.FileIOWriter(str(directory / names[-1]))
        faiss.write_InvertedLists(lists, writer)
        del writer  # closes the file
        held.clear()

    for entries in cells:
        held.append(entries)
        size += entries[0].nbytes + entries[1].nbytes
        if size >= SHARD_BYTES:
            flush()
            size = 0
    if held:
        flush()
    return names


def write_search(directory: Path, index: Any, codes: Ints, names: list[str], found: dict[str, Any]) -> None:
    """Write all but the shards."""
    faiss.write_index(index, str(directory / layout.INDEX))
    np.save(directory / layout.INDEX_CODES, np.asarray(codes, np.int32))
    write_json(
        directory / layout.INDEX_SEARCH,
        {"format": FORMAT, "shards": names, "visited": found["visited"], "reranked": found["reranked"]},
    )


def file_facts(directory: Path, names: list[str], num_items: int) -> dict[str, Any]:
    """Return how many shards there are, and bytes an item of all files of the index."""
    files = [*names, layout.INDEX, layout.INDEX_CODES]
    return {
        "shards": len(names),
        "bytes_an_item": round(sum((directory / name).stat().st_size for name in files) / max(1, num_items), 1),
    }


def peak_mb() -> int:
    """Return the process's largest resident set so far in MB, mapped pages of the vectors included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def index_codes(directory: Path) -> Ints:
    """Return the item codes of a written index, rising."""
    return np.asarray(np.load(directory / layout.INDEX_CODES), np.int64)


def opened(directory: Path) -> tuple[Any, Any, Ints]:
    """Return a written index, its lists mapped from disk, what keeps these alive, and the codes that it holds."""
    plan = read_json(directory / layout.INDEX_SEARCH)
    index = faiss.read_index(str(directory / layout.INDEX))
    lists = [
        faiss.read_InvertedLists(faiss.FileIOReader(str(directory / name)), faiss.IO_FLAG_MMAP)
        for name in plan["shards"]
    ]
    pointers = faiss.InvertedListsPtrVector()
    for one in lists:
        pointers.push_back(one)
    stacked = faiss.VStackInvertedLists(len(lists), pointers.data())
    faiss.downcast_index(index.index).replace_invlists(stacked, False)
    return index, (stacked, lists), np.load(directory / layout.INDEX_CODES, mmap_mode="r")


def tuned(index: Any, vecs: Floats, asked: Floats, exact: Ints, *, recall: float) -> dict[str, Any]:
    """Return the quickest settings that reach a recall, the most thorough ones where none does.

    Args:
        index: with its items.
        vecs: float32 ``[V, d]``.
        asked: user vectors ``[Q, d]``.
        exact: the true best codes ``[Q, k]``, best first.
        recall: to be reached.
    """
    num_cells = faiss.downcast_index(index.index).nlist
    found: dict[str, Any] = {}
    for visited in sorted({max(1, round(share * num_cells)) for share in (*_VISITED_SHARES, 1.0)}):
        found = measured(index, vecs, asked, exact, recall=recall, visited=visited, reranked=_RERANKED * TOP_K)
        if found["reaches_bar"]:
            break
    return found


def measured(
    index: Any, vecs: Floats, asked: Floats, exact: Ints, *, recall: float, visited: int, reranked: int
) -> dict[str, Any]:
    """Return the recall of one setting, and whether it reaches the bar beyond chance."""
    hits = []
    params = faiss.SearchParametersPreTransform(index_params=faiss.SearchParametersIVF(nprobe=visited))
    _, codes = index.search(asked, reranked, params=params)
    for user, row, best in zip(asked, codes, exact, strict=True):
        scores = np.sort(_scores(vecs, row[row >= 0], user))[::-1][: len(best)]
        hits.append((scores >= float(vecs[best[-1]] @ user) - 1e-6).sum() / len(best))
    mean, error = float(np.mean(hits)), float(np.std(hits) / np.sqrt(len(hits)))
    return {
        f"recall@{TOP_K}": round(mean, 4),
        "bar": recall,
        "reaches_bar": mean - _STANDARD_ERRORS * error >= recall,
        "cells": faiss.downcast_index(index.index).nlist,
        "visited": visited,
        "reranked": reranked,
    }


def _scores(vecs: Floats, codes: Ints, user: Floats) -> Floats:
    return np.asarray(vecs[np.sort(codes)] @ user, np.float32)


def exact_rows(vecs: Floats, candidates: Ints, asked: Floats, *, k: int) -> Ints:
    """Return the codes of the ``k`` greatest inner products, ``[Q, k]``, best first, reading a block at a time."""
    scores, codes = np.zeros((len(asked), 0), np.float32), np.zeros((len(asked), 0), np.int64)
    k = min(k, len(candidates))
    for start in range(0, len(candidates), BLOCK):
        held = candidates[start : start + BLOCK]
        found, rows = faiss.knn(
            asked, np.ascontiguousarray(vecs[held], np.float32), min(k, len(held)), metric=faiss.METRIC_INNER_PRODUCT
        )
        scores, codes = np.hstack([scores, found]), np.hstack([codes, held[rows]])
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores, codes = np.take_along_axis(scores, order, axis=1), np.take_along_axis(codes, order, axis=1)
    return codes
