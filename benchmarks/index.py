"""The index alone, on one thread: recall@100 and time by catalogue, and both by what share of it a filter keeps.

    python benchmarks/index.py --json OUT [--work DIR] [--items 1000000]

Two sets of vectors, both 64 wide and of length 1. ``tower``: every item of the frozen synthetic shop as a two-layer tower
places it that learned from the shop's events, asked for by its customers (``serving_world.py``). ``mixture``: drawn from
2,000 normal distributions of random centre and weight, whose spread equals that of the centres; queries from the same.
``footfall`` is what ``build_index`` makes of them: kind and settings chosen by size and measured recall. The others are
FAISS at fixed settings. Recall counts any item as good as the one that exact search has there.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ["OMP_NUM_THREADS"] = "1"

import faiss
import numpy as np
import numpy.typing as npt

from benchmarks.result import write_result
from benchmarks.serving_world import SmallShop, learn_towers
from features.vocabulary import FIRST
from serving.retrieval.item_index import Ask, ItemIndex
from training.retrieval.config import RetrievalConfig
from training.retrieval.export import item_vectors
from training.retrieval.indexing import build_index, exact_search, recall_of, user_queries

Floats = npt.NDArray[np.float32]

TOP_K: Final = 100
KEPT_SHARES: Final = (0.001, 0.01, 0.04, 0.06, 0.1, 0.25, 0.5, 0.9)
_NUM_QUERIES: Final = 400
_TUNED_ON: Final = 500
_DIM: Final = 64
# What else FAISS offers, at settings of its users: factory string, parameter, values.
_PEERS: Final = (
    ("Flat", "", (0,)),
    ("SQfp16", "", (0,)),
    ("HNSW32,SQfp16", "efSearch", (100, 200, 400)),
    ("IVF4096,SQfp16", "nprobe", (64, 256)),
    ("IVF4096,PQ32x4fs,Refine(SQfp16)", "nprobe", (64, 256)),
    ("IVF4096,RaBitQfs,Refine(SQfp16)", "nprobe", (64, 256)),
)


def main() -> None:
    arguments = _arguments()
    faiss.omp_set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        work = arguments.work or Path(directory)
        for name, draw in {"tower": tower_set, "mixture": mixture_set}.items():
            vectors, queries = kept(work / f"{name}-{arguments.items}", lambda draw=draw: draw(arguments.items))
            rows += measure(name, vectors, queries, peers=not arguments.ours)
    write_result(
        arguments.json,
        benchmark="index",
        data=f"{arguments.items} vectors x 64: a tower of the synthetic shop, version 1, and a random mixture",
        protocol=f"One thread, one query at a time, medians over {_NUM_QUERIES} queries that tuned nothing; recall@100 "
        "against exact search. Filters keep items at random, by the item index of the service with its filters warm.",
        seeds=[0],
        results=rows,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="directory that keeps the vectors; a temporary one where left out")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--ours", action="store_true", help="leave the other indexes out")
    return parser.parse_args()


def tower_set(num_items: int) -> tuple[Floats, Floats]:
    """Return item vectors and customers' vectors of a tower learned from the synthetic shop."""
    shop = SmallShop.draw(num_items=num_items, num_users=2_000, num_days=28)
    with tempfile.TemporaryDirectory() as directory:
        towers = learn_towers(shop, Path(directory), num_steps=500)
    return item_vectors(towers)[FIRST:], user_queries(towers, shop.sequences, most=_TUNED_ON + _NUM_QUERIES)


def mixture_set(num_items: int) -> tuple[Floats, Floats]:
    """Return vectors and queries of one random mixture."""
    rng = np.random.default_rng(0)
    centres, weights = rng.standard_normal((2_000, _DIM)), rng.dirichlet(np.full(2_000, 0.5))

    def drawn(number: int) -> Floats:
        vecs = centres[rng.choice(len(centres), number, p=weights)] + rng.standard_normal((number, _DIM))
        return np.asarray(vecs / np.linalg.norm(vecs, axis=1, keepdims=True), np.float32)

    return drawn(num_items), drawn(_TUNED_ON + _NUM_QUERIES)


def kept(path: Path, draw: Callable[[], tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Return what an earlier run drew, or draw it."""
    if not (path / "queries.npy").exists():
        vectors, queries = draw()
        path.mkdir(parents=True, exist_ok=True)
        np.save(path / "vectors.npy", vectors)
        np.save(path / "queries.npy", queries)
    return np.load(path / "vectors.npy"), np.load(path / "queries.npy")


def measure(data: str, vectors: Floats, queries: Floats, *, peers: bool) -> Iterator[dict[str, Any]]:
    """Yield the rows of one set: indexes, then filters."""
    tuning, asked = queries[:_TUNED_ON], queries[_TUNED_ON:]
    coded = np.concatenate([np.zeros((FIRST, _DIM), np.float32), vectors])  # rows are item codes
    codes = np.arange(FIRST, len(coded))
    started = time.perf_counter()
    built = build_index(coded, codes, flat_limit=RetrievalConfig().flat_index_limit, queries=tuning)
    seconds = time.perf_counter() - started
    ours = ItemIndex(vectors=coded, index=built.index, available=np.ones(len(coded), bool))
    exact = exact_search(vectors, asked, k=TOP_K)
    found, timing = _timed(lambda at: ours.search(asked[at : at + 1], [_ask()]).item, len(asked))
    recall = recall_of(np.stack(found) - FIRST, exact, vectors, asked)
    yield _row("footfall", data, {"recall@100": recall, "build_s": seconds, **timing}, built.about)
    for kind, parameter, values in _PEERS if peers else ():
        yield from _peer(data, kind, parameter, values, vectors, asked, exact)
    yield from _filtered(data, ours, coded, asked)


def _peer(  # noqa: PLR0917 - one call, of rows of a table
    data: str, kind: str, parameter: str, values: tuple[int, ...], vectors: Floats, asked: Floats, exact: Any
) -> Iterator[dict[str, Any]]:
    started = time.perf_counter()
    index = faiss.index_factory(_DIM, kind, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors[np.random.default_rng(0).permutation(len(vectors))[:200_000]])
    index.add(vectors)
    seconds = time.perf_counter() - started
    if "Refine" in kind:
        index.k_factor = 8
    for value in values:
        if parameter:
            faiss.ParameterSpace().set_index_parameter(index, parameter, value)
        found, timing = _timed(lambda at: index.search(asked[at : at + 1], TOP_K)[1][0], len(asked))
        metrics = {"recall@100": recall_of(np.stack(found), exact, vectors, asked), "build_s": seconds, **timing}
        yield _row(f"faiss {kind}", data, metrics, {parameter: value} if parameter else {})


def _filtered(data: str, index: ItemIndex, coded: Floats, asked: Floats) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(1)
    some = asked[:100]
    for share in KEPT_SHARES:
        allowed = FIRST + np.flatnonzero(rng.random(len(coded) - FIRST) < share)
        exact = allowed[exact_search(np.ascontiguousarray(coded[allowed]), some, k=TOP_K)]
        found, timing = _timed(
            lambda at, allowed=allowed: index.search(some[at : at + 1], [_ask(allowed)]).item, len(some)
        )
        metrics = {"recall@100": recall_of(np.stack(found), exact, coded, some), **timing}
        yield _row("footfall", data, metrics, {"kept_share": share, "kept_items": len(allowed)})


def _ask(allowed: npt.NDArray[np.integer] | None = None) -> Ask:
    return Ask(k=TOP_K, excluded=np.zeros(0, np.int64), allowed=allowed)


def _timed(search: Callable[[int], Any], num: int) -> tuple[list[Any], dict[str, float]]:
    """Return every answer, and the median and 99th percentile of the second time each was asked for."""
    found, took = [search(at) for at in range(num)], []
    for at in range(num):
        started = time.perf_counter()
        search(at)
        took.append(time.perf_counter() - started)
    p50, p99 = np.quantile(took, [0.5, 0.99]) * 1e3
    return found, {"p50_ms": float(p50), "p99_ms": float(p99)}


def _row(model: str, data: str, metrics: dict[str, float], config: dict[str, Any]) -> dict[str, Any]:
    print(model, data, config, {name: round(value, 4) for name, value in metrics.items()}, file=sys.stderr, flush=True)
    return {"model": model, "metrics": metrics, "config": {"data": data, **config}, "note": f"{data} vectors"}


if __name__ == "__main__":
    main()
