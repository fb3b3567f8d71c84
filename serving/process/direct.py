"""The way past BentoML's middleware for the calls of our own app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import bentoml

from serving.http.protocol import guard_connections
from serving.process.settings import ServeSettings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

# What BentoML answers: it knows whether the worker is alive and ready.
BENTOML_PATHS: Final = frozenset({"/livez", "/readyz", "/healthz"})


class DirectService(bentoml.Service[Any]):  # type: ignore[misc]  # bentoml is not typed
    """A BentoML service whose mounted app is asked first.

    BentoML puts five layers of middleware and a list of routes before a mounted app: tracing, even where every address
    is excluded from it, a task and a timer for its own deadline, a request context. None of them does anything for ours.
    Its health checks, its start and its end stay with it.
    """

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """Return the app of a worker."""
        guard_connections(ServeSettings.from_environment().limits)
        ((app, _, _),) = self.mount_apps
        return direct(app, besides=super().to_asgi(is_main=is_main))


def direct(app: ASGIApp, *, besides: ASGIApp) -> ASGIApp:
    """Return an app that asks ``app`` about everything but the process's own life, which ``besides`` answers for."""

    async def chosen(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in BENTOML_PATHS:
            await app(scope, receive, send)
        else:
            await besides(scope, receive, send)

    return chosen
