"""Mixed traffic on a real server with two workers while releases are swapped and workers are killed.

    .venv/bin/python benchmarks/soak.py --json OUT [--minutes 30] [--swaps 50] [--kills 5] [--rate 60] [--items 20000]

Customers look at every surface, send events, are looked up in bulk, and demand is asked for, at a bounded rate over kept
connections. It counts every status; connections that break, those of the killed worker apart; acknowledged events that the
server no longer knows at the end (each is sent again and must be a duplicate); answers of a release that came before one
that somebody had seen when the request was sent; and memory (PSS) over time.

A worker is stopped before it is killed, so that which connections were its own is known exactly.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import psutil

from benchmarks.result import write_result
from features.release import Part, PartKind, ReleaseStore

SURFACES: Final = ("for_you", "similar", "upgrade", "bought_together", "buy_it_again", "new_arrivals", "trending")
_PATIENCE_SECONDS: Final = 30.0


@dataclass(kw_only=True)
class Seen:
    """What the clients saw.

    Args:
        statuses: answers by call and status.
        broken: connections that broke though their worker lived, in words.
        broken_by_kill: connections that broke with their worker.
        went_back: answers by a release older than one that was seen when the request was sent.
        acknowledged: events that the server said it keeps, by id.
        latencies: of recommendations: when it was sent, and seconds until the answer.
        swaps: of each: when it was promoted, and when every worker had turned.
        memory: seconds since the start, and MB of supervisor and workers together.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    broken_by_kill: int = 0
    went_back: int = 0
    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)
    lost: int = 0
    latencies: list[tuple[float, float]] = field(default_factory=list)
    swaps: list[tuple[float, float]] = field(default_factory=list)
    kills: int = 0
    memory: list[tuple[float, float]] = field(default_factory=list)

    @property
    def num_5xx(self) -> int:
        """Answers that blame the server."""
        return sum(number for name, number in self.statuses.items() if name.rsplit(" ", 1)[1].startswith("5"))

    def metrics(self) -> dict[str, Any]:
        """Return what is counted, and quantiles of recommendations while a release is loaded and otherwise."""
        loading = [s for at, s in self.latencies if any(a <= at <= b for a, b in self.swaps)]
        otherwise = [s for at, s in self.latencies if not any(a <= at <= b for a, b in self.swaps)]
        return {
            "requests": sum(self.statuses.values()),
            "statuses": dict(sorted(self.statuses.items())),
            "num_5xx": self.num_5xx,
            "broken": len(self.broken),
            "broken_by_kill": self.broken_by_kill,
            "went_back": self.went_back,
            "events_acknowledged": len(self.acknowledged),
            "events_lost": self.lost,
            "swaps": len(self.swaps),
            "swap_s": _quantiles([b - a for a, b in self.swaps], scale=1.0),
            "kills": self.kills,
            "recommend_ms": _quantiles(otherwise),
            "recommend_while_loading_ms": _quantiles(loading),
            "memory_mb": {"first": self.memory[0][1], "last": self.memory[-1][1]} if self.memory else {},
            "memory_slope_mb_per_min": round(_slope(self.memory), 3),
        }


@dataclass(kw_only=True)
class World:
    """What the clients draw from, and what they share.

    Args:
        port: of the server.
        pid: of its supervisor.
        store: whose current release is changed.
        parts: versions of each part to make releases of.
        num_users: customers are ``user-0`` and on.
        num_items: items are ``item-0`` and on.
        rate: requests a second, all clients together.
        num_clients: connections.
    """

    port: int
    pid: int
    store: ReleaseStore
    parts: dict[PartKind, list[Part]]
    num_users: int
    num_items: int
    rate: float
    num_clients: int = 16
    seen: Seen = field(default_factory=Seen)
    order: dict[str, int] = field(default_factory=dict)  # release ids, in the order of their promotion
    newest: int = 0  # place of the newest release that an answer has named
    doomed: set[int] = field(default_factory=set)  # client ports whose worker was killed
    is_over: bool = False


class Client:
    """One connection that asks one thing after the other."""

    def __init__(self, world: World, number: int) -> None:
        self._world, self._number = world, number
        self._random = random.Random(number)
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._sent = 0

    async def run(self) -> None:
        """Ask until it is over."""
        pause = self._world.num_clients / self._world.rate
        await asyncio.sleep(self._random.random() * pause)
        while not self._world.is_over:
            began = time.monotonic()
            await self._one()
            await asyncio.sleep(max(0.0, pause - (time.monotonic() - began)))
        self._hang_up()

    async def check_events(self, events: Sequence[dict[str, Any]]) -> int:
        """Send acknowledged events again; return how many the server did not know any more."""
        unknown = 0
        for at in range(0, len(events), 500):
            answer = await self._ask("POST", "/v1/events", {"events": list(events[at : at + 500])})
            unknown += len(events[at : at + 500]) - answer["duplicates"]
        self._hang_up()
        return unknown

    async def release(self) -> dict[str, Any]:
        """Return what the server says of its releases, over a connection of its own: it would be idle for too long."""
        told = await self._ask("GET", "/v1/admin/release", None)
        self._hang_up()
        return told

    async def _one(self) -> None:
        draw = self._random.random()
        if draw < 0.7:
            await self._recommend()
        elif draw < 0.85:
            await self._events()
        elif draw < 0.9:
            await self._ask("GET", f"/v1/customers/{self._user()}", None, as_="GET /v1/customers/{user_id}")
        elif draw < 0.95:
            await self._ask("POST", "/v1/segments", {"user_ids": [self._user() for _ in range(50)]})
        else:
            items = [f"item-{self._random.randrange(20)}" for _ in range(20)]  # those that have a forecast
            await self._ask("POST", "/v1/demand", {"item_ids": items, "days": 7})

    async def _recommend(self) -> None:
        surface = self._random.choice(SURFACES)
        body = {"user_id": self._user(), "surface": surface, "k": 20}
        if surface in {"similar", "upgrade", "bought_together"}:
            body["item_id"] = f"item-{self._random.randrange(self._world.num_items)}"
        floor, began = self._world.newest, time.monotonic()
        answer = await self._ask("POST", "/v1/recommend", body)
        self._world.seen.latencies.append((began, time.monotonic() - began))
        if "release_id" in answer:
            place = self._world.order[answer["release_id"]]
            self._world.seen.went_back += place < floor
            self._world.newest = max(self._world.newest, place)

    async def _events(self) -> None:
        self._sent += 1
        events = [
            {
                "user_id": self._user(),
                "event_type": self._random.choice(["view", "cart"]),
                "item_id": f"item-{self._random.randrange(self._world.num_items)}",
                "event_id": f"soak-{self._number}-{self._sent}-{row}",
            }
            for row in range(self._random.randrange(1, 4))
        ]
        answer = await self._ask("POST", "/v1/events", {"events": events})  # sent again where nobody answered
        if answer.get("accepted", 0) + answer.get("duplicates", 0) == len(events):
            self._world.seen.acknowledged |= {event["event_id"]: event for event in events}

    def _user(self) -> str:
        """Return one of this client's own customers: each is asked for by one client, so one request after the other."""
        number = self._number + self._world.num_clients * self._random.randrange(
            max(1, self._world.num_users // self._world.num_clients)
        )
        return f"user-{number}"

    async def _ask(self, method: str, path: str, body: Any, *, as_: str = "") -> dict[str, Any]:
        """Ask until somebody answers; a connection that breaks is noted and made anew."""
        while True:
            port = 0
            try:
                reader, writer = await self._connected()
                port = writer.get_extra_info("sockname")[1]
                writer.write(_request(method, path, body))
                status, content = await asyncio.wait_for(_response(reader), _PATIENCE_SECONDS)
            except (OSError, EOFError, TimeoutError, asyncio.IncompleteReadError) as error:
                self._hang_up()
                if port in self._world.doomed:
                    self._world.seen.broken_by_kill += 1
                else:
                    self._world.seen.broken.append(f"{method} {path}: {error!r}")
                await asyncio.sleep(0.05)
                continue
            self._world.seen.statuses[f"{as_ or f'{method} {path}'} {status}"] += 1
            return content

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._stream is None:
            self._stream = await asyncio.open_connection("127.0.0.1", self._world.port)
        return self._stream

    def _hang_up(self) -> None:
        if self._stream is not None:
            self._stream[1].close()
            self._stream = None


def _request(method: str, path: str, body: Any) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def _response(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.split("content-length:")[1].split("\r\n")[0])
    return int(head.split(" ", 2)[1]), json.loads(await reader.readexactly(length))


async def soak(world: World, *, seconds: float, swaps: int, kills: int) -> Seen:
    """Put traffic on the server, swap and kill; return what was seen.

    Args:
        world: the server and its store.
        seconds: how long.
        swaps: releases promoted meanwhile, evenly spread.
        kills: workers killed meanwhile, evenly spread and between swaps.
    """
    current = world.store.current_id
    assert current is not None, "a release is served"
    world.order[current] = 0
    clients = [asyncio.create_task(Client(world, number).run()) for number in range(world.num_clients)]
    began = time.monotonic()
    watching = asyncio.create_task(_watch_memory(world, began, seconds))
    await asyncio.gather(
        _swap_often(world, began, seconds, swaps),
        _kill_sometimes(world, began, seconds, kills),
        _sleep_until(began + seconds),
    )
    world.is_over = True
    await asyncio.gather(*clients, watching)
    world.seen.lost = await Client(world, -1).check_events(list(world.seen.acknowledged.values()))
    return world.seen


async def _swap_often(world: World, began: float, seconds: float, swaps: int) -> None:
    asking = Client(world, -2)
    for number in range(swaps):
        await _sleep_until(began + seconds * (number + 0.5) / swaps)
        # Mostly customers, as a daily promotion; every third the items too.
        kinds = {
            kind: parts[(number // 3 if kind == "retrieval" else number) % len(parts)]
            for kind, parts in world.parts.items()
        }
        release = world.store.create(kinds)
        world.order[release.release_id] = number + 1
        promoted = time.monotonic()
        await asyncio.to_thread(world.store.set_current, release.release_id)
        while (told := await asking.release())["release_id"] != release.release_id:
            assert not any(one["release_id"] == release.release_id for one in told["refusals"]), told["refusals"]
            assert time.monotonic() - promoted < 120, told
            await asyncio.sleep(0.1)
        world.seen.swaps.append((promoted, time.monotonic()))


async def _kill_sometimes(world: World, began: float, seconds: float, kills: int) -> None:
    for number in range(kills):
        await _sleep_until(began + seconds * (number + 0.8) / kills)
        workers = workers_of(world.pid)
        if len(workers) < 2:
            world.seen.broken.append("a worker was not back in time")
            continue
        victim = workers[number % len(workers)]
        victim.send_signal(signal.SIGSTOP)
        world.doomed |= {one.raddr.port for one in victim.net_connections(kind="tcp") if one.raddr}
        victim.send_signal(signal.SIGKILL)
        world.seen.kills += 1


async def _watch_memory(world: World, began: float, seconds: float) -> None:
    step = max(1.0, seconds / 120)
    while not world.is_over:
        await asyncio.sleep(step)
        world.seen.memory.append((time.monotonic() - began, pss_mb(world.pid)))


async def _sleep_until(instant: float) -> None:
    await asyncio.sleep(max(0.0, instant - time.monotonic()))


def workers_of(pid: int) -> list[psutil.Process]:
    """Return the living workers of a supervisor."""
    children = psutil.Process(pid).children()
    return [one for one in children if one.status() != psutil.STATUS_ZOMBIE and "worker" in " ".join(one.cmdline())]


def pss_mb(pid: int) -> float:
    """Return the proportional memory of a supervisor and its workers."""
    total = 0
    for one in [pid, *(child.pid for child in psutil.Process(pid).children())]:
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return round(total / 1024, 1)


def _quantiles(values: Sequence[float], *, scale: float = 1e3) -> dict[str, float]:
    if not values:
        return {}
    p50, p99, worst = np.quantile(values, [0.5, 0.99, 1.0]) * scale
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2), "max": round(float(worst), 2), "n": len(values)}


def _slope(series: Sequence[tuple[float, float]]) -> float:
    """Return the growth of the second half, MB a minute; the first holds what is loaded once."""
    half = np.array(series[len(series) // 2 :])
    if len(half) < 3:
        return 0.0
    return float(np.polyfit(half[:, 0] / 60, half[:, 1], 1)[0])


def parts_of(store: ReleaseStore) -> dict[PartKind, list[Part]]:
    """Return all parts of a store, by kind."""
    kinds: tuple[PartKind, ...] = ("retrieval", "customers", "demand")
    return {kind: store.parts(kind) for kind in kinds}


def main() -> None:
    from tests.serving.server_process import Server, free_port  # noqa: PLC0415
    from tests.serving.tiny_release import build  # noqa: PLC0415 - a small release with every part

    options = _options()
    with tempfile.TemporaryDirectory(prefix="footfall-soak-") as scratch:
        root = Path(scratch) / "store"
        for seed in range(4):
            tiny = build(root, num_items=options.items, num_users=options.users, dim=64, index="HNSW32", seed=seed)
        import msgspec  # noqa: PLC0415

        from serving.process.settings import ServeSettings  # noqa: PLC0415

        # Releases of random vectors find nothing for customers here and there, now with one, now with the other.
        given = {"store": str(root), "port": free_port(), "workers": 2, "releases": {"max_empty_share": 0.5}}
        settings = msgspec.convert(given, ServeSettings)
        server = Server(settings, Path(scratch) / "log").wait_until_ready(180)
        world = World(
            port=settings.port,
            pid=server.process.pid,
            store=tiny.store,
            parts=parts_of(tiny.store),
            num_users=options.users,
            num_items=options.items,
            rate=options.rate,
        )
        try:
            seen = asyncio.run(soak(world, seconds=options.minutes * 60, swaps=options.swaps, kills=options.kills))
        finally:
            code = server.stop() if server.process.poll() is None else server.process.returncode
        print(json.dumps(seen.metrics() | {"exit_code": code, "broken": seen.broken[:5]}, indent=2))
        if options.json:
            _write(options, seen, code)


def _write(options: argparse.Namespace, seen: Seen, code: int) -> None:
    row = {"model": "footfall", "metrics": seen.metrics() | {"exit_code": code}, "memory_series_s_mb": seen.memory}
    write_result(
        options.json,
        benchmark="soak",
        data=f"random vectors, {options.items} items x 64, {options.users} customers",
        protocol=f"{options.minutes:g} minutes at {options.rate:g} requests/s, 2 workers, loopback",
        seeds=[0],
        results=[row],
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--rate", type=float, default=60.0)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--users", type=int, default=5_000)
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
