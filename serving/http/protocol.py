"""Connections that take their time, or say too much, end: what uvicorn leaves to a proxy before it.

An ASGI app first hears of a request when its headers are complete. What comes before, and what a caller does not read
after, is bounded here, in uvicorn's own protocol.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final

import uvicorn.config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.access.settings import LimitSettings

_SWEEP_SECONDS: Final = 1.0
_NAME: Final = f"{__name__}:GuardedProtocol"


def guard_connections(limits: LimitSettings) -> None:
    """Let uvicorn serve connections under these limits; before its server is made."""
    GuardedProtocol.limits = limits
    uvicorn.config.HTTP_PROTOCOLS["auto"] = _NAME


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds.

    * Address and headers may hold ``max_header_bytes`` and one read of the socket more, else 431.
    * Headers must be complete within ``header_seconds``, counted from the connection or the first byte.
    * A body that goes on after its answer, or an answer that is not read, ends the connection after the same time.
    * Beyond ``max_connections`` a request is answered with 429, and its connection is closed.
    """

    limits: ClassVar[LimitSettings] = LimitSettings()
    _sweepers: ClassVar[set[int]] = set()  # by id of the server's state: one a server

    def connection_made(self, transport: Any) -> None:
        """Count the connection in."""
        super().connection_made(transport)
        self._heads_since: float | None = self.loop.time()
        self._head_bytes = 0
        self._stuck_since: float | None = None
        if id(self.server_state) not in self._sweepers:
            self._sweepers.add(id(self.server_state))
            self.loop.call_later(_SWEEP_SECONDS, _sweep, self.loop, self.connections)

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless the headers grow without end."""
        super().data_received(data)
        if self._heads_since is not None and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.max_header_bytes:
                self._refuse(431, b"Address and headers are too large.")

    def on_message_begin(self) -> None:
        """Note when a request began."""
        super().on_message_begin()
        self._heads_since = self.loop.time()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Hand the request to the app, or say that there are too many connections."""
        self._heads_since = None
        if len(self.connections) <= self.limits.max_connections:
            super().on_headers_complete()
            return
        app, self.app = self.app, _too_many_connections
        try:
            super().on_headers_complete()
        finally:
            self.app = app

    def is_overdue(self, now: float) -> bool:
        """Return whether the connection has waited too long for its caller."""
        seconds = self.limits.header_seconds
        if self._heads_since is not None:
            # Between two requests uvicorn's own timer runs; this one is of a request that has begun, or a first one.
            return now - self._heads_since > seconds
        cycle = self.cycle
        is_stuck = (
            cycle is not None
            and cycle.response_complete
            and (cycle.more_body or self.transport.get_write_buffer_size() > 0)
        )
        if not is_stuck:
            self._stuck_since = None
        elif self._stuck_since is None:
            self._stuck_since = now
        return self._stuck_since is not None and now - self._stuck_since > seconds

    def _refuse(self, status: int, message: bytes) -> None:
        head = (
            STATUS_LINE[status]
            + b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        )
        self.transport.write(head % len(message) + message)
        self.transport.close()


def _sweep(loop: asyncio.AbstractEventLoop, connections: set[Any]) -> None:
    now = loop.time()
    for connection in [one for one in connections if isinstance(one, GuardedProtocol) and one.is_overdue(now)]:
        connection.transport.abort()
    loop.call_later(_SWEEP_SECONDS, _sweep, loop, connections)


async def _too_many_connections(_scope: Any, _receive: Any, send: Any) -> None:
    body = b'{"error":{"code":"too_many_connections","message":"Too many connections are open; try again in 1 s."}}'
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", b"1"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 429, "headers": headers})
    await send({"type": "http.response.body", "body": body})
