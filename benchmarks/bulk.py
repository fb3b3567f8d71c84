"""Lists for many users at once, beside the bare matrix multiply with top-k on the same arrays.

    python benchmarks/bulk.py --json OUT [--work DIR] [--items 100000] [--users 4000] [--rounds 3]

The release of the serving benchmark: the frozen synthetic shop, a two-layer tower over the last 50 events, width 64 (``--work``
keeps it; ``benchmarks/serving.py`` writes and reads the same). Users are its customers in random order, with the histories that
they have. In rounds, ours and the bare one in turn, so that a busy machine takes from both:

bare         ``user_vecs @ item_vecs.T`` and the best k of each row, in order: NumPy's BLAS in blocks with ``argpartition``, a
             process a core, and ``faiss.knn`` with all threads; user vectors are at hand. The faster of the two counts.
footfall     the answering loop of `footfall recommend` with one process a core: histories read, encoded by the ONNX tower,
             searched, what must not be shown left out, ids looked up, Parquet written and renamed. Without habits, with seen
             items left out, with habits (what training writes by default), and each exactly.

``ratio``: users a second over those of the bare one just before and after; ``cpu_ratio``: the same by CPU time, which others on
the machine disturb less. Medians of rounds, ``interval`` their range. ``cpu_us STEP``: of one user, by step.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# Before NumPy is imported: one thread a process.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pc

from benchmarks.result import write_result
from features.release import ReleaseStore
from features.sequences import Sequences
from serving import timings
from serving.bulk.answers import BulkAnswers
from serving.bulk.run import recommend_all
from serving.bulk.settings import BulkSettings
from serving.process.settings import ServeSettings
from serving.release.state import ReleaseState

Floats = npt.NDArray[np.float32]

TOP_K: Final = (20, 100)
_CHUNK: Final = 1_024
_BLOCK: Final = 256
# name -> store, settings
OURS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "footfall": ("store", {}),
    "footfall, exact": ("store", {"exact": True}),
    "footfall, seen left out": ("store", {"exclude_seen": True}),
    "footfall, habits": ("habits", {}),
    "footfall, habits, exact": ("habits", {"exact": True}),
}
_BARE_USERS: Final = 2_000
_WRITE: Final = """
import sys
from pathlib import Path
from benchmarks.serving import release_in
release_in(Path(sys.argv[1]), num_items=int(sys.argv[2]))
"""


def main() -> None:
    arguments = _arguments()
    with contextlib.ExitStack() as stack:
        work = arguments.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _write_releases(work, num_items=arguments.items)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=work)))
        arrays = _arrays(work, scratch, num_users=arguments.users)
        rounds: dict[str, list[dict[str, float]]] = defaultdict(list)
        for number in range(arguments.rounds):
            for k in arguments.top_k:
                for name, found in _one_round(work, scratch, arrays, k=k).items():
                    rounds[f"{name}, top {k}"].append(found)
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
        shares = {
            f"{name}, top {k}": steps_of(work, arrays.ids, k=k, name=name) for k in arguments.top_k for name in OURS
        }
    write_result(
        arguments.json,
        benchmark="bulk",
        data=f"synthetic shop, version 1, {arguments.items} items x 64; {arguments.users} users, median history "
        f"{arrays.median_events:.0f} events",
        protocol="Bare and ours in turn, all cores, one run; medians of rounds, `interval` their range.",
        seeds=[0],
        results=[_row(name, found, shares.get(name)) for name, found in rounds.items()],
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="directory that keeps the release; a temporary one where left out")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--top-k", type=int, nargs="+", default=TOP_K)
    return parser.parse_args()


def _write_releases(work: Path, *, num_items: int) -> None:
    """Write the releases in a process of its own: training brings threads, and a run forks."""
    if ReleaseStore(root=work / "habits").current_id is None:
        environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
        subprocess.run(
            [sys.executable, "-c", _WRITE, str(work), str(num_items)],
            check=True,
            cwd=Path(__file__).resolve().parents[1],
            env=environment,
        )


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """What both sides are given.

    Args:
        users: file of user vectors.
        items: file of item vectors.
        asked: file of user ids, for ours.
        ids: the same.
        median_events: of a history.
    """

    users: Path
    items: Path
    asked: Path
    ids: list[str]
    median_events: float


def _arrays(work: Path, scratch: Path, *, num_users: int) -> Arrays:
    state = ReleaseState.load(ReleaseStore(root=work / "store"))
    held = state.histories
    assert held is not None, "the benchmark's release has customers"
    rows = np.random.default_rng(0).permutation(len(held.users.ids))[:num_users]
    stored = held.sequences.take(rows)
    events = Sequences(
        offsets=stored.offsets, item=held.codes[stored.item], event_type=stored.event_type, ts=stored.ts,
        price_band=stored.price_band,
    )  # fmt: skip
    np.save(scratch / "users.npy", state.tower.encode_many(events))
    np.save(scratch / "items.npy", np.ascontiguousarray(state.index.vectors[state.catalog.available]))
    ids = held.users.ids[rows].tolist()
    pc.write_csv(pa.table({"user_id": ids}), scratch / "users.csv")
    return Arrays(
        users=scratch / "users.npy", items=scratch / "items.npy", asked=scratch / "users.csv", ids=ids,
        median_events=float(np.median(stored.lengths)),
    )  # fmt: skip


def _one_round(work: Path, scratch: Path, arrays: Arrays, *, k: int) -> dict[str, dict[str, float]]:
    """Return users a second of each model; ours over the bare one that was measured just before and just after."""
    found: dict[str, dict[str, float]] = {}
    first = before = bare(arrays, k=k)
    for name, (store, asked) in OURS.items():
        ours = ours_once(work / store, scratch, arrays, BulkSettings(k=k, shard_users=_part_size(arrays), **asked))
        after = bare(arrays, k=k)
        rate = statistics.mean(max(one["users_per_s"] for one in both.values()) for both in (before, after))
        cpu = statistics.mean(min(one["cpu_us"] for one in both.values()) for both in (before, after))
        found[name] = ours | {"ratio": ours["users_per_s"] / rate, "cpu_ratio": cpu / ours["cpu_us"]}
        before = after
    return {f"bare, {kind}": measured for kind, measured in first.items()} | found


def _part_size(arrays: Arrays) -> int:
    return -(-len(arrays.ids) // (4 * _num_cores()))


def bare(arrays: Arrays, *, k: int) -> dict[str, dict[str, float]]:
    """Return users a second, and CPU microseconds a user, of each way."""
    users, items = np.load(arrays.users)[:_BARE_USERS], np.load(arrays.items)
    parts = np.array_split(users, _num_cores())
    return {
        "numpy": _measured(lambda: _side_by_side([partial(by_numpy, part, items, k) for part in parts]), len(users)),
        "faiss.knn": _measured(lambda: _side_by_side([lambda: by_faiss(users, items, k)]), len(users)),
    }


def by_numpy(users: Floats, items: Floats, k: int) -> None:
    """Rank by one BLAS thread, in blocks whose scores fit a cache."""
    for at in range(0, len(users), _BLOCK):
        scores = users[at : at + _BLOCK] @ items.T
        best = np.argpartition(scores, -k, axis=1)[:, -k:]
        found = np.take_along_axis(scores, best, axis=1)
        np.take_along_axis(best, np.argsort(-found, axis=1), axis=1)


def by_faiss(users: Floats, items: Floats, k: int) -> None:
    """Rank by all threads of FAISS."""
    faiss.omp_set_num_threads(_num_cores())
    faiss.knn(users, items, k, metric=faiss.METRIC_INNER_PRODUCT)


def _side_by_side(calls: Sequence[Callable[[], None]]) -> None:
    """Run calls, each in a process of its own."""
    processes = [multiprocessing.get_context("fork").Process(target=call) for call in calls]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def _measured(call: Callable[[], None], num_users: int) -> dict[str, float]:
    started, cpu = time.perf_counter(), _cpu_of_children()
    call()
    return {
        "users_per_s": num_users / (time.perf_counter() - started),
        "cpu_us": 1e6 * (_cpu_of_children() - cpu) / num_users,
    }


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ours_once(store: Path, scratch: Path, arrays: Arrays, settings: BulkSettings) -> dict[str, float]:
    """Return users a second, and CPU microseconds a user, of the answering loop: in a process of its own, as the command."""

    def answer(out: Any) -> None:
        manifest = recommend_all(
            ReleaseStore(root=store), arrays.asked, scratch / "out", settings,
            served=ServeSettings(store=str(store)), replace=True,
        )  # fmt: skip
        cpu = _cpu_of_children() / len(arrays.ids)  # of the workers, which begin where the release is loaded
        out.send({"users_per_s": manifest["users_per_second"], "cpu_us": 1e6 * cpu})

    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=answer, args=(theirs,))
    process.start()
    theirs.close()
    found: dict[str, float] = ours.recv()
    process.join()
    return found


def steps_of(work: Path, ids: list[str], *, k: int, name: str) -> dict[str, float]:
    """Return CPU microseconds a user of each step, in one process."""
    store, asked = OURS[name]
    state = ReleaseState.load(ReleaseStore(root=work / store))
    answers = BulkAnswers(
        ReleaseStore(root=work / store), state, BulkSettings(k=k, **asked), now_us=state.surfaces.as_of_us
    )
    item_ids = pa.array(state.item_ids, pa.string())
    steps: dict[str, float] = defaultdict(float)

    def add(step: str, seconds: float) -> None:
        steps[step] += seconds

    some = ids[: 2 * _CHUNK]
    # Others may be at work on this machine: CPU time.
    timings.tell(add, clock=time.process_time)
    for start in range(0, len(some), _CHUNK):
        part = some[start : start + _CHUNK]
        with timings.timed("standing"):
            standing = answers.standing(part)
        lists = answers.lists(part, standing)
        with timings.timed("table"):
            lists.table(part, item_ids)
    timings.tell(lambda *_: None)
    return {step: 1e6 * seconds / len(some) for step, seconds in steps.items() if seconds > 0}


def _row(name: str, rounds: list[dict[str, float]], steps: dict[str, float] | None) -> dict[str, Any]:
    metrics = {metric: statistics.median(one[metric] for one in rounds) for metric in rounds[0]}
    if steps:
        metrics |= {f"cpu_us {step}": value for step, value in steps.items()}
    return {
        "model": name,
        "metrics": metrics,
        "interval": {metric: [min(x), max(x)] for metric in rounds[0] if (x := [one[metric] for one in rounds])},
        "per_seed": rounds,
        "config": {"processes": _num_cores()},
        "note": "",
    }


def _num_cores() -> int:
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    main()
