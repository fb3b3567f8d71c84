"""The HTTP surface: addresses, callers, limits, errors and deadlines around the calls."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Awaitable
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

import msgspec
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.access.door import Door
from serving.access.gate import Gate, saturated
from serving.access.gates import gates_of
from serving.access.rates import SharedBuckets
from serving.access.settings import CorsSettings
from serving.api.endpoints import ENDPOINTS
from serving.api.errors import RequestError
from serving.api.openapi import openapi_document
from serving.api.schemas import ErrorAnswer, ErrorDetail
from serving.engines import Engines
from serving.http.at_work import when_done
from serving.http.bodies import read_body
from serving.http.deadlines import Deadlines
from serving.http.handlers import Handlers
from serving.http.pages import PAGES, page
from serving.http.reply import Header, Reply, to_json
from serving.http.routes import Call, MethodRefused, Routes
from serving.http.visit import Visit
from serving.process.logs import AccessLog, now_text
from serving.process.metrics import ServiceMetrics
from serving.process.settings import KEYS_NOTED, SHARED_VARIABLE, ServeSettings

_log = logging.getLogger(__name__)
_METRICS: Final = "/metrics"
_RECOMMEND: Final = b"/v1/recommend"
_NO_STORE: Final = (b"cache-control", b"no-store")
_NO_SNIFFING: Final = (b"x-content-type-options", b"nosniff")


class ServiceApp:
    """An ASGI app whose engines are attached once its worker has loaded the release.

    Args:
        settings: who may call, limits and deadlines.
        version: of this software, for the documents.

    Raises:
        ConfigError: the settings of access cannot be followed.
    """

    def __init__(self, settings: ServeSettings, *, version: str) -> None:
        self._settings = settings
        self._handlers = Handlers(settings)
        self._gates = gates_of(settings.limits)
        self._deadlines = Deadlines()
        self._door = _door(settings)
        self._access_log = AccessLog(settings.logs)
        self._documents = {
            with_keys: msgspec.json.encode(openapi_document(ENDPOINTS, version=version, with_keys=with_keys))
            for with_keys in (False, True)
        }
        self._routes = Routes(self._calls())
        self._outermost = _with_cors(self._respond, settings.access.cors)

    def attach(self, engines: Engines, metrics: ServiceMetrics) -> None:
        """Answer from these engines from now on."""
        self._handlers.attach(engines, metrics)

    def close(self) -> None:
        """Write what waits to be written; requests have been answered by now."""
        self._door.close()
        self._access_log.close()

    @property
    def is_ready(self) -> bool:
        """Whether a release is loaded."""
        return self._handlers.engines is not None

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one request; whatever goes wrong, the answer is JSON."""
        if scope["type"] != "http":
            return send({"type": "websocket.close"})
        return self._outermost(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit = Visit(scope)
        try:
            reply = await self._answer(visit, scope, receive)
        except ClientDisconnect:
            return
        except Exception as error:
            reply = self._error(visit, error)
        reply.headers += ((b"x-request-id", visit.request_id), _NO_SNIFFING)
        await reply.send(send)
        self._tell(visit, scope["method"], reply.status)

    def turned_away(self, method: bytes, path: bytes, headers: list[tuple[bytes, bytes]]) -> tuple[int, bytes] | None:
        """Return the answer to a recommend call for which there is no room, ``None`` where there is some.

        Asked before a task is made for a request, an overload costs a third of what it costs after. Whoever asks without
        a key while there is no room hears of that first.
        """
        gate = self._gates["recommend"]
        if not gate.is_full or path != _RECOMMEND or method != b"POST" or self._settings.access.cors.origins:
            return None
        visit = Visit({"headers": headers, "query_string": b""})
        visit.route = _RECOMMEND.decode()
        self._tell(visit, "POST", 429)
        return 429, _full(gate.retry_after) % visit.request_id

    async def _answer(self, visit: Visit, scope: Scope, receive: Receive) -> Reply:
        """Answer as early as possible: what is refused costs neither a body nor a place in a queue."""
        call, visit.path_params = self._routes.find(scope["method"], scope["raw_path"])
        visit.route = call.path
        if call.roles and (call.path != _METRICS or self._door.metrics_ask_for_keys):
            visit.caller = caller = await self._door.caller_of(visit.headers, visit.query)
            address = (scope.get("client") or ("",))[0]
            self._door.check(caller, call.roles, address=address)
            if caller.by_address:
                visit.charge = partial(self._door.charge, caller, address=address)
        if call.lane is None:
            with self._deadlines.within(self._deadline(call)):
                return await call.handler(visit)
        gate = self._gates[call.lane]
        if gate.is_full:
            raise gate.refusal()
        if call.method in ("POST", "PUT"):
            limits = self._settings.limits
            visit.body = await read_body(
                visit.headers,
                receive,
                limit=limits.max_body_bytes,
                seconds=limits.body_seconds,
                deadlines=self._deadlines,
            )
        reply = await self._in_turn(gate, call, visit)
        reply.headers.append(_NO_STORE)
        return reply

    async def _in_turn(self, gate: Gate, call: Call, visit: Visit) -> Reply:
        gate.enter()
        try:
            with self._deadlines.within(self._deadline(call)):
                reply = await call.handler(visit)
        except TimeoutError:
            # A thread cannot be stopped: whoever comes next waits behind what it still does.
            if not when_done(gate.leave):
                gate.leave(is_done=False)
            if visit.instead is None:
                raise
            return visit.instead()
        except BaseException:
            gate.leave()
            raise
        gate.leave()
        return reply

    def _deadline(self, call: Call) -> float:
        limits = self._settings.limits
        if call.lane == "recommend":
            return min(limits.recommend_seconds, limits.deadline_seconds)
        return limits.deadline_seconds

    def _tell(self, visit: Visit, method: str, status: int) -> None:
        seconds = visit.seconds
        if (metrics := self._handlers.metrics) is not None:
            metrics.observe_request(visit.route, status, seconds)
        if self._access_log.wants(status):
            engines = self._handlers.engines
            self._access_log.add(
                at=now_text(),
                request_id=visit.request_id.decode(),
                route=visit.route,
                method=method[:16],
                status=status,
                ms=round(1e3 * seconds, 3),
                caller="" if visit.caller is None else visit.caller.name,
                release_id="" if engines is None else engines.current.release_id,
                trace_id=visit.trace_id,
            )

    def _error(self, visit: Visit, error: Exception) -> Reply:
        if isinstance(error, RequestError):
            return _refusal(error)
        if isinstance(error, TimeoutError):
            seconds = self._settings.limits.deadline_seconds
            return _error_reply(504, "deadline", f"Expected an answer within {seconds:g} s; try again.")
        # The error's own words may hold ids; where it happened does not.
        where = "".join(traceback.format_tb(error.__traceback__))
        names = {"request_id": visit.request_id.decode()}
        _log.error("failed: route=%s error=%s\n%s", visit.route, type(error).__name__, where, extra=names)
        return _error_reply(500, "internal", "Something went wrong on our side; the service's log says where.")

    def _calls(self) -> list[Call]:
        handlers = self._handlers.by_call
        return [
            *(
                Call(
                    method=one.method,
                    path=one.path,
                    handler=handlers[one.method, one.path],
                    roles=tuple(one.roles),
                    lane=one.lane,
                )
                for one in ENDPOINTS
            ),
            *(Call(method="GET", path=path, handler=page(file)) for path, file in PAGES.items()),
            Call(method="GET", path="/openapi.json", handler=self._openapi),
            Call(method="GET", path=_METRICS, handler=self._handlers.exposition, roles=("analyst", "admin")),
        ]

    async def _openapi(self, _: Visit) -> Reply:
        return Reply(self._documents[self._door.asks_for_keys])


@lru_cache(maxsize=256)
def _full(seconds: int) -> bytes:
    """Return what follows the status of an answer to someone for whom there is no room, but for the request's id."""
    reply = _refusal(saturated(seconds))
    head = b"".join(b"%b: %b\r\n" % header for header in [*reply.headers, _NO_SNIFFING])
    return head + b"x-request-id: %b\r\n\r\n" + reply.body.replace(b"%", b"%%")


def _door(settings: ServeSettings) -> Door:
    shared = os.environ.get(SHARED_VARIABLE)
    return Door(
        settings.access,
        settings.limits,
        keys=settings.keys_path,
        host=settings.host,
        buckets=SharedBuckets(Path(shared) / "rates" if shared else None),
        noted=Path(shared) / KEYS_NOTED if shared else None,
    )


def _with_cors(app: ASGIApp, cors: CorsSettings) -> ASGIApp:
    if not cors.origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=cors.origins,
        allow_methods=("GET", "POST", "PUT", "DELETE"),
        allow_headers=("authorization", "content-type", "x-request-id", "traceparent"),
        expose_headers=("x-request-id", "retry-after"),
        max_age=cors.max_age_seconds,
    )


def _refusal(error: RequestError) -> Reply:
    if isinstance(error, MethodRefused):
        if error.method == "OPTIONS":
            return Reply(status=204, headers=[(b"allow", error.allow.encode())])
        return _error_reply(error.status, error.code, str(error), (b"allow", error.allow.encode()))
    headers: list[Header] = []
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    if error.status == 401:
        why = b"" if error.code == "key_missing" else b', error="invalid_token"'
        headers.append((b"www-authenticate", b'Bearer realm="footfall"' + why))
    if error.status in (408, 413):
        # The rest of the body is not read: what follows it on this connection could not be told from it.
        headers.append((b"connection", b"close"))
    return _error_reply(error.status, error.code, str(error), *headers)


def _error_reply(status: int, code: str, message: str, *headers: Header) -> Reply:
    reply = to_json(ErrorAnswer(error=ErrorDetail(code=code, message=message)), status)
    reply.headers += headers
    return reply
