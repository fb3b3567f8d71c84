"""Mixed traffic on a real server with two workers while releases are swapped and workers are killed.

    .venv/bin/python benchmarks/soak.py --json OUT [--minutes 30] [--swaps 50] [--kills 5] [--rate 60] [--items 20000]

Customers look at every surface, send events, are looked up in bulk, and demand is asked for, at a bounded rate over kept
connections. Half of them get surface trending of another release, by an experiment, and the server goes back once to the release
before. It counts every status; connections that break, those of the killed worker apart; acknowledged events that the
server no longer knows at the end (each is sent again and must be a duplicate); answers of a release that came before one
that somebody had seen when the request was sent; customers who change their variant; and memory (PSS) over time. Where any of
that is not as it should be it says so and ends with 1.

A worker is stopped before it is killed, so that which connections were its own is known exactly.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.result import write_result
from benchmarks.soak_clients import EXPERIMENT, OTHER, Client
from benchmarks.soak_world import Seen, World, parts_of, pss_mb, workers_of

_DIM: Final = 64
_EXPERIMENTS: Final = """
experiments:
  {name}: {{surface: trending, variants: {{control: {{}}, {other}: {{weight: 0.5, release: {release}}}}}}}
"""


async def soak(world: World, *, seconds: float, swaps: int, kills: int) -> Seen:
    """Put traffic on the server, swap and kill; return what was seen.

    Args:
        world: the server and its store.
        seconds: how long.
        swaps: releases promoted meanwhile, evenly spread; the server goes back after the one in the middle.
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
        if number == swaps // 2:
            await _roll_back(world, asking, place=number + 1.5)


async def _roll_back(world: World, asking: Client, *, place: float) -> None:
    before = (await asking.release())["back_to"]
    world.order[before] = place  # from now on it is the newest
    began = time.monotonic()
    told = await asking.roll_back()
    assert (told["release_id"], told["done"]) == (before, True), told
    world.seen.rollback_s.append(time.monotonic() - began)


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


def main() -> None:
    from tests.serving.server_process import Server, free_port  # noqa: PLC0415
    from tests.serving.tiny_release import build  # noqa: PLC0415 - a small release with every part
    from training.retrieval.config import RetrievalConfig  # noqa: PLC0415
    from training.retrieval.indexing import kind_for  # noqa: PLC0415

    options = _options()
    with tempfile.TemporaryDirectory(prefix="footfall-soak-") as scratch:
        root = Path(scratch) / "store"
        # The index that training writes over as many items.
        kind = kind_for(options.items, _DIM, flat_limit=RetrievalConfig().flat_index_limit)
        for seed in range(4):
            tiny = build(root, num_items=options.items, num_users=options.users, dim=_DIM, index=kind, seed=seed)
        parts = parts_of(tiny.store)
        beside = tiny.store.create({kind: of[0] for kind, of in parts.items()}).release_id
        experiments = Path(scratch) / "experiments.yaml"
        experiments.write_text(_EXPERIMENTS.format(name=EXPERIMENT, other=OTHER, release=beside))
        import msgspec  # noqa: PLC0415

        from serving.process.settings import ServeSettings  # noqa: PLC0415

        # Releases of random vectors find nothing for customers here and there, now with one, now with the other.
        given = {"store": str(root), "port": free_port(), "workers": 2, "releases": {"max_empty_share": 0.5}}
        given |= {"experiments": {"path": str(experiments)}}
        settings = msgspec.convert(given, ServeSettings)
        server = Server(settings, Path(scratch) / "log").wait_until_ready(180)
        world = World(
            port=settings.port,
            pid=server.process.pid,
            store=tiny.store,
            parts=parts,
            beside=beside,
            num_users=options.users,
            num_items=options.items,
            rate=options.rate,
        )
        try:
            seen = asyncio.run(soak(world, seconds=options.minutes * 60, swaps=options.swaps, kills=options.kills))
        finally:
            code = server.stop() if server.process.poll() is None else server.process.returncode
        problems = seen.problems(slope=options.slope) + ([f"the server ended with {code}"] if code else [])
        more = {"exit_code": code, "broken": seen.broken[:5], "problems": problems}
        print(json.dumps(seen.metrics() | more, indent=2))
        if options.json:
            _write(options, seen, code, problems)
        if problems:
            sys.exit(1)


def _write(options: argparse.Namespace, seen: Seen, code: int, problems: Sequence[str]) -> None:
    metrics = seen.metrics() | {"exit_code": code, "memory_slope_limit": options.slope}
    row = {"model": "footfall", "metrics": metrics, "problems": problems, "memory_series_s_mb": seen.memory}
    write_result(
        options.json,
        benchmark="soak",
        data=f"random vectors, {options.items} items x {_DIM}, {options.users} customers",
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
    parser.add_argument("--slope", type=float, default=1.0, help="growth of memory that is allowed, MB a minute")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
