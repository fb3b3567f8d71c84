"""The HTTP surface: routes, errors and deadlines around the calls."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from typing import Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Receive, Scope, Send

from serving.api.endpoints import ENDPOINTS
from serving.api.errors import RequestError
from serving.api.openapi import openapi_document
from serving.api.schemas import ErrorAnswer, ErrorDetail
from serving.engines import Engines
from serving.http.handlers import Handler, Handlers, to_json
from serving.http.pages import page
from serving.process.metrics import ServiceMetrics
from serving.process.settings import ServeSettings

_log = logging.getLogger(__name__)
_PAGES: Final = {"/": "console.html", "/docs": "docs.html", "/style.css": "style.css"}


class ServiceApp:
    """An ASGI app whose engines are attached once its worker has loaded the release.

    Args:
        settings: limits and deadline.
        version: of this software, for the documents.
    """

    def __init__(self, settings: ServeSettings, *, version: str) -> None:
        self._settings = settings
        self._handlers = Handlers(settings)
        self._document = msgspec.json.encode(openapi_document(ENDPOINTS, version=version))
        self._router = Router(self._routes(), default=_no_such_route)

    def attach(self, engines: Engines, metrics: ServiceMetrics) -> None:
        """Answer from these engines from now on."""
        self._handlers.attach(engines, metrics)

    @property
    def is_ready(self) -> bool:
        """Whether a release is loaded."""
        return self._handlers.engines is not None

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
                if (metrics := self._handlers.metrics) is not None:
                    metrics.observe_request(route, message["status"], time.perf_counter() - started)
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
            return _error_response(error.status, error.code, str(error), retry_after=error.retry_after)
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
        handlers = self._handlers.by_call
        return [
            *(_route(one.method, one.path, handlers[one.method, one.path]) for one in ENDPOINTS),
            *(_route("GET", path, page(file)) for path, file in _PAGES.items()),
            _route("GET", "/openapi.json", self._openapi),
            _route("GET", "/metrics", self._handlers.exposition),
        ]

    async def _openapi(self, _: HttpRequest) -> Response:
        return Response(self._document, media_type="application/json")


def _route(method: str, path: str, handler: Handler) -> Route:
    async def answer(http: HttpRequest) -> Response:
        http.scope["route_template"] = path
        return await handler(http)

    return Route(path.replace("{user_id}", "{user_id:path}"), answer, methods=[method])


async def _no_such_route(scope: Scope, receive: Receive, send: Send) -> None:
    error = _error_response(404, "not_found", "No such address; /docs lists what there is.")
    await error(scope, receive, send)


def _error_response(status: int, code: str, message: str, *, retry_after: int | None = None) -> Response:
    response = to_json(ErrorAnswer(error=ErrorDetail(code=code, message=message)), status)
    if retry_after is not None:
        response.headers["retry-after"] = str(retry_after)
    return response
