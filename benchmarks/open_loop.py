"""Requests that arrive when they arrive, whatever the server does: an open loop, without coordinated omission.

    python benchmarks/open_loop.py PORT BODIES.json --phases '[[300, 3], [1500, 20], [150, 5]]'

Arrivals are drawn beforehand (Poisson, seeded). A latency counts from the instant at which its request was due, also
where every connection was taken and it had to wait for one. Prints JSON: a row an answer, packed by phase.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import uvloop

_END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "  # as our server writes it
_LOST: Final = 0
_TURNED_AWAY: Final = 429


class OpenLoop:
    """Sends requests when they are due, over as many connections as it takes up to a limit."""

    def __init__(self, port: int, requests: Sequence[bytes], *, most_connections: int) -> None:
        self._port = port
        self._requests = requests
        self._most = most_connections
        self._free: list[_Line] = []
        self._due: deque[float] = deque()
        self._sent = 0
        self._opening = self._open = 0
        self.rows: list[tuple[float, float, float, int, bool]] = []  # due, sent, answered, status, has Retry-After

    async def run(self, due: Sequence[float], *, connections: int, patience: float) -> None:
        """Send one request at each instant of ``due``, seconds from now on, and wait for the last answers."""
        for _ in range(connections):
            await self._connect()
        started = self.started = time.perf_counter()
        following = 0
        while following < len(due):
            now = time.perf_counter() - started
            while following < len(due) and due[following] <= now:
                self._due.append(started + due[following])
                following += 1
            self._send()
            # A millisecond's arrivals go out together: each latency counts from its own instant all the same.
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)
        deadline = time.perf_counter() + patience
        while len(self.rows) < len(due) and time.perf_counter() < deadline:
            await asyncio.sleep(0.02)

    def take(self, line: _Line) -> None:
        """Take a connection back, and let it send what waits."""
        self._free.append(line)
        self._send()

    def lost(self, line: _Line) -> None:
        """Note that a connection ended, with or without a request under way."""
        self._open -= 1
        if line in self._free:
            self._free.remove(line)
        self._send()

    def _send(self) -> None:
        while self._due and self._free:
            self._sent += 1
            self._free.pop().send(self._due.popleft(), self._requests[self._sent % len(self._requests)])
        if self._due and self._open + self._opening < self._most:
            self._opening += 1
            asyncio.get_running_loop().create_task(self._connect_more())

    async def _connect_more(self) -> None:
        try:
            await self._connect()
        except OSError:
            pass
        finally:
            self._opening -= 1
        self._send()

    async def _connect(self) -> None:
        _, line = await asyncio.get_running_loop().create_connection(lambda: _Line(self), "127.0.0.1", self._port)
        self._open += 1
        self._free.append(line)


class _Line(asyncio.Protocol):
    def __init__(self, loop: OpenLoop) -> None:
        self._loop = loop
        self._held = b""
        self._due = self._sent = 0.0
        self._is_busy = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def send(self, due: float, request: bytes) -> None:
        self._due, self._sent, self._is_busy = due, time.perf_counter(), True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        held = self._held = self._held + data if self._held else data
        end = held.find(_END_OF_HEAD)
        if end < 0:
            return
        start = held.index(_LENGTH) + len(_LENGTH)
        if len(held) < end + 4 + int(held[start : held.index(b"\r\n", start)]):
            return
        self._held, self._is_busy = b"", False
        status = int(held[9:12])
        self._note(status, has_retry=status == _TURNED_AWAY and held.find(b"retry-after: ", 0, end) > 0)
        if status < _TURNED_AWAY or held.find(b"connection: close", 0, end) < 0:
            self._loop.take(self)

    def connection_lost(self, _: Exception | None) -> None:
        if self._is_busy:
            self._note(_LOST, has_retry=False)
        self._loop.lost(self)

    def _note(self, status: int, *, has_retry: bool) -> None:
        self._loop.rows.append((self._due, self._sent, time.perf_counter(), status, has_retry))


def arrivals(phases: Sequence[tuple[float, float]], *, seed: int = 0) -> list[float]:
    """Return when requests are due: phases of ``(requests a second, seconds)``, one after the other."""
    rng, due, begun = np.random.default_rng(seed), [], 0.0
    for rate, seconds in phases:
        gaps = rng.exponential(1 / rate, size=int(rate * seconds * 1.3) + 50)
        at = begun + np.cumsum(gaps)
        due += at[at < begun + seconds].tolist()
        begun += seconds
    return due


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("bodies", type=Path, help="JSON list of bodies of POST /v1/recommend")
    parser.add_argument("--phases", required=True, help="JSON list of [requests a second, seconds]")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--most-connections", type=int, default=800)
    parser.add_argument("--key", default="")
    parser.add_argument("--patience", type=float, default=30.0)
    options = parser.parse_args()
    key = f"Authorization: Bearer {options.key}\r\n" if options.key else ""
    requests = [
        f"POST /v1/recommend HTTP/1.1\r\nHost: 127.0.0.1\r\n{key}Content-Length: {len(body.encode())}\r\n\r\n{body}".encode()
        for body in (json.dumps(one) for one in json.loads(options.bodies.read_text()))
    ]
    loop = OpenLoop(options.port, requests, most_connections=options.most_connections)
    due = arrivals(json.loads(options.phases))
    gc.disable()
    uvloop.run(loop.run(due, connections=options.connections, patience=options.patience))
    rows = [[row[0] - loop.started, row[1] - row[0], row[2] - row[0], row[3], row[4]] for row in loop.rows]
    print(json.dumps({"due": len(due), "rows": rows}))


if __name__ == "__main__":
    main()
