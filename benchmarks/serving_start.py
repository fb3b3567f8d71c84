"""From the command to the first answer, and memory, beside a BentoML service that does nothing: two workers each.

    nice -n 0 .venv/bin/python benchmarks/serving_start.py --json OUT [--work DIR] [--rounds 5]

The two start in turns, so that a busy machine is busy for both. Ready is the first 200 of /readyz, which a worker
answers once its release is loaded; CPU is what supervisor and workers used until both workers were ready. Memory is
proportional (PSS): a page that two processes share counts half for each.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil

from benchmarks.result import write_result
from serving.process.fork_parent import WORKER_NAME

ROOT: Final = Path(__file__).resolve().parents[1]
_SECONDS: Final = 180
_COMPARED: Final = ("ready_s", "cpu_s", "pss_mb", "supervisor_mb", "worker_mb")
_WORKERS: Final = 2
_EMPTY: Final = """
import bentoml
@bentoml.service(name="empty", workers=2)
class Empty:
    @bentoml.api
    def ping(self) -> str:
        return "pong"
"""
_SERVE_EMPTY: Final = """
import sys
sys.path.insert(0, sys.argv[1])
from empty_service import Empty
Empty.inject_config()
from _bentoml_impl.server import serve_http
serve_http("empty_service:Empty", working_dir=sys.argv[1], host="127.0.0.1", port=int(sys.argv[2]))
"""
_SERVE_OURS: Final = """
import sys, msgspec
from serving.process.launch import serve
from serving.process.settings import ServeSettings
sys.exit(serve(msgspec.json.decode(sys.argv[1], type=ServeSettings)))
"""


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="footfall-start-") as scratch:
        store = options.store or _store(options.work or Path(scratch) / "work")
        rows: dict[str, list[dict[str, float]]] = {"empty": [], "ours": []}
        for round_ in range(options.rounds + 1):  # the first one warms the page cache, and is not counted
            for name in ("empty", "ours"):
                row = _measured(_empty(Path(scratch)) if name == "empty" else _ours(store, Path(scratch)))
                print(json.dumps({"round": round_, "service": name} | row), flush=True)
                if round_:
                    rows[name].append(row)
    results = [_row(name, found) for name, found in rows.items()] + [_ratios(rows)]
    if options.json:
        write_result(
            options.json,
            benchmark="serving_start",
            data="synthetic shop, 100,000 items x 64",
            protocol=f"{options.rounds} rounds in turns, {_WORKERS} workers each, page cache warm",
            seeds=[0],
            results=results,
        )
    print(json.dumps(results[-1]["metrics"]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--work", type=Path, help="keep the release here and use it again")
    parser.add_argument("--store", type=Path, help="a store to serve, whatever it holds")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def _store(work: Path) -> Path:
    from benchmarks.serving_world import SmallShop, learn_towers, write_release  # noqa: PLC0415 - brings torch

    store = work / "store"
    if not (store / "current.json").exists():
        shop = SmallShop.draw(num_items=100_000, num_users=5_000, num_days=30)
        write_release(shop, learn_towers(shop, work / "towers", num_steps=50), store)
    return store


def _empty(scratch: Path) -> tuple[Sequence[str], int]:
    (scratch / "empty_service.py").write_text(_EMPTY)
    port = _free_port()
    return [sys.executable, "-c", _SERVE_EMPTY, str(scratch), str(port)], port


def _ours(store: Path, scratch: Path) -> tuple[Sequence[str], int]:
    port = _free_port()
    live = {"file": str(scratch / "live.sqlite")}
    settings = {"store": str(store), "port": port, "workers": _WORKERS, "live": live}
    return [sys.executable, "-c", _SERVE_OURS, json.dumps(settings)], port


def _measured(start: tuple[Sequence[str], int]) -> dict[str, float]:
    command, port = start
    with tempfile.TemporaryDirectory() as home, _running(command, home) as process:
        began = time.perf_counter()
        _wait_until_ready(process, port)
        ready = time.perf_counter() - began
        cpu = _cpu_when_settled(process.pid)
        return {"ready_s": ready, "cpu_s": cpu} | _memory(process.pid)


@contextlib.contextmanager
def _running(command: Sequence[str], home: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "BENTOML_HOME": home, "BENTOML_DO_NOT_TRACK": "True"}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, env=environment, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the service ended before it was ready"
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=_SECONDS).close()
            return
        time.sleep(0.01)
    raise TimeoutError(f"not ready after {_SECONDS} s")


def _cpu_when_settled(pid: int) -> float:
    """Return the CPU seconds that the processes used, once they use no more: the other worker is ready too by then."""
    before = -1.0
    while (now := _cpu(pid)) - before > 0.02:
        before = now
        time.sleep(0.4)
    return now


def _processes(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def _cpu(pid: int) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in _processes(pid))


def _memory(pid: int) -> dict[str, float]:
    supervisor, *others = _processes(pid)
    pss = {one.pid: _pss_mb(one.pid) for one in (supervisor, *others)}
    # Ours has a third process, from which both workers are forked.
    workers = [one.pid for one in others if one.name() == WORKER_NAME] or [one.pid for one in others]
    rest = sum(mb for key, mb in pss.items() if key not in {pid, *workers})
    each = statistics.fmean(pss[key] for key in workers)
    return {"pss_mb": sum(pss.values()), "supervisor_mb": pss[pid], "worker_mb": each, "forks_mb": rest}


def _pss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the kernel tells the proportional size")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _row(name: str, rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    medians = {key: round(statistics.median(row[key] for row in rows), 3) for key in rows[0]}
    return {"model": name, "metrics": medians, "per_seed": list(rows)}


def _ratios(rows: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Return the median of the ratios of each round: what was slow was slow for both."""
    pairs = list(zip(rows["ours"], rows["empty"], strict=True))
    metrics = {key: round(statistics.median(a[key] / b[key] for a, b in pairs), 3) for key in _COMPARED}
    return {"model": "ours / empty", "metrics": metrics}


if __name__ == "__main__":
    main()
