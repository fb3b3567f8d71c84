"""One request on its way: what it is called, who sent it, and what became of it."""

from __future__ import annotations

import os
import re
import time
from typing import Final

from starlette.types import Scope

# What a log or a header may hold without quoting; enough for UUIDs, ULIDs and what proxies and tracers write,
# and no address of a person.
_GOOD_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_TRACE: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


class Visit:
    """One request.

    Args:
        scope: of ASGI.
    """

    __slots__ = ("caller", "headers", "request_id", "route", "started")

    def __init__(self, scope: Scope) -> None:
        self.started = time.perf_counter()
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.request_id = request_id_of(self.headers.get(b"x-request-id"))
        self.route = "other"
        self.caller = ""

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
