"""The index alone, on one thread: recall@100 and time by catalogue, and both by what share of it a filter keeps.

    python benchmarks/index.py --json OUT [--work DIR] [--items 1000000]

Two sets of vectors, both 64 wide. ``tower``: every item of the frozen synthetic shop as a two-layer tower places it that
learned from the shop's events, and as training exports it: what was seldom met stands near what its content says
(``training/retrieval/content_prior.py``), asked for by the shop's customers. Most of a million items are never met by
``--users`` customers, so that this is a catalogue of mostly new items. ``mixture``: drawn from 2,000 normal distributions
of random centre and weight, whose spread equals that of the centres; queries from the same. ``footfall`` is what
``build_index`` makes of them: kind and settings chosen by size and measured recall. The others are FAISS at fixed
settings. Recall counts any item as good as the one that exact search has there.

Filters keep items at random, the category of the nearest item (the mixture's: its distribution), or all but that one, which
leaves nothing of what the index looks at first. ``first_p50_ms``: with the filter worked out as well.
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
from training.retrieval.content_prior import ContentPrior
from training.retrieval.export import item_vectors
from training.retrieval.indexing import build_index, exact_search, recall_of, user_queries

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]
Drawn = tuple[Floats, Floats, Ints]  # item vectors, queries, a category an item

TOP_K: Final = 100
KEPT_SHARES: Final = (0.001, 0.01, 0.04, 0.06, 0.1, 0.25, 0.5, 0.9)
_NUM_QUERIES: Final = 400
_TUNED_ON: Final = 1_500
_NUM_FILTERED: Final = 100
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
        sets = {
            "tower": lambda: tower_set(arguments.items, num_users=arguments.users, num_steps=arguments.steps),
            "mixture": lambda: mixture_set(arguments.items),
        }
        for name in arguments.sets:
            drawn = kept(work / f"{name}-{arguments.items}", sets[name])
            rows += measure(name, *drawn, peers=not arguments.ours)
    write_result(
        arguments.json,
        benchmark="index",
        data=f"{arguments.items} vectors x 64: a tower that learned {arguments.steps} steps from 28 days of "
        f"{arguments.users} customers of the synthetic shop, version 1, and a random mixture",
        protocol=f"One thread, one query at a time, medians over {_NUM_QUERIES} queries that tuned nothing; recall@100 "
        "against exact search. Filters are those of the service's item index; the median is of the second time each is asked.",
        seeds=[0],
        results=rows,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="directory that keeps the vectors; a temporary one where left out")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument(
        "--users",
        type=int,
        default=4_000,
        help="customers to learn from; each takes 0.14 CPU s to draw",
    )
    parser.add_argument("--steps", type=int, default=1_000, help="that the tower learns")
    parser.add_argument("--sets", nargs="+", choices=("tower", "mixture"), default=("tower", "mixture"))
    parser.add_argument("--ours", action="store_true", help="leave the other indexes out")
    return parser.parse_args()


def tower_set(num_items: int, *, num_users: int, num_steps: int) -> Drawn:
    """Return item vectors, customers' vectors and categories of a tower learned from the synthetic shop."""
    shop = SmallShop.draw(num_items=num_items, num_users=num_users, num_days=28)
    with tempfile.TemporaryDirectory() as directory:
        towers = learn_towers(shop, Path(directory), num_steps=num_steps)
    prior = ContentPrior.of(shop.catalog, shop.sequences.item, RetrievalConfig())
    categories = np.unique(shop.catalog.category[FIRST:].astype(str), return_inverse=True)[1]
    met = float((prior.num_events[FIRST:] > 0).mean())
    print(f"tower: {shop.sequences.num_events} events, {met:.1%} of the items met", file=sys.stderr, flush=True)
    queries = user_queries(towers, shop.sequences, most=_TUNED_ON + _NUM_QUERIES)
    return item_vectors(towers, prior)[FIRST:], queries, categories


def mixture_set(num_items: int) -> Drawn:
    """Return vectors, queries and distributions of one random mixture."""
    rng = np.random.default_rng(0)
    centres, weights = rng.standard_normal((2_000, _DIM)), rng.dirichlet(np.full(2_000, 0.5))

    def drawn(number: int) -> tuple[Floats, Ints]:
        rows = rng.choice(len(centres), number, p=weights)
        vecs = centres[rows] + rng.standard_normal((number, _DIM))
        return np.asarray(vecs / np.linalg.norm(vecs, axis=1, keepdims=True), np.float32), rows

    vectors, categories = drawn(num_items)
    return vectors, drawn(_TUNED_ON + _NUM_QUERIES)[0], categories


def kept(path: Path, draw: Callable[[], Drawn]) -> Drawn:
    """Return what an earlier run drew, or draw it."""
    names = ("vectors.npy", "queries.npy", "categories.npy")
    if not (path / names[-1]).exists():
        path.mkdir(parents=True, exist_ok=True)
        for name, array in zip(names, draw(), strict=True):
            np.save(path / name, array)
    vectors, queries, categories = (np.load(path / name) for name in names)
    return vectors, queries, categories


def measure(data: str, vectors: Floats, queries: Floats, categories: Ints, *, peers: bool) -> Iterator[dict[str, Any]]:
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
    yield from _filtered_at_random(data, ours, coded, asked)
    yield from _filtered_by_category(data, ours, coded, asked, np.concatenate([np.full(FIRST, -1), categories]))


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


def _filtered_at_random(data: str, index: ItemIndex, coded: Floats, asked: Floats) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(1)
    for share in KEPT_SHARES:
        allowed = FIRST + np.flatnonzero(rng.random(len(coded) - FIRST) < share)
        metrics = _filtered(index, coded, asked[:_NUM_FILTERED], lambda _, allowed=allowed: allowed)
        yield _row("footfall", data, metrics, {"kept": "at random", "kept_share": share, "kept_items": len(allowed)})


def _filtered_by_category(
    data: str, index: ItemIndex, coded: Floats, asked: Floats, categories: Ints
) -> Iterator[dict[str, Any]]:
    some = asked[:_NUM_FILTERED]
    nearest = categories[FIRST + exact_search(coded[FIRST:], some, k=1)[:, 0]]
    kept_of: dict[str, Callable[[int], Ints]] = {
        "the nearest category": lambda at: np.flatnonzero(categories == nearest[at]),
        "all but the nearest category": lambda at: FIRST + np.flatnonzero(categories[FIRST:] != nearest[at]),
    }
    for kept_items, allowed_of in kept_of.items():
        number = int(np.median([len(allowed_of(at)) for at in range(len(some))]))
        metrics = _filtered(index, coded, some, allowed_of)
        yield _row("footfall", data, metrics, {"kept": kept_items, "kept_items": number})


def _filtered(index: ItemIndex, coded: Floats, asked: Floats, allowed_of: Callable[[int], Ints]) -> dict[str, float]:
    """Return recall and time of queries, each under its own filter."""
    held: dict[int, Ints] = {}

    def search(at: int) -> Ints:
        if at not in held:
            held.clear()
            held[at] = allowed_of(at)
        return index.search(asked[at : at + 1], [_ask(held[at])]).item

    hits, first, second = [], [], []
    for at in range(len(asked)):
        for took in (first, second):
            started = time.perf_counter()
            found = search(at)
            took.append(time.perf_counter() - started)
        allowed = held[at]
        exact = allowed[
            exact_search(np.ascontiguousarray(coded[allowed]), asked[at : at + 1], k=min(TOP_K, len(allowed)))
        ]
        hits.append(recall_of(found[None], exact, coded, asked[at : at + 1]))
    p50, p99 = np.quantile(second, [0.5, 0.99]) * 1e3
    return {
        "recall@100": float(np.mean(hits)),
        "worst_recall@100": float(np.min(hits)),
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "first_p50_ms": float(np.median(first)) * 1e3,
    }


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
