"""What happens at five times the capacity: who is answered, how fast, and how soon all is well again.

    python benchmarks/overload.py --json OUT [--work DIR | --store STORE] [--seconds 20] [--times 5]

`footfall serve` with two workers and its default limits, loopback. First its capacity, closed loop over 64 connections.
Then one open loop (``open_loop.py``: its own process, arrivals drawn beforehand, latencies from the instant a request was
due): half the capacity, ``--times`` the capacity for ``--seconds``, and half the capacity again. Recovery is when, after
the last request of the overload was due, requests are answered with 200 alone and no slower than twice the first half's
99th percentile, or 50 ms where that is more. The generator has one core, the server the others, so that neither takes
the other's time; how late the generator itself was is told, and latencies count from when a request was due all the same.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import numpy.typing as npt

from benchmarks.result import write_result

ROOT: Final = Path(__file__).resolve().parents[1]
_CALM_SECONDS: Final = 4.0
_AFTER_SECONDS: Final = 6.0
_WINDOW: Final = 0.25
_QUICK_ENOUGH: Final = 0.05
_DUE, _SENT, _ANSWERED, _STATUS, _RETRY = range(5)
Rows = npt.NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="directory that keeps the release; a temporary one where left out")
    parser.add_argument("--store", type=Path, help="serve this store's release instead")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--times", type=float, default=5.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        store = options.store or _release(options.work or Path(scratch), options.items)
        with served(store, Path(scratch), workers=2) as port:
            bodies = bodies_of(port, Path(scratch))
            os.sched_setaffinity(0, {_cores()[0]})
            found = measure(port, bodies, times=options.times, seconds=options.seconds)
    write_result(
        options.json,
        benchmark="overload",
        data=str(store.name) if options.store else f"synthetic shop, {options.items} items",
        protocol=f"two workers, {options.times:g} times the capacity for {options.seconds:g} s, open loop, default limits",
        seeds=[0],
        results=[{"model": "footfall", "metrics": found}],
    )
    print(json.dumps(found, indent=2))


def measure(port: int, bodies: Path, *, times: float, seconds: float, calm: float = _CALM_SECONDS) -> dict[str, Any]:
    """Return what the three phases showed."""
    capacity = capacity_of(port, bodies)
    phases = [(capacity / 2, calm), (capacity * times, seconds), (capacity / 2, _AFTER_SECONDS)]
    rows = open_loop(port, bodies, phases)
    before, during, after = _by_phase(rows, [calm, seconds])
    limit = max(2 * _quantile(before[before[:, _STATUS] == 200], 0.99), _QUICK_ENOUGH)
    accepted = during[during[:, _STATUS] == 200]
    turned_away = during[during[:, _STATUS] == 429]
    return {
        "capacity_per_s": capacity,
        "offered_per_s": len(during) / seconds,
        "answered_200_per_s": len(accepted) / seconds,
        "answered_429_per_s": len(turned_away) / seconds,
        "other_answers": int((~np.isin(rows[:, _STATUS], (200, 429))).sum()),
        "without_retry_after": int((turned_away[:, _RETRY] == 0).sum()),
        "accepted_p50_ms": 1e3 * _quantile(accepted, 0.5),
        "accepted_p99_ms": 1e3 * _quantile(accepted, 0.99),
        "accepted_worst_ms": 1e3 * _quantile(accepted, 1.0),
        "turned_away_p99_ms": 1e3 * _quantile(turned_away, 0.99),
        "calm_p99_ms": 1e3 * _quantile(before[before[:, _STATUS] == 200], 0.99),
        "generator_lag_p99_ms": 1e3 * float(np.quantile(during[:, _SENT], 0.99)),
        "recovery_s": recovery(after, begun=calm + seconds, limit=limit),
        "recovered_within_ms": 1e3 * limit,
    }


def recovery(after: Rows, *, begun: float, limit: float) -> float:
    """Return how long after ``begun`` the last window ends in which anyone was turned away or waited too long."""
    bad = after[(after[:, _STATUS] != 200) | (after[:, _ANSWERED] > limit)]
    if not len(bad):
        return 0.0
    windows, counts = np.unique(np.floor((bad[:, _DUE] - begun) / _WINDOW), return_counts=True)
    of_all = np.bincount(np.floor((after[:, _DUE] - begun) / _WINDOW).astype(int))
    # One slow answer in a hundred is the 99th percentile itself.
    serious = windows[counts > 0.01 * of_all[windows.astype(int)] + 1]
    return float((serious.max() + 1) * _WINDOW) if len(serious) else 0.0


def open_loop(port: int, bodies: Path, phases: Sequence[tuple[float, float]], *, key: str = "") -> Rows:
    """Run the generator in a process of its own; a row an answer: due, lag until sent, latency, status, Retry-After."""
    command = [sys.executable, str(ROOT / "benchmarks" / "open_loop.py"), str(port), str(bodies)]
    command += ["--phases", json.dumps(list(phases)), "--key", key]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert len(found["rows"]) == found["due"], f"{found['due'] - len(found['rows'])} requests were never answered"
    return np.array(found["rows"], float)


def capacity_of(port: int, bodies: Path, *, seconds: float = 4.0) -> float:
    """Return answers a second over 64 connections that are never idle."""
    script = (
        "import json,sys,pathlib; sys.path.insert(0, sys.argv[1])\n"
        "from benchmarks.serving_load import http_request, put_load_on\n"
        "bodies = [http_request('/v1/recommend', json.dumps(b).encode()) for b in json.loads(pathlib.Path(sys.argv[3]).read_text())]\n"
        "load = put_load_on(int(sys.argv[2]), bodies, connections=64, seconds=float(sys.argv[4]), warm_up=1.0)\n"
        "print(json.dumps(load.metrics()))\n"
    )
    command = [sys.executable, "-c", script, str(ROOT), str(port), str(bodies), str(seconds)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return float(found["requests_per_s"]) - found["errors"] / seconds


def bodies_of(port: int, scratch: Path) -> Path:
    """Write bodies that name customers of the release."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/customers?limit=100") as answer:
        users = json.load(answer)["user_ids"]
    path = scratch / "bodies.json"
    path.write_text(json.dumps([{"user_id": user, "k": 20} for user in users]))
    return path


@contextlib.contextmanager
def served(store: Path, scratch: Path, *, workers: int) -> Iterator[int]:
    """Serve a store on a free port."""
    with contextlib.closing(__import__("socket").socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, str(ROOT / "footfall.py"), "serve", str(store), "--port", str(port)]
    with (scratch / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--workers", str(workers)], stdout=log, stderr=log, cwd=scratch)
    os.sched_setaffinity(process.pid, _cores()[1:] or _cores())
    try:
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
                if answer.status == 200:
                    break
            assert process.poll() is None, (scratch / "log").read_text()
            time.sleep(0.2)
        time.sleep(1.0)  # the other worker
        yield port
    finally:
        process.terminate()
        process.wait(timeout=60)


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(os.getppid()))


def _release(work: Path, num_items: int) -> Path:
    from benchmarks.serving import release_in  # noqa: PLC0415 (learns a tower)

    return release_in(work, num_items=num_items)


def _by_phase(rows: Rows, seconds: Sequence[float]) -> list[Rows]:
    return [part[np.argsort(part[:, _DUE])] for part in _split(rows, np.cumsum(seconds))]


def _split(rows: Rows, borders: npt.NDArray[np.float64]) -> list[Rows]:
    phase = np.searchsorted(borders, rows[:, _DUE], side="right")
    return [rows[phase == number] for number in range(len(borders) + 1)]


def _quantile(rows: Rows, level: float) -> float:
    return float(np.quantile(rows[:, _ANSWERED], level)) if len(rows) else float("nan")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
