"""Milliseconds of ``POST /v1/segments`` over HTTP, against a served customers part.

    python benchmarks/segments.py --work DIR --json OUT

A synthetic shop is made, its features are built, a small retrieval model is trained (a release needs one), the parts
are promoted and ``footfall serve`` answers on this machine: all by the commands that a shop types. Stages that DIR holds
already are not run again. One client sends one request after another over one connection; each asks for ids that are
drawn at random of all customers, in random order. The client's own time for writing and reading JSON is not counted.
``cpu_ms`` is what the server's processes computed for a call: it hardly depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import httpx
import numpy as np
import psutil

from benchmarks.result import write_result
from features.build import CUSTOMERS_FILE
from features.customers.table import CustomerTable

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[1]
SIZES: Final = (10_000, 1_000, 100, 1)
WARM_UP: Final = 5
DIGITS: Final = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--calls", type=int, default=100, help="requests of each size that are timed")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    features, store = prepare(arguments)
    ids = list(CustomerTable.load(features / CUSTOMERS_FILE).frame["user_id"])
    with served(store, arguments.work / "serve.log") as (url, server), httpx.Client(base_url=url, timeout=60) as client:
        rows = [measured(client, server, ids, min(size, len(ids)), arguments.calls) for size in SIZES]
    write_result(
        arguments.json,
        benchmark="segments",
        data=f"synthetic shop, {arguments.users} users, {arguments.items} items, {arguments.days} days, seed 0; "
        f"{len(ids)} customers with consent",
        protocol=f"POST /v1/segments of ids drawn at random, {arguments.calls} calls of each size after {WARM_UP} that are "
        "not counted, one connection on the same machine, footfall serve with one worker; from the first byte sent to the "
        "last received",
        seeds=[0],
        results=rows,
    )


def prepare(arguments: argparse.Namespace) -> tuple[Path, Path]:
    """Make what the service serves; return the features and the store."""
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    data, features, store = work / "data", work / "features", work / "store"
    if not data.exists():
        size = ["--users", arguments.users, "--items", arguments.items, "--days", arguments.days]
        footfall("data", "synth", data, *size, "--seed", 0)
    if not features.exists():
        footfall("features", data, features)
    if not (store / "current.json").exists():
        small = ["--model.schedule.max_epochs", 1, "--model.tower.dim", 16, "--model.refit", "false"]
        footfall("train", "retrieval", features, store, *small)
        footfall("promote", store, "--features", features, "--force", "true")
    return features, store


def footfall(*words: object) -> None:
    subprocess.run([sys.executable, str(ROOT / "footfall.py"), *map(str, words)], check=True, stdout=subprocess.DEVNULL)


@contextmanager
def served(store: Path, log: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Yield the address of a service that is ready, and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, str(ROOT / "footfall.py"), "serve", str(store), "--port", str(port), "--workers", "1"]
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(process, url, log)
        yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz").status_code == httpx.codes.OK:
                return
        if process.poll() is not None:
            break
        time.sleep(0.2)
    raise SystemExit(f"the service did not come up:\n{log.read_text()[-2000:]}")


def measured(client: httpx.Client, server: psutil.Process, ids: list[str], size: int, calls: int) -> dict[str, Any]:
    """Return the row of requests of one size."""
    rng = random.Random(0)
    milliseconds, num_bytes, errors, before = [], 0, 0, 0.0
    for call in range(WARM_UP + calls):
        before = cpu_seconds(server) if call == WARM_UP else before
        body = json.dumps({"user_ids": rng.sample(ids, size)}).encode()
        started = time.perf_counter()
        answer = client.post("/v1/segments", content=body, headers={"content-type": "application/json"})
        spent = 1000 * (time.perf_counter() - started)
        if call >= WARM_UP:
            milliseconds.append(spent)
            errors += answer.status_code != httpx.codes.OK or len(answer.json()["segments"]) != size
            num_bytes = max(num_bytes, len(answer.content))
    p50, p99 = (round(float(np.quantile(milliseconds, q)), DIGITS) for q in (0.5, 0.99))
    cpu_ms = round(1000 * (cpu_seconds(server) - before) / calls, DIGITS)
    metrics = {"num_ids": size, "p50_ms": p50, "p99_ms": p99, "cpu_ms": cpu_ms, "errors": errors,
               "answer_kb": round(num_bytes / 1000, 1)}  # fmt: skip
    return {"model": "footfall", "metrics": metrics, "connections": 1, "note": f"{size:,} ids a call"}


def cpu_seconds(server: psutil.Process) -> float:
    """Return what a process and those below it have computed so far."""
    times = [one.cpu_times() for one in (server, *server.children(recursive=True))]
    return sum(time.user + time.system for time in times)


if __name__ == "__main__":
    main()
