"""Connections that take their time, or say too much, end: what uvicorn leaves to a proxy before it.

An ASGI app first hears of a request when its headers are complete. What comes before, and what a caller does not read
after, is bounded here, in uvicorn's own protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, Final

import msgspec
import uvicorn.config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.access.settings import LimitSettings

_SWEEP_SECONDS: Final = 1.0
Headers = list[tuple[bytes, bytes]]
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
    * What ``early`` has an answer to gets it at once: under an overload, saying no must cost little.
    """

    limits: ClassVar[LimitSettings] = LimitSettings()
    # Status and what follows it, by method, address and headers, for a service that is full; the app's.
    early: ClassVar[Callable[[bytes, bytes, Headers], tuple[int, bytes] | None] | None] = None
    let_in: ClassVar[int] = 0  # connections so far
    _sweepers: ClassVar[set[int]] = set()  # by id of the server's state: one a server

    def connection_made(self, transport: Any) -> None:
        """Count the connection in."""
        super().connection_made(transport)
        GuardedProtocol.let_in += 1
        self._heads_since: float | None = self.loop.time()
        self._head_bytes = 0
        self._stuck_since: float | None = None
        self._is_answered = False
        if id(self.server_state) not in self._sweepers:
            self._sweepers.add(id(self.server_state))
            self.loop.call_later(_SWEEP_SECONDS, _sweep, self.loop, self.connections)

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless the headers grow without end."""
        super().data_received(data)
        if self._heads_since is not None and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.max_header_bytes:
                self._refuse_headers()

    def on_message_begin(self) -> None:
        """Note when a request began."""
        super().on_message_begin()
        self._heads_since = self.loop.time()
        self._head_bytes = 0
        self._is_answered = False

    def on_headers_complete(self) -> None:
        """Hand the request to the app, or say that there are too many connections."""
        self._heads_since = None
        if self._answer_early():
            return
        if len(self.connections) <= self.limits.max_connections:
            super().on_headers_complete()
            return
        app, self.app = self.app, _too_many_connections
        try:
            super().on_headers_complete()
        finally:
            self.app = app

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body, unless the answer has been given."""
        if not self._is_answered:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request; a connection whose answer came before the end of the body waits for its next one."""
        cycle = self.cycle
        if not self._is_answered and (cycle is None or not cycle.response_complete):
            super().on_message_complete()
            return
        if not self._is_answered:
            cycle.more_body = False
        self._is_answered = False
        self.on_response_complete()

    def _answer_early(self) -> bool:
        early, cycle = type(self).early, self.cycle
        if early is None or not (cycle is None or cycle.response_complete) or not self.parser.should_keep_alive():
            return False
        if self.expect_100_continue or self.flow.write_paused:
            return False
        if (answer := early(self.parser.get_method(), self.url, self.headers)) is None:
            return False
        status, rest = answer
        held = b"".join(b"%b: %b\r\n" % header for header in self.server_state.default_headers)
        self.transport.write(STATUS_LINE[status] + held + rest)
        self._is_answered = True
        return True

    def is_overdue(self, now: float) -> bool:
        """Return whether the connection has waited too long for its caller."""
        seconds = self.limits.header_seconds
        if self._heads_since is not None:
            # Between two requests uvicorn's own timer runs; this one is of a request that has begun, or a first one.
            return now - self._heads_since > seconds
        cycle = self.cycle
        is_unread = self.transport.get_write_buffer_size() > 0
        has_more = cycle is not None and cycle.response_complete and (cycle.more_body or is_unread)
        is_stuck = self._is_answered or has_more
        if not is_stuck:
            self._stuck_since = None
        elif self._stuck_since is None:
            self._stuck_since = now
        return self._stuck_since is not None and now - self._stuck_since > seconds

    def _refuse_headers(self) -> None:
        message = f"Expected an address and headers of at most {self.limits.max_header_bytes} bytes, found more."
        body = msgspec.json.encode({"error": {"code": "headers_too_large", "message": message}})
        head = STATUS_LINE[431] + b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(head % len(body) + body)
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
