"""What live state costs: acknowledged events a second, and reading it on the way to a recommendation.

    python benchmarks/live_state.py --json OUT [--seconds 2]

Protocol: one or two processes add events of 1,000 users for ``--seconds``, one at a time or in batches of 100, each ``add``
timed until it is acknowledged; the store keeps, logs and trims as it does in the service. SQLite in both durabilities, on
the disk of ``--directory``; a real redis-server beside it with ``appendonly yes``, which writes to the disk before each
answer (``appendfsync always``) or every second. Floors: ``fdatasync`` of 4 KB at the end of a file, and bare ``INSERT``s of
the same five fields into an empty table with one unique index.
Reads: 32 of 1,000 users at a time, with 50 live events each, with their consents, as a batch of requests reads them: µs a
request. ``fresh``: none was read before; ``held``: all were, and nothing was committed since; ``changing``: all were, and
one event is committed between any two batches. ``us_p50`` is by the clock, ``cpu_us_p50`` what the reading thread computed.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import multiprocessing
import os
import random
import resource
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.result import write_result
from features.identity.map import IdentityMap
from features.privacy.consents import ConsentBook
from serving.live.opening import open_live
from serving.live.reads import LiveReads
from serving.live.settings import LiveSettings
from serving.live.store import LiveEvent, LiveStore
from serving.privacy.consents import ConsentWatch

NUM_USERS: Final = 1_000
NUM_EVENTS: Final = 50
BATCH: Final = 32
_FORK: Final = multiprocessing.get_context("fork")


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    at = {"p50_ms": 0.5, "p99_ms": 0.99}
    return {name: round(1e3 * ordered[int(share * (len(ordered) - 1))], 4) for name, share in at.items()}


def keep(events: Sequence[LiveEvent]) -> list[Any]:
    return ["kept"] * len(events)


def some_events(name: str, count: int) -> Iterator[list[LiveEvent]]:
    """Endless batches of new events, each about now."""
    rng = random.Random(name)
    for number in itertools.count():
        now_us = time.time_ns() // 1000
        yield [
            LiveEvent(
                f"{name}-{number}-{n}",
                f"user-{rng.randrange(NUM_USERS)}",
                now_us,
                "view",
                f"item-{rng.randrange(9999)}",
            )
            for n in range(count)
        ]


def timed(call: Callable[[Any], object], batches: Iterator[Any], seconds: float) -> list[float]:
    taken: list[float] = []
    end = time.perf_counter() + seconds
    for batch in batches:
        started = time.perf_counter()
        call(batch)
        finished = time.perf_counter()
        taken.append(finished - started)
        if finished > end:
            return taken
    return taken


def written(settings: LiveSettings, *, processes: int, count: int, seconds: float, run: str) -> dict[str, float]:
    """Return events a second, over all processes, and percentiles of one acknowledgement."""
    receiver, sender = _FORK.Pipe(duplex=False)

    def write(number: int) -> None:
        live = open_live(settings, Path())
        sender.send(timed(lambda batch: live.add(batch, judge=keep), some_events(f"{run}-{number}", count), seconds))

    writers = [_FORK.Process(target=write, args=(number,)) for number in range(processes)]
    for writer in writers:
        writer.start()
    taken = [receiver.recv() for _ in writers]
    for writer in writers:
        writer.join()
    rates = [count * len(own) / sum(own) for own in taken]
    return {"events_per_s": round(sum(rates), 1)} | percentiles([one for own in taken for one in own])


def read(live: LiveStore, how: str) -> dict[str, float]:
    """Return µs a request of a batch's read: events and consents of each user."""
    reads = LiveReads(live)
    consents = ConsentWatch(ConsentBook.of_default(granted=True), live, reads, links=IdentityMap.empty())
    rng = random.Random(0)
    more = some_events(f"changing-{rng.random()}", 1)

    def batch(users: Sequence[str]) -> None:
        with reads.together(users):
            for user in users:
                consents.of(user)
                reads.of((user,))

    taken, cpu = [], []
    for start in range(0, NUM_USERS - BATCH, BATCH) if how == "fresh" else range(300):
        users = [f"user-{start + n}" for n in range(BATCH)] if how == "fresh" else rng.sample(_USERS, BATCH)
        if how == "changing":
            live.add(next(more), judge=keep)
        started, started_cpu = time.perf_counter(), time.thread_time()
        batch(users)
        taken.append((time.perf_counter() - started) / BATCH)
        cpu.append((time.thread_time() - started_cpu) / BATCH)
    return {name: round(1e6 * statistics.median(one), 2) for name, one in (("us_p50", taken), ("cpu_us_p50", cpu))}


_USERS: Final = [f"user-{number}" for number in range(NUM_USERS)]


def filled(settings: LiveSettings) -> LiveStore:
    live = open_live(settings, Path())
    now_us = time.time_ns() // 1000
    for number in range(NUM_EVENTS):
        rows = [LiveEvent(f"{u}-{number}", u, now_us - 10**6 * number, "view", f"item-{number}") for u in _USERS]
        live.add(rows, judge=keep)
    return live


def floors(directory: Path, seconds: float) -> Iterator[tuple[str, dict[str, float]]]:
    with (directory / "floor").open("wb", buffering=0) as file:

        def sync(_: object) -> None:
            file.write(b"0" * 4096)
            os.fdatasync(file.fileno())

        yield "floor: fdatasync of 4 KB", percentiles(timed(sync, itertools.repeat(0), seconds))
    for synchronous, count in itertools.product(("NORMAL", "FULL"), (1, 100)):
        path = directory / f"floor-{synchronous}-{count}.sqlite"
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("CREATE TABLE e (id TEXT UNIQUE, user_id TEXT, ts INTEGER, kind TEXT, item TEXT)")

        def insert(batch: Sequence[LiveEvent], to: sqlite3.Connection = connection) -> None:
            to.execute("BEGIN IMMEDIATE")
            to.executemany("INSERT INTO e VALUES (?, ?, ?, ?, ?)", [event[:5] for event in batch])
            to.execute("COMMIT")

        taken = timed(insert, some_events("floor", count), seconds)
        rate = {"events_per_s": round(count * len(taken) / sum(taken), 1)}
        yield f"floor: bare INSERT, synchronous {synchronous}, batch {count}", rate | percentiles(taken)
        connection.close()


@contextlib.contextmanager
def redis_server(directory: Path, fsync: str) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = Path(tempfile.mkdtemp(dir=directory))
    words = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(place), "--save", ""]
    words += ["--appendonly", "yes", "--appendfsync", fsync]
    process = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def places(directory: Path) -> Iterator[dict[str, Callable[[str], LiveSettings]]]:
    """Yield, by name, what gives the settings of a new, empty store."""
    with contextlib.ExitStack() as stack:
        found: dict[str, Callable[[str], LiveSettings]] = {
            f"SQLite, durability {durability}": lambda run, durability=durability: LiveSettings(  # type: ignore[misc]
                file=str(directory / f"{run}.sqlite"), durability=durability
            )
            for durability in ("process", "power")
        }
        if shutil.which("redis-server"):
            for fsync in ("everysec", "always"):
                url = stack.enter_context(redis_server(directory, fsync))
                found[f"Redis, appendfsync {fsync}"] = lambda run, url=url: LiveSettings(  # type: ignore[misc]
                    url=url, prefix=run, timeout_ms=5000
                )
        yield found


def measure(directory: Path, seconds: float) -> Iterator[tuple[str, dict[str, float]]]:
    yield from floors(directory, seconds)
    with places(directory) as stores:
        for place, (name, settings) in enumerate(stores.items()):
            for processes, count in itertools.product((1, 2), (1, 100)):
                run = f"w{place}-{processes}-{count}"
                found = written(settings(run), processes=processes, count=count, seconds=seconds, run=run)
                yield f"{name}: {processes} process(es), batch {count}", found
        for place, (name, settings) in enumerate(stores.items()):
            live = filled(settings(f"r{place}"))
            for how in ("fresh", "held", "changing"):
                yield f"{name}: read of {BATCH} users x {NUM_EVENTS} events, {how}", read(live, how)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument(
        "--directory", type=Path, help="on the disk to measure; the system's for temporary files where left out"
    )
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=given.directory) as directory:
        for name, metrics in measure(Path(directory), given.seconds):
            print(name, json.dumps(metrics), flush=True)
            rows.append({"model": name, "metrics": metrics, "interval": {}, "per_seed": {}, "note": ""})
    for row in rows:
        row |= {"fit_cpu_s": 0.0, "fit_wall_s": 0.0, "config": {"seconds": given.seconds}}
        row["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    write_result(
        given.json,
        benchmark="live_state",
        data=f"{NUM_USERS} users, views made up",
        protocol=" ".join((__doc__ or "").split("Protocol: ")[1].split()),
        seeds=(0,),
        results=rows,
    )


if __name__ == "__main__":
    main()
