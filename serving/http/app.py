"""The HTTP surface: routes, errors, deadlines and pages around the engine."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Receive, Scope, Send

from serving.api.customer_schemas import MembersRequest, PreviewRequest, SegmentsRequest
from serving.api.decoding import decode_body, decode_query
from serving.api.demand_schemas import AlertsRequest, DemandRequest
from serving.api.endpoints import AUDIENCE, CUSTOMER, ENDPOINTS, EXPORT
from serving.api.errors import RequestError
from serving.api.openapi import openapi_document
from serving.api.schemas import (
    Answer,
    ConsentRequest,
    ErrorAnswer,
    ErrorDetail,
    EventsRequest,
    ExportRequest,
    RecommendAnswer,
    RecommendRequest,
)
from serving.engine import Engine
from serving.http.batching import MicroBatcher
from serving.http.bodies import read_body
from serving.process.metrics import ServiceMetrics
from serving.process.settings import ServeSettings

_log = logging.getLogger(__name__)
_PAGES: Final = Path(__file__).parent / "pages"
# A browser refuses anything that a page would load from elsewhere, so that the pages work without the Internet,
# and shows them inside no other site's page, where a click could be led astray.
_OWN_RESOURCES: Final = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_encoder: Final = msgspec.json.Encoder()

T = TypeVar("T")
Batcher = MicroBatcher[RecommendRequest, RecommendAnswer | RequestError]
Handler = Callable[[HttpRequest], Awaitable[Response]]


class ServiceApp:
    """An ASGI app whose engine is attached once its worker has loaded the release.

    Args:
        settings: limits and deadline.
        version: of this software, for the documents.
    """

    def __init__(self, settings: ServeSettings, *, version: str) -> None:
        self._settings = settings
        self._engine: Engine | None = None
        self._metrics: ServiceMetrics | None = None
        self._batcher: Batcher | None = None
        # One thread computes: FAISS and ONNX Runtime hold one thread each, and batches gather meanwhile.
        self._compute = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compute")
        self._storage = ThreadPoolExecutor(max_workers=1, thread_name_prefix="storage")
        self._planning = ThreadPoolExecutor(max_workers=1, thread_name_prefix="planning")
        self._document = _encoder.encode(openapi_document(ENDPOINTS, version=version))
        self._router = Router(self._routes(), default=_no_such_route)

    def attach(self, engine: Engine, metrics: ServiceMetrics) -> None:
        """Answer from this engine from now on."""
        self._engine, self._metrics = engine, metrics
        self._batcher = MicroBatcher(engine.recommend, max_batch=self._settings.max_batch, executor=self._compute)

    @property
    def is_ready(self) -> bool:
        """Whether a release is loaded."""
        return self._engine is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever goes wrong, the answer is JSON."""
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        started, sent = time.perf_counter(), False

        async def sending(message: Any) -> None:
            nonlocal sent
            if message["type"] == "http.response.start":
                sent = True
                route = scope.get("route_template", "other")
                if self._metrics is not None:
                    self._metrics.observe_request(route, message["status"], time.perf_counter() - started)
            await send(message)

        try:
            async with asyncio.timeout(self._settings.deadline_seconds):
                await self._router(scope, receive, sending)
        except ClientDisconnect:
            return
        except Exception as error:
            if not sent:
                await self._error(scope, error)(scope, receive, sending)

    def _error(self, scope: Scope, error: Exception) -> Response:
        if isinstance(error, RequestError):
            return _error_response(error.status, error.code, str(error))
        if isinstance(error, TimeoutError):
            seconds = self._settings.deadline_seconds
            return _error_response(504, "deadline", f"Expected an answer within {seconds:g} s; try again.")
        if isinstance(error, HTTPException):
            allowed = (error.headers or {}).get("Allow", "")
            message = f"{scope['method']} is not answered here; expected {allowed}. See /docs."
            return _error_response(error.status_code, "method_not_allowed", message)
        # The error's own words may hold ids; where it happened does not.
        where = "".join(traceback.format_tb(error.__traceback__))
        _log.error("failed: route=%s error=%s\n%s", scope.get("route_template"), type(error).__name__, where)
        return _error_response(500, "internal", "Something went wrong on our side; the service's log says where.")

    def _routes(self) -> list[BaseRoute]:
        handlers: dict[tuple[str, str], Handler] = {
            ("POST", "/v1/recommend"): self._recommend,
            ("POST", "/v1/events"): self._events,
            ("GET", "/v1/customers"): self._customers,
            ("POST", "/v1/consents"): self._consent,
            ("GET", EXPORT): self._export,
            ("GET", CUSTOMER): self._customer,
            ("DELETE", CUSTOMER): self._erase,
            ("POST", "/v1/segments"): self._segments,
            ("GET", "/v1/audiences"): self._audiences,
            ("POST", "/v1/audiences/preview"): self._preview,
            ("GET", AUDIENCE): self._audience,
            ("POST", "/v1/demand"): self._demand,
            ("GET", "/v1/demand/alerts"): self._alerts,
        }
        documented = [_route(one.method, one.path, handlers[one.method, one.path]) for one in ENDPOINTS]
        pages = [_page("/", "console.html"), _page("/docs", "docs.html"), _page("/style.css", "style.css")]
        return [
            *documented,
            *pages,
            _route("GET", "/openapi.json", self._openapi),
            _route("GET", "/metrics", self._exposition),
        ]

    @property
    def _ready_engine(self) -> Engine:
        if self._engine is None:
            raise _still_starting()
        return self._engine

    @property
    def _ready_batcher(self) -> Batcher:
        if self._batcher is None:
            raise _still_starting()
        return self._batcher

    async def _body(self, http: HttpRequest, kind: type[T]) -> T:
        return decode_body(await read_body(http, limit=self._settings.max_body_bytes), kind)

    async def _recommend(self, http: HttpRequest) -> Response:
        started = time.perf_counter()
        request = await self._body(http, RecommendRequest)
        answer = await self._ready_batcher.ask(request)
        if isinstance(answer, RequestError):
            raise answer
        if self._metrics is not None:
            self._metrics.observe_recommendation(request.surface, answer.strategy, time.perf_counter() - started)
        return _json(answer)

    async def _events(self, http: HttpRequest) -> Response:
        engine, request = self._ready_engine, await self._body(http, EventsRequest)
        answer = await self._in(self._storage, partial(engine.add_events, request))
        if self._metrics is not None:
            self._metrics.count_events(
                accepted=answer.accepted, duplicates=answer.duplicates, rejected=len(answer.rejected)
            )
        return _json(answer)

    async def _customers(self, _: HttpRequest) -> Response:
        return _json(await self._in(self._compute, self._ready_engine.customers))

    async def _customer(self, http: HttpRequest) -> Response:
        engine = self._ready_engine
        return _json(await self._in(self._planning, partial(engine.customer, http.path_params["user_id"])))

    async def _consent(self, http: HttpRequest) -> Response:
        engine, request = self._ready_engine, await self._body(http, ConsentRequest)
        return _json(await self._in(self._storage, partial(engine.add_consent, request)))

    async def _export(self, http: HttpRequest) -> Response:
        engine, request = self._ready_engine, decode_query(http.query_params, ExportRequest)
        return _json(await self._in(self._planning, partial(engine.export, http.path_params["user_id"], request)))

    async def _erase(self, http: HttpRequest) -> Response:
        engine, user_id = self._ready_engine, http.path_params["user_id"]
        if not user_id:
            raise RequestError(422, "invalid_request", f"user_id: expected one at the end of {CUSTOMER}, found none.")
        return _json(await self._in(self._storage, partial(engine.erase, user_id)))

    async def _segments(self, http: HttpRequest) -> Response:
        engine, request = self._ready_engine, await self._body(http, SegmentsRequest)
        # Elsewhere than recommendations, which ten thousand ids would hold up; written as JSON there too.
        return await self._in(self._planning, lambda: _json(engine.segments(request)))

    async def _audiences(self, _: HttpRequest) -> Response:
        return _json(await self._in(self._planning, self._ready_engine.audiences))

    async def _audience(self, http: HttpRequest) -> Response:
        engine, request = self._ready_engine, decode_query(http.query_params, MembersRequest)
        return _json(await self._in(self._planning, partial(engine.audience, http.path_params["name"], request)))

    async def _preview(self, http: HttpRequest) -> Response:
        engine, request = self._ready_engine, await self._body(http, PreviewRequest)
        return _json(await self._in(self._planning, partial(engine.preview, request)))

    async def _demand(self, http: HttpRequest) -> Response:
        engine, request = self._ready_engine, await self._body(http, DemandRequest)
        # Elsewhere than recommendations, which a thousand items would hold up; written as JSON there too.
        return await self._in(self._planning, lambda: _json(engine.demand(request)))

    async def _alerts(self, http: HttpRequest) -> Response:
        engine, request = self._ready_engine, decode_query(http.query_params, AlertsRequest)
        return _json(await self._in(self._planning, partial(engine.alerts, request)))

    async def _openapi(self, _: HttpRequest) -> Response:
        return Response(self._document, media_type="application/json")

    async def _exposition(self, _: HttpRequest) -> Response:
        if self._metrics is None:
            raise _still_starting()
        content = await self._in(self._storage, self._metrics.exposition)
        return Response(content, headers={"content-type": self._metrics.content_type})

    async def _in(self, executor: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, call)


def _still_starting() -> RequestError:
    return RequestError(503, "starting", "The release is still being loaded; try again in a moment.")


def _route(method: str, path: str, handler: Handler) -> Route:
    async def answer(http: HttpRequest) -> Response:
        http.scope["route_template"] = path
        return await handler(http)

    return Route(path.replace("{user_id}", "{user_id:path}"), answer, methods=[method])


def _page(path: str, file: str) -> Route:
    content = (_PAGES / file).read_bytes()
    headers = {"content-security-policy": _OWN_RESOURCES, "x-content-type-options": "nosniff"}
    media_type = "text/css" if file.endswith(".css") else "text/html"

    async def answer(_: HttpRequest) -> Response:
        return Response(content, media_type=f"{media_type}; charset=utf-8", headers=headers)

    return _route("GET", path, answer)


async def _no_such_route(scope: Scope, receive: Receive, send: Send) -> None:
    error = _error_response(404, "not_found", "No such address; /docs lists what there is.")
    await error(scope, receive, send)


def _json(answer: Answer, status: int = 200) -> Response:
    return Response(_encoder.encode(answer), status_code=status, media_type="application/json")


def _error_response(status: int, code: str, message: str) -> Response:
    return _json(ErrorAnswer(error=ErrorDetail(code=code, message=message)), status)
