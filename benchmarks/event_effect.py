"""From an acknowledged event to the next answer: over many trials, does it reflect the event each time, and how soon?

    python benchmarks/event_effect.py --json OUT [--trials 1000] [--redis]

Protocol: the real server with two workers and a small release, over loopback; 24 connections kept open, which lie on both
workers (counted). A trial is one customer: /v1/recommend is asked over a connection to each worker, so that both hold in memory that
nothing is known (``held`` counts trials where both said so); then a view of an item that may be shown is sent over one connection; as
soon as it is acknowledged, /v1/recommend is asked over another, drawn at random. In every third trial the event is sent under another id
that the release links to the customer's (``linked``). The answer reflects the event where its first item is
the nearest to the one that was viewed (that item itself), as a history of one item has it, and its strategy is ``session``.
Meanwhile another client sends some ten requests a second, events and questions of other customers (``beside``).
``crossed`` counts trials whose two connections lie on different workers. ``shown_ms`` is from sending the event to the end of the
answer that reflects it. ``posted_per_s`` counts acknowledged calls of one event each, over 1 and over 32 connections, where those that
arrive while the disk is waited for share the next wait. SQLite in both durabilities; with ``--redis`` a real Redis as well.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import httpx
import msgspec
import pandas as pd

from benchmarks.live_state import percentiles, redis_server
from benchmarks.result import write_result
from benchmarks.serving_load import http_request, put_load_on
from features.identity.graph import ID_COLUMNS
from features.identity.map import IdentityMap
from serving.process.settings import ServeSettings
from tests.serving.server_process import Server, free_port, view, workers_of
from tests.serving.tiny_release import build

NUM_CONNECTIONS: Final = 24
WORKERS: Final = 2
POST_SECONDS: Final = 3.0
LINKED_EVERY: Final = 3


def connections(server: Server) -> tuple[list[httpx.Client], list[int]]:
    """Return clients with one open connection each, and which worker each lies on; they lie on all of them."""
    for _ in range(60):
        clients, worker = _connected(server)
        if len(set(worker) - {-1}) == WORKERS:
            return clients, worker
        for client in clients:  # a worker was not ready yet
            client.close()
        time.sleep(1)
    raise SystemExit("expected connections to every worker, found some without any")


def _connected(server: Server) -> tuple[list[httpx.Client], list[int]]:
    clients = [httpx.Client(base_url=server.url, timeout=30) for _ in range(NUM_CONNECTIONS)]
    with ThreadPoolExecutor(NUM_CONNECTIONS) as threads:
        list(threads.map(lambda client: client.get("/v1/customers"), clients))
    port_of = {own: row for row, client in enumerate(clients) for own in _ports(client)}
    worker = [-1] * NUM_CONNECTIONS
    for number, process in enumerate(workers_of(server)):
        for connection in process.net_connections():
            if connection.raddr and connection.raddr.port in port_of:
                worker[port_of[connection.raddr.port]] = number
    return clients, worker


def _ports(client: httpx.Client) -> Iterator[int]:
    for connection in client._transport._pool.connections:  # type: ignore[attr-defined]
        stream = connection._connection._network_stream
        yield stream.get_extra_info("client_addr")[1]


def links(count: int) -> IdentityMap:
    """Return the links of every third trial's customer to a device."""
    at = pd.Timestamp("2026-01-01", tz="UTC")
    rows = [
        (id_, kind, f"trial-{trial}", "trial", at, at)
        for trial in range(0, count, LINKED_EVERY)
        for id_, kind in ((f"trial-{trial}", "user_id"), (f"device-{trial}", "device_id"))
    ]
    return IdentityMap(frame=pd.DataFrame(rows, columns=list(ID_COLUMNS)))


@contextlib.contextmanager
def others_beside(server: Server, items: Sequence[str]) -> Iterator[list[int]]:
    """Have other customers ask and send meanwhile; what is yielded grows by one a request."""
    done, ended = [], threading.Event()

    def go_on() -> None:
        with httpx.Client(base_url=server.url, timeout=30) as client:
            while not ended.wait(0.1):
                user = f"other-{len(done) % 50}"
                body: dict[str, Any] = {"user_id": user, "k": 10}
                path = "/v1/recommend"
                if len(done) % 2:
                    path, body = "/v1/events", {"events": [view(user, items[len(done) % len(items)])]}
                done.append(client.post(path, json=body).raise_for_status().status_code)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield done
    finally:
        ended.set()
        thread.join()


def trials(server: Server, items: Sequence[str], count: int) -> dict[str, float]:
    """Run the trials one after another."""
    clients, worker = connections(server)
    with others_beside(server, items) as beside:
        found = _trials(clients, worker, items, count)
    for client in clients:
        client.close()
    return {"trials": count, "beside": len(beside)} | found


def _trials(
    clients: Sequence[httpx.Client], worker: Sequence[int], items: Sequence[str], count: int
) -> dict[str, float]:
    rng = random.Random(0)
    of_worker = [clients[worker.index(number)] for number in range(WORKERS)]
    acknowledged, shown, reflected, crossed, held = [], [], 0, 0, 0
    for trial in range(count):
        item, asked = rng.choice(items), {"user_id": f"trial-{trial}", "k": 1}
        sender, asker = rng.sample(range(NUM_CONNECTIONS), 2)
        before = [client.post("/v1/recommend", json=asked).json()["strategy"] for client in of_worker]
        held += "session" not in before
        user = f"trial-{trial}" if trial % LINKED_EVERY else f"device-{trial}"
        started = time.perf_counter()
        sent = clients[sender].post("/v1/events", json={"events": [view(user, item)]})
        acknowledged.append(time.perf_counter() - started)
        answer = clients[asker].post("/v1/recommend", json=asked).json()
        shown.append(time.perf_counter() - started)
        found = [one["item_id"] for one in answer["items"]]
        reflected += sent.json()["accepted"] == 1 and answer["strategy"] == "session" and found == [item]
        crossed += worker[sender] != worker[asker]
    return {
        "held": held,
        "linked": len(range(0, count, LINKED_EVERY)),
        "reflected": reflected,
        "crossed": crossed,
        "workers_with_connections": len(set(worker) - {-1}),
        **{f"acknowledged_{name}": value for name, value in percentiles(acknowledged).items()},
        **{f"shown_{name}": value for name, value in percentiles(shown).items()},
    }


def posted(server: Server, items: Sequence[str]) -> dict[str, float]:
    """Return how many calls of one event each are acknowledged a second; each sending of such an event counts."""
    bodies = [json.dumps({"events": [view(f"poster-{n}", items[n % len(items)])]}).encode() for n in range(500)]
    requests = [http_request("/v1/events", body) for body in bodies]
    found = {}
    for number in (1, 32):
        load = put_load_on(server.settings.port, requests, connections=number, seconds=POST_SECONDS).metrics()
        assert not load["errors"], load
        found |= {f"posted_per_s_{number}": round(load["requests_per_s"], 1)}
        found |= {f"posted_p99_ms_{number}": round(load["p99_ms"], 3)}
    return found


def measure(directory: Path, count: int, *, redis: bool) -> Iterator[tuple[str, dict[str, float]]]:
    tiny = build(directory / "store", links=links(count))
    items = [str(tiny.vocabulary.ids[code - 2]) for code in range(2, len(tiny.catalog)) if tiny.catalog.available[code]]

    def one(live: dict[str, Any]) -> dict[str, float]:
        given = {"store": str(tiny.store.root), "port": free_port(), "workers": WORKERS, "live": live}
        server = Server(msgspec.convert(given, ServeSettings), directory / "log")
        try:
            return trials(server.wait_until_ready(), items, count) | posted(server, items)
        finally:
            server.kill()

    for durability in ("process", "power"):
        yield f"SQLite, durability {durability}", one({"durability": durability, "file": str(directory / durability)})
    if redis:
        with redis_server(directory, "always") as url:
            yield "Redis, appendfsync always", one({"url": url})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--redis", action="store_true")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        for name, metrics in measure(Path(directory), given.trials, redis=given.redis):
            print(name, json.dumps(metrics), flush=True)
            empty: dict[str, Any] = {
                "interval": {},
                "per_seed": {},
                "fit_cpu_s": 0.0,
                "fit_wall_s": 0.0,
                "peak_mb": 0.0,
            }
            rows.append({"model": name, "metrics": metrics, "config": {"workers": WORKERS}, "note": ""} | empty)
    write_result(
        given.json,
        benchmark="event_effect",
        data="a small release of 193 items, made up",
        protocol=" ".join((__doc__ or "").split("Protocol: ")[1].split()),
        seeds=(0,),
        results=rows,
    )


if __name__ == "__main__":
    main()
