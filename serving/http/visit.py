"""One request on its way: what it is called, who sent it, and what became of it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from starlette.types import Scope

from serving.access.caller import Caller
from serving.api.roles import Role

if TYPE_CHECKING:
    from serving.http.reply import Reply

# What a log or a header may hold without quoting; enough for UUIDs, ULIDs and what proxies and tracers write,
# and no address of a person.
_GOOD_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_TRACE: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


class Visit:
    """One request.

    Args:
        scope: of ASGI.

    Attributes:
        started: when it was read, ``time.perf_counter``.
        headers: by name.
        request_id: the caller's, else a new one.
        route: the address as a template.
        caller: who sent it; ``None`` until that is known, and of calls that anyone may make.
        path_params: the ids in its address.
        body: all of it.
        charge: counts what a tracker sent as more requests than one.
        instead: makes what stands in for an answer that comes too late.
    """

    __slots__ = (
        "body",
        "caller",
        "charge",
        "headers",
        "instead",
        "path_params",
        "query",
        "request_id",
        "route",
        "started",
    )

    def __init__(self, scope: Scope) -> None:
        self.started = time.perf_counter()
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.request_id = request_id_of(self.headers.get(b"x-request-id"))
        self.query: bytes = scope["query_string"]
        self.route = "other"
        self.caller: Caller | None = None
        self.path_params: dict[str, str] = {}
        self.body = b""
        self.charge: Callable[[int], None] | None = None
        self.instead: Callable[[], Reply] | None = None

    @property
    def roles(self) -> frozenset[Role]:
        """What its caller may do; nothing more than anyone where nobody was asked."""
        return frozenset() if self.caller is None else self.caller.roles

    @property
    def query_params(self) -> dict[str, str]:
        """What follows the question mark, by name; of a name that comes twice, the last."""
        return dict(parse_qsl(self.query.decode("latin-1"), keep_blank_values=True))

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.perf_counter() - self.started

    @property
    def trace_id(self) -> str:
        """The trace that the caller's ``traceparent`` names (W3C Trace Context), blank without one."""
        found = _TRACE.fullmatch(self.headers.get(b"traceparent", b""))
        return "" if found is None else found[1].decode()


def request_id_of(given: bytes | None) -> bytes:
    """Return the caller's id of a request where it is a good one, else a new one."""
    if given is not None and _GOOD_ID.fullmatch(given):
        return given
    return os.urandom(16).hex().encode()
