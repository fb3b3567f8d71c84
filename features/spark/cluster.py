"""A standalone Spark cluster on this machine: a master and workers, each a process of its own, on loopback alone.

    python -m features.spark.cluster --workers 2

It prints the master's URL and runs until it is interrupted. For trials, tests and benchmarks: a shop's own cluster has its
own master.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from features.errors import ConfigError

_URL: Final = re.compile(r"Starting Spark master at (spark://127\.0\.0\.1:\d+)")
_REGISTERED: Final = re.compile(r"Successfully registered with master")
_MASTER_CLASS: Final = "org.apache.spark.deploy.master.Master"
_WORKER_CLASS: Final = "org.apache.spark.deploy.worker.Worker"
_START_S: Final = 240.0  # about 3 s where a core is free; many times that on a machine that has none
_STOP_S: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class LoopbackCluster:
    """A running cluster.

    Args:
        url: of the master.
        master: process id.
        workers: process ids; each leads a process group of its own, in which its executors run.
    """

    url: str
    master: int
    workers: tuple[int, ...]

    def kill_worker(self, number: int) -> None:
        """Kill a worker and its executors at once, as a machine that loses its power."""
        os.killpg(self.workers[number], signal.SIGKILL)


@contextlib.contextmanager
def loopback_cluster(*, workers: int = 2, cores: int = 1, memory: str = "1g") -> Iterator[LoopbackCluster]:
    """Start a master and workers, and stop them all.

    Args:
        workers: how many.
        cores: of each.
        memory: of each, for executors; one executor takes 1 GB unless ``spark.executor.memory`` says otherwise.

    Raises:
        ConfigError: pyspark is not installed, or a process did not start.
    """
    with tempfile.TemporaryDirectory(prefix="footfall-spark-") as directory, contextlib.ExitStack() as stack:
        place = Path(directory)
        master = stack.enter_context(_process(place, "master", _MASTER_CLASS, "--host", "127.0.0.1", "--port", "0"))
        url = _awaited(master, place / "master.log", _URL)
        size = ("--cores", str(cores), "--memory", memory, "--work-dir", str(place / "work"))
        names = [f"worker-{number}" for number in range(workers)]
        started = [
            stack.enter_context(_process(place, name, _WORKER_CLASS, "--host", "127.0.0.1", *size, url))
            for name in names
        ]
        for name, worker in zip(names, started, strict=True):
            _awaited(worker, place / f"{name}.log", _REGISTERED)
        yield LoopbackCluster(url=url, master=master.pid, workers=tuple(worker.pid for worker in started))


@contextlib.contextmanager
def _process(place: Path, name: str, main_class: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {
        "SPARK_LOCAL_IP": "127.0.0.1",  # what the pages for people listen on, which no other setting says
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
    }
    command = [str(_spark_class()), main_class, "--webui-port", "0", *arguments]
    with (place / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and whatever it started, which share its group."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_STOP_S)


def _spark_class() -> Path:
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        raise ConfigError("expected pyspark to be installed, found none; pip install 'footfall[spark]', and Java 17.")
    return Path(found.origin).parent / "bin" / "spark-class"


def _awaited(process: subprocess.Popen[bytes], log: Path, pattern: re.Pattern[str]) -> str:
    """Return what a process writes once it is up."""
    until = time.monotonic() + _START_S
    while time.monotonic() < until and process.poll() is None:
        if found := pattern.search(log.read_text(errors="replace")):
            return found[found.lastindex or 0]
        time.sleep(0.1)
    last = log.read_text(errors="replace").splitlines()[-3:]
    raise ConfigError(f"expected a Spark process to start within {_START_S:.0f} s, found {' | '.join(last)}")


def main() -> None:
    """Run a cluster until interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m features.spark.cluster", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--workers", type=int, default=2, help="how many workers")
    parser.add_argument("--cores", type=int, default=1, help="cores of each worker")
    parser.add_argument("--memory", default="1g", help="memory of each worker, for executors")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with (
        contextlib.suppress(KeyboardInterrupt),
        loopback_cluster(workers=options.workers, cores=options.cores, memory=options.memory) as cluster,
    ):
        sys.stdout.write(json.dumps({"master": cluster.url, "pids": [cluster.master, *cluster.workers]}) + "\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main()
