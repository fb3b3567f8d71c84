"""A load generator that costs little: raw HTTP/1.1 over kept connections, requests made beforehand, uvloop."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import uvloop

_END_OF_HEAD: Final = b"\r\n\r\n"
_PATIENCE_SECONDS: Final = 60.0
_LENGTH: Final = b"content-length:"


@dataclass(kw_only=True)
class Load:
    """What one run of the generator saw.

    Args:
        seconds: how long it counted.
        latencies: seconds from the first byte sent to the last received, one an answer of 200.
        errors: answers other than 200, and connections that were lost.
        answered: answers in all, those before it counted among them.
    """

    seconds: float
    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    answered: int = 0

    def metrics(self) -> dict[str, float]:
        """Return ``requests_per_s, p50_ms, p99_ms, errors``."""
        p50, p99 = np.quantile(self.latencies, [0.5, 0.99]) * 1e3 if self.latencies else (float("nan"),) * 2
        return {
            "requests_per_s": len(self.latencies) / self.seconds,
            "p50_ms": float(p50),
            "p99_ms": float(p99),
            "errors": self.errors,
        }


def http_request(path: str, body: bytes) -> bytes:
    """Return a POST as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def put_load_on(
    port: int, requests: Sequence[bytes], *, connections: int, seconds: float, warm_up: float = 0.3
) -> Load:
    """Keep ``connections`` requests under way for a while; each answer is followed by the next request at once."""
    return uvloop.run(_load(port, requests, connections=connections, seconds=seconds, warm_up=warm_up))


async def _load(port: int, requests: Sequence[bytes], *, connections: int, seconds: float, warm_up: float) -> Load:
    loop = asyncio.get_running_loop()
    load = Load(seconds=seconds)
    run = _Run(requests=requests, load=load, waited_for=connections)
    clients = [_Client(run, number) for number in range(connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
    # Servers let connections in one by one: the first answers come late, and count for nobody.
    await asyncio.wait_for(run.all_answered.wait(), _PATIENCE_SECONDS)
    await asyncio.sleep(warm_up)
    run.counts_from = time.perf_counter()
    await asyncio.sleep(seconds)
    run.is_over = True
    for client in clients:
        client.close()
    return load


@dataclass(kw_only=True)
class _Run:
    requests: Sequence[bytes]
    load: Load
    waited_for: int  # connections without an answer so far
    counts_from: float = math.inf
    is_over: bool = False
    all_answered: asyncio.Event = field(default_factory=asyncio.Event)

    def let_in(self) -> None:
        self.waited_for -= 1
        if not self.waited_for:
            self.all_answered.set()


class _Client(asyncio.Protocol):
    """One connection: writes a request, reads its answer, writes the next."""

    def __init__(self, run: _Run, number: int) -> None:
        self._run = run
        self._next = number
        self._held = b""
        self._wanted = 0  # bytes of the answer under way, 0 while its head is not complete
        self._is_ok = self._is_let_in = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport  # uvloop's is no asyncio.Transport by class
        self._send()

    def data_received(self, data: bytes) -> None:
        held = self._held + data if self._held else data
        if not self._wanted:
            self._wanted, self._is_ok = _length_of(held)
        if not self._wanted or len(held) < self._wanted:
            self._held = held
            return
        self._held, self._wanted = b"", 0
        now = time.perf_counter()
        self._run.load.answered += 1
        if self._run.is_over:
            return
        if not self._is_let_in:
            self._is_let_in = True
            self._run.let_in()
        if self._sent >= self._run.counts_from:
            if self._is_ok:
                self._run.load.latencies.append(now - self._sent)
            else:
                self._run.load.errors += 1
        self._send()

    def connection_lost(self, _: Exception | None) -> None:
        if not self._run.is_over:
            self._run.load.errors += 1

    def close(self) -> None:
        self._transport.abort()

    def _send(self) -> None:
        requests = self._run.requests
        self._next = (self._next + 7) % len(requests)
        self._sent = time.perf_counter()
        self._transport.write(requests[self._next])


def _length_of(held: bytes) -> tuple[int, bool]:
    """Return how many bytes the answer has, 0 while that is not known, and whether it is a 200."""
    end = held.find(_END_OF_HEAD)
    if end < 0:
        return 0, False
    head = held[:end].lower()
    start = head.index(_LENGTH) + len(_LENGTH)
    stop = head.find(b"\r\n", start)
    length = int(head[start:] if stop < 0 else head[start:stop])
    return end + len(_END_OF_HEAD) + length, held[9:12] == b"200"
