"""An index of ten million items x 64: building it, finding with it, loading it, and what workers that share it hold.

    python benchmarks/index_scale.py --json OUT [--work DIR] [--items 10000000] [--tower DIR]

Two sets of vectors. ``mixture``: the one of ``benchmarks/index.py``, drawn in blocks. ``tower``: nobody has ten million real items
at hand, so the million of ``benchmarks/index.py`` (a tower that learned from the synthetic shop; ``--tower`` takes what a run with
``--work`` kept) is multiplied: beside each item lie others, each moved from it by 0.16 of its length, along the difference of two
items of its category. Copies therefore vary as items described alike do; the tower learned nothing from them, and whoever asks is
a customer of the shop with a million.

Each stage runs in a process of its own. ``peak_mb`` is the largest resident set of the build, pages of mapped files included;
``peak_own_mb`` leaves these out. ``cold``: the files were dropped from the page cache. ``private_mb`` is what each of two workers that
answer at the same time holds for itself; ``shared_mb`` what they hold together. Checksums are those of a release when it is verified.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "2")  # of the build; what is asked runs on one thread

import faiss
import numpy as np
import numpy.typing as npt

from benchmarks.result import write_result
from features.files import sha256_of_file
from features.release import layout
from features.vocabulary import FIRST
from serving.retrieval.item_index import Ask, ItemIndex
from training.retrieval.cells import TOP_K, build_cells, exact_rows

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]

_DIM: Final = 64
_BLOCK: Final = 200_000
_TUNED_ON: Final = 1_500
_NUM_QUERIES: Final = 400
_MOVED_BY: Final = 0.16
_RECALL: Final = 0.98
_MB: Final = 1 << 20


def main() -> None:
    arguments = _arguments()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        for name in arguments.sets:
            directory = work / f"scale-{name}-{arguments.items}"
            directory.mkdir(parents=True, exist_ok=True)
            if not (directory / "queries.npy").exists():
                _alone(_draw, name, directory, arguments.items, arguments.tower, work)
            rows.append(_row(name, directory, measure(directory)))
    write_result(
        arguments.json,
        benchmark="index_scale",
        data=f"{arguments.items} vectors x {_DIM}: a tower's million multiplied by moving items within their category, and a "
        "random mixture",
        protocol=f"Built on {os.environ['OMP_NUM_THREADS']} threads from a mapped file; asked on one thread, one query at a time, "
        f"{_NUM_QUERIES} queries that tuned nothing, the second time each is asked; recall@100 against exact search.",
        seeds=[0],
        results=rows,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument(
        "--work", type=Path, help="directory that keeps vectors and indexes; a temporary one where left out"
    )
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--tower", type=Path, help="vectors, queries and categories that benchmarks/index.py kept")
    parser.add_argument("--sets", nargs="+", choices=("tower", "mixture"), default=("tower", "mixture"))
    return parser.parse_args()


def measure(directory: Path) -> dict[str, Any]:
    """Return every figure of one set, by stage."""
    found: dict[str, Any] = {"build": _alone(_build, directory)}
    found["exact"] = _alone(_exact, directory)
    for name in _files(directory):
        _forget(directory / name)
    found["cold"] = _alone(_load, directory)
    found["warm"] = _alone(_load, directory)
    found["asked"] = _alone(_ask_all, directory)
    found["two workers"] = _two_workers(directory)
    started = time.perf_counter()
    for name in _files(directory):
        sha256_of_file(directory / name)
    return found | {"checksums_s": time.perf_counter() - started}


def _row(name: str, directory: Path, found: dict[str, Any]) -> dict[str, Any]:
    built = found["build"]
    metrics = {
        "recall@100": found["asked"]["recall"],
        "p50_ms": found["asked"]["p50_ms"],
        "p99_ms": found["asked"]["p99_ms"],
        "build_s": built["about"]["build_s"],
        "peak_mb": built["about"]["build_peak_mb"],
        "peak_own_mb": built["peak_own_mb"],
        "bytes_an_item": built["about"]["bytes_an_item"],
        "vectors_mb": (directory / layout.ITEM_VECTORS).stat().st_size / _MB,
        "load_cold_s": found["cold"]["load_s"],
        "load_warm_s": found["warm"]["load_s"],
        "first_query_cold_ms": found["cold"]["first_ms"],
        "first_query_warm_ms": found["warm"]["first_ms"],
        "private_mb": found["two workers"]["private_mb"],
        "shared_mb": found["two workers"]["shared_mb"],
        "checksums_s": found["checksums_s"],
    }
    print(name, {key: round(value, 4) for key, value in metrics.items()}, built["about"], file=sys.stderr, flush=True)
    return {
        "model": "footfall",
        "metrics": metrics,
        "config": {"data": name, **built["about"]},
        "note": f"{name} vectors",
    }


def _draw(name: str, directory: Path, num_items: int, tower: Path | None, work: Path) -> None:
    """Write vectors by code, and queries last: a set that was cut off is drawn again."""
    path = directory / layout.ITEM_VECTORS
    coded = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(FIRST + num_items, _DIM))
    coded[:FIRST] = 0
    blocks, queries = _mixture() if name == "mixture" else _multiplied(tower, work)
    at = FIRST
    while at < len(coded):
        block = next(blocks)[: len(coded) - at]
        coded[at : at + len(block)] = block
        at += len(block)
    coded.flush()
    np.save(directory / "queries.npy", queries)


def _mixture() -> tuple[Iterator[Floats], Floats]:
    """The same 2,000 distributions as ``benchmarks/index.py``, in blocks."""
    rng = np.random.default_rng(0)
    centres, weights = rng.standard_normal((2_000, _DIM)), rng.dirichlet(np.full(2_000, 0.5))

    def drawn(number: int) -> Floats:
        vecs = centres[rng.choice(len(centres), number, p=weights)] + rng.standard_normal((number, _DIM))
        return np.asarray(vecs / np.linalg.norm(vecs, axis=1, keepdims=True), np.float32)

    queries = drawn(_TUNED_ON + _NUM_QUERIES)
    return (drawn(_BLOCK) for _ in iter(int, 1)), queries


def _multiplied(tower: Path | None, work: Path) -> tuple[Iterator[Floats], Floats]:
    vecs, queries, categories = _tower(tower, work)
    order = np.argsort(categories, kind="stable")
    first, count = np.searchsorted(categories[order], categories), np.bincount(categories)[categories]
    rng = np.random.default_rng(0)

    def alike(rows: Ints) -> Floats:
        """Return an item of the category of each."""
        return vecs[order[first[rows] + (rng.random(len(rows)) * count[rows]).astype(np.int64)]]

    def blocks() -> Iterator[Floats]:
        for start in range(0, len(vecs), _BLOCK):
            yield vecs[start : start + _BLOCK]
        while True:
            rows = rng.integers(0, len(vecs), _BLOCK)
            step = alike(rows) - alike(rows)
            length = np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-6)
            moved = vecs[rows] + _MOVED_BY * step / length
            yield np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True), np.float32)

    return blocks(), queries


def _tower(kept_at: Path | None, work: Path) -> tuple[Floats, Floats, Ints]:
    from benchmarks.index import kept, tower_set  # noqa: PLC0415 - it sets one thread for its process

    path = kept_at or work / "tower-1000000"
    return kept(path, lambda: tower_set(1_000_000, num_users=4_000, num_steps=1_000))


def _build(directory: Path) -> dict[str, Any]:
    vecs, queries = _vectors(directory), np.load(directory / "queries.npy")
    own = _OwnMemory()
    about = build_cells(directory, vecs, np.arange(FIRST, len(vecs)), queries=queries[:_TUNED_ON], recall=_RECALL)
    return {"about": about, "peak_own_mb": own.peak_mb()}


def _exact(directory: Path) -> None:
    vecs, asked = _vectors(directory), _asked(directory)
    np.save(directory / "exact.npy", exact_rows(vecs, np.arange(FIRST, len(vecs)), asked, k=TOP_K))


def _load(directory: Path) -> dict[str, float]:
    available = np.ones(len(_vectors(directory)), bool)
    asked = _asked(directory)[:1]
    started = time.perf_counter()
    index = _served(directory, available)
    loaded = time.perf_counter()
    index.search(asked, [_ask()])
    return {"load_s": loaded - started, "first_ms": (time.perf_counter() - loaded) * 1e3}


def _ask_all(directory: Path) -> dict[str, float]:
    vecs, asked, exact = _vectors(directory), _asked(directory), np.load(directory / "exact.npy")
    index = _served(directory, np.ones(len(vecs), bool))
    lists = [index.search(user[None], [_ask()]).item for user in asked]
    took = []
    for user in asked:
        started = time.perf_counter()
        index.search(user[None], [_ask()])
        took.append(time.perf_counter() - started)
    shares = [
        float((vecs[found] @ user >= vecs[best[-1]] @ user - 1e-6).mean())
        for found, best, user in zip(lists, exact, asked, strict=True)
    ]
    p50, p99 = np.quantile(took, [0.5, 0.99]) * 1e3
    return {"recall": float(np.mean(shares)), "p50_ms": float(p50), "p99_ms": float(p99)}


def _two_workers(directory: Path) -> dict[str, float]:
    """Let two processes answer everything, and read what each then holds."""
    context = mp.get_context("spawn")
    ends = [context.Pipe() for _ in range(2)]
    workers = [context.Process(target=_work, args=(end[1], directory)) for end in ends]
    for worker in workers:
        worker.start()
    for here, _ in ends:
        here.recv()  # both have answered
    for here, _ in ends:
        here.send("measure")
    found = [here.recv() for here, _ in ends]
    for here, _ in ends:
        here.send("end")
    for worker in workers:
        worker.join()
    return {
        "private_mb": float(np.mean([one["private"] for one in found])),
        "shared_mb": float(np.mean([one["shared"] for one in found])),
    }


def _work(end: Any, directory: Path) -> None:
    index = _served(directory, np.ones(len(_vectors(directory)), bool))
    for user in _asked(directory):
        index.search(user[None], [_ask()])
    end.send("ready")
    end.recv()
    rows = dict(line.split(":", 1) for line in Path("/proc/self/smaps_rollup").read_text().splitlines() if ":" in line)
    sizes = {name: int(rows[name].split()[0]) / 1024 for name in ("Private_Clean", "Private_Dirty", "Shared_Clean")}
    end.send({"private": sizes["Private_Clean"] + sizes["Private_Dirty"], "shared": sizes["Shared_Clean"]})
    end.recv()


class _OwnMemory:
    """Watches what the process holds beside mapped files, ten times a second."""

    def __init__(self) -> None:
        self._most, self._ended = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def peak_mb(self) -> float:
        """Return the most seen, and stop watching."""
        self._ended.set()
        self._thread.join()
        return self._most / 1024

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            lines = Path("/proc/self/status").read_text().splitlines()
            self._most = max(self._most, *(int(line.split()[1]) for line in lines if line.startswith("RssAnon")))


def _alone(stage: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a stage finds in a process of its own."""
    with mp.get_context("spawn").Pool(1) as pool:
        return pool.apply(stage, arguments)


def _forget(path: Path) -> None:
    """Drop a file from the page cache."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _files(directory: Path) -> list[str]:
    """Return what a part would hold of vectors and index."""
    shards = sorted(path.name for path in directory.glob("index-*.faiss"))
    return [layout.ITEM_VECTORS, layout.INDEX, layout.INDEX_CODES, layout.INDEX_SEARCH, *shards]


def _vectors(directory: Path) -> Floats:
    vecs: Floats = np.load(directory / layout.ITEM_VECTORS, mmap_mode="r")
    return vecs


def _asked(directory: Path) -> Floats:
    queries: Floats = np.load(directory / "queries.npy")[_TUNED_ON:]
    return queries


def _served(directory: Path, available: npt.NDArray[np.bool_]) -> ItemIndex:
    faiss.omp_set_num_threads(1)
    return ItemIndex.load(vectors=directory / layout.ITEM_VECTORS, index=directory / layout.INDEX, available=available)


def _ask() -> Ask:
    return Ask(k=TOP_K, excluded=np.zeros(0, np.int64))


if __name__ == "__main__":
    main()
