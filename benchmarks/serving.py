"""Requests a second and latency of the recommend call beside the same work elsewhere, in one run.

    python benchmarks/serving.py --json OUT [--work DIR] [--rounds 3] [--seconds 0.6] [--connections 1 8 32 128]

A release of 100,000 items x 64 and 20,000 customers is written (``serving_world.py``; ``--work`` keeps it for the next
run), and a second one that knows what customers buy again as well, as training writes it. Then, in rounds in which every
model takes its turn: `footfall serve` with one worker, a bare Starlette app with and without a micro-batcher, BentoML's
own endpoint, all over the same tower and index on loopback at 1, 8, 32 and 128 connections, for the top 20 and the top
100; and the same work in a loop without HTTP, one by one and in batches of 32. A request carries the 50 events that the
tower reads, or names a customer. Peers and ``in_process`` rank by the tower alone, so what stands beside them is the
release without habits; the rows ``habits`` are of the other. The servers share one core and the load generator has
another, so that neither takes the other's time; ``trivial`` shows what the generator can do.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import httpx
import numpy as np
import psutil

from benchmarks.result import write_result
from benchmarks.serving_bodies import NUM_CUSTOMERS, Bodies
from benchmarks.serving_load import http_request, put_load_on
from benchmarks.serving_world import SmallShop, learn_towers, write_release
from features.release import ReleaseStore

ROOT: Final = Path(__file__).resolve().parents[1]
CONNECTIONS: Final = (1, 8, 32, 128)
TOP_K: Final = (20, 100)
_SERVER_CORE, _LOAD_CORE = -1, 0  # of those that this process may use
_LEAST_CORES: Final = 2
_OURS: Final = {"footfall": "store", "habits": "habits"}  # the stores
_SERVED: Final = (*_OURS, "starlette", "starlette_batched", "bentoml", "bentoml_batched", "trivial")
_NOTES: Final = {
    "footfall": "`footfall serve`, one worker",
    "footfall, by id": "the same: the customer is named, so that consents, stored history and live state are read; there are "
    "no live events of theirs, and nothing is left out",
    "footfall, by id, live": "the same of customers with live events, and seen items are left out",
    "footfall, habits": "`footfall serve`, one worker, over a release with habits: what the customer may buy again is ranked "
    "beside what is new, the default of what training writes",
    "footfall, habits, by id": "the same, the customer is named",
    "starlette": "bare Starlette on uvicorn, no batching",
    "starlette_batched": "bare Starlette with a 15-line micro-batcher in a thread",
    "bentoml": "BentoML's own endpoint, async, access log, tracing and metrics off",
    "bentoml_batched": "the same with BentoML's adaptive batching",
    "trivial": "an app that answers {} at once: what the load generator can do",
    "in_process": "from a body to the body of the answer, no HTTP",
    "in_process_ranking": "from events as arrays to codes and scores: tower and index alone",
}


def main() -> None:
    arguments, started = _arguments(), time.perf_counter()
    with contextlib.ExitStack() as stack:
        work = arguments.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = release_in(work, num_items=arguments.items)
        print(f"releases: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
        cores = sorted(os.sched_getaffinity(0))
        servers = stack.enter_context(_served(store, cores[_SERVER_CORE]))
        os.sched_setaffinity(0, {cores[_LOAD_CORE]})
        bodies = Bodies(store)
        for kind in _OURS:
            post_live_events(servers[kind].port, bodies)
        rounds = [
            one_round(number, store, servers, bodies, arguments, core=cores[_SERVER_CORE])
            for number in range(arguments.rounds)
        ]
    os.sched_setaffinity(0, set(cores))  # as the result is to say
    if len(cores) < _LEAST_CORES:
        print("only one core: server and load generator took each other's time", file=sys.stderr)
    write_result(
        arguments.json,
        benchmark="serving",
        data=f"synthetic shop, version 1, {arguments.items} items; two-layer tower, width 64, over the last 50 events",
        protocol="One worker on one core, the load generator on another, loopback, one run; medians over rounds in which "
        "every model takes its turn, `interval` their range. `ratios` are of the same round; `rate_over_plain`: a row by id "
        "with live events over the one without, one with habits over the one without, one by id over the one with events. "
        f"Sizes of a request with 50 events: {bodies.sizes}",
        seeds=[0],
        results=rows_of(rounds),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="directory that keeps the release; a temporary one where left out")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.6, help="of each measurement")
    parser.add_argument("--connections", type=int, nargs="+", default=CONNECTIONS)
    parser.add_argument("--top-k", type=int, nargs="+", default=TOP_K)
    return parser.parse_args()


def release_in(work: Path, *, num_items: int) -> Path:
    """Return the store of a release over the synthetic shop; ``habits`` beside it has one that knows habits as well.

    What ``work`` holds is not made again.
    """
    if ReleaseStore(root=work / "habits").current_id is None:  # the last that is written
        shop = SmallShop.draw(num_items=num_items, num_users=2_000, num_days=60)
        towers = learn_towers(shop, work / "learning", num_steps=600)
        for kind, directory in _OURS.items():
            write_release(shop, towers, work / directory, num_customers=NUM_CUSTOMERS, habits=kind == "habits")
    return work / "store"


def post_live_events(port: int, bodies: Bodies) -> None:
    """Send the service what customers did since the release was made."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        for sent, body in bodies.live_events():
            found = client.post("/v1/events", content=body).raise_for_status().json()
            if found["accepted"] != sent:
                raise SystemExit(f"expected {sent} live events to be kept, found {found}")


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server under load."""

    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """Return what it and its workers have used so far."""
        every = [self.process, *self.process.children(recursive=True)]
        return sum(sum(one.cpu_times()[:2]) for one in every)


@contextlib.contextmanager
def _served(store: Path, core: int) -> Iterator[dict[str, Served]]:
    """Run every server on one core."""
    servers = {}
    with contextlib.ExitStack() as stack:
        for kind in _SERVED:
            port = _free_port()
            process = stack.enter_context(_process(_command(kind, store, port), core))
            servers[kind] = Served(port=port, process=psutil.Process(process.pid))
        for kind, server in servers.items():
            _wait_until_ready(kind, server.port)
        yield servers


def _command(kind: str, store: Path, port: int) -> list[str]:
    if kind in _OURS:
        store = store.parent / _OURS[kind]
        return [sys.executable, str(ROOT / "footfall.py"), "serve", str(store), "--port", str(port), "--workers", "1"]
    peer = str(ROOT / "benchmarks" / "serving_peers.py")
    return [sys.executable, peer, kind, "--store", str(store), "--port", str(port)]


@contextlib.contextmanager
def _process(command: Sequence[str], core: int) -> Iterator[subprocess.Popen[bytes]]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            env=os.environ | threads | {"BENTOML_HOME": home},
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace")[-4000:])
            raise
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_until_ready(kind: str, port: int, *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    path = "/readyz" if kind in _OURS or kind.startswith("bentoml") else "/"
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            status = httpx.get(f"http://127.0.0.1:{port}{path}").status_code
            if path == "/" or status == httpx.codes.OK:  # a peer is there, even where this address is not
                return
        time.sleep(0.2)
    raise SystemExit(f"{kind}: not ready after {seconds:.0f} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


Measured = dict[tuple[str, int, int], dict[str, float]]  # by model, connections (0 in process) and top k


def one_round(
    number: int, store: Path, servers: dict[str, Served], bodies: Bodies, arguments: argparse.Namespace, *, core: int
) -> Measured:
    """Measure every model once, in an order that each round turns."""
    found: Measured = {}
    for k in arguments.top_k:
        cells = cells_of(bodies, k=k)
        turn = number % len(cells)
        for connections in arguments.connections:
            for model, server, chosen in cells[turn:] + cells[:turn]:
                load = _put_load_on(model, servers[server], chosen, connections, arguments.seconds)
                found[model, connections, k] = load
        found |= _in_process(store, k=k, core=core)
    return found


def cells_of(bodies: Bodies, *, k: int) -> list[tuple[str, str, Sequence[bytes]]]:
    """Return what is measured: the model, the server that it is, and what that is asked."""
    with_events, quiet = bodies.with_events(k=k), bodies.by_id(k=k, is_live=False)
    return [
        *((kind, kind, with_events) for kind in _SERVED if kind != "habits"),
        ("footfall, by id", "footfall", quiet),
        ("footfall, by id, live", "footfall", bodies.by_id(k=k, is_live=True)),
        ("footfall, habits", "habits", with_events),
        ("footfall, habits, by id", "habits", quiet),
    ]


def _put_load_on(
    model: str, server: Served, bodies: Sequence[bytes], connections: int, seconds: float
) -> dict[str, float]:
    if model == "bentoml_batched":  # its one argument is a list
        bodies = [b'{"requests":[' + body + b"]}" for body in bodies]
    requests = [http_request("/v1/recommend", body) for body in bodies]
    before = server.cpu_seconds()
    load = put_load_on(server.port, requests, connections=connections, seconds=seconds)
    found = load.metrics() | {"server_cpu_us": 1e6 * (server.cpu_seconds() - before) / max(1, load.answered)}
    print(f"{model:20s} connections {connections:3d} {found}", file=sys.stderr, flush=True)
    return found


def _in_process(store: Path, *, k: int, core: int) -> Measured:
    """Run ``serving_in_process.py`` on the servers' core."""
    command = [sys.executable, str(ROOT / "benchmarks" / "serving_in_process.py"), str(store), str(k)]
    done = subprocess.run(["taskset", "-c", str(core), *command], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"in process, top {k}: {found}", file=sys.stderr, flush=True)
    return {(model, 0, k): metrics for model, metrics in found.items()}


def rows_of(rounds: Sequence[Measured]) -> list[dict[str, Any]]:
    """Return a row a cell: medians over the rounds, and ratios to what the aims are about."""
    return [_row(cell, rounds) for cell in rounds[0]]


def _row(cell: tuple[str, int, int], rounds: Sequence[Measured]) -> dict[str, Any]:
    model, connections, k = cell
    values = {name: _finite(one[cell][name] for one in rounds) for name in rounds[0][cell]}
    ratios = {name: _finite(_ratio(one, cell, *other) for one in rounds) for name, other in _compared(cell).items()}
    name, _, batch = model.partition(" of ")
    return {
        "model": name.partition(",")[0],
        "connections": connections,
        "top_k": k,
        "metrics": {key: float(np.median(found)) for key, found in values.items() if found},
        "interval": {key: [min(found), max(found)] for key, found in values.items() if found},
        "ratios": {
            key: {"median": float(np.median(found)), "range": [min(found), max(found)]}
            for key, found in ratios.items()
            if found
        },
        "config": _config(model, batch),
        "note": _NOTES[name],
    }


def _config(model: str, batch: str) -> dict[str, Any]:
    if batch:
        return {"batch": int(batch)}
    if not model.startswith("footfall"):
        return {}
    is_live = model.endswith("live")
    return {"habits": "habits" in model, "by_id": "by id" in model, "live_events": is_live, "exclude_seen": is_live}


def _compared(cell: tuple[str, int, int]) -> dict[str, tuple[tuple[str, int, int], str]]:
    """Return what a cell of ours is set beside: by name of the ratio, the other cell and the metric."""
    model, connections, k = cell
    if not model.startswith("footfall"):
        return {}
    if model != "footfall":
        # The same request without what is asked of the service in addition.
        plain = "footfall, by id" if model.endswith(", live") else model.replace(", habits", "")
        return {"rate_over_plain": ((plain if plain != model else "footfall", connections, k), "requests_per_s")}
    ratios = {
        "rate_over_in_process_batch": (("in_process of 32", 0, k), "requests_per_s"),
        "rate_over_ranking_batch": (("in_process_ranking of 32", 0, k), "requests_per_s"),
        "p50_over_in_process": (("in_process of 1", 0, k), "p50_ms"),
        "p50_over_ranking": (("in_process_ranking of 1", 0, k), "p50_ms"),
    }
    for peer in ("starlette", "starlette_batched", "bentoml", "bentoml_batched"):
        ratios[f"rate_over_{peer}"] = ((peer, connections, k), "requests_per_s")
    return ratios


def _ratio(measured: Measured, cell: tuple[str, int, int], other: tuple[str, int, int], metric: str) -> float:
    divisor = measured[other][metric]
    return measured[cell][metric] / divisor if divisor else math.nan


def _finite(values: Iterable[float]) -> list[float]:
    """Leave out what a server that answered nothing in time has no figure for."""
    return [value for value in values if math.isfinite(value)]


if __name__ == "__main__":
    main()
