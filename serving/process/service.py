"""The BentoML service: one worker that answers from the releases which its supervisor names."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import bentoml

from serving.process.direct import DirectService
from serving.process.logs import log_to_stderr
from serving.process.settings import SUPERVISOR_VARIABLE, ServeSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import Receive, Scope, Send

    from serving.http.app import ServiceApp

_log = logging.getLogger(__name__)
_PARENT_CHECK_SECONDS = 1.0


def _version() -> str:
    try:
        return version("footfall")
    except PackageNotFoundError:
        return "unknown"


class WorkerApp:
    """The app of this process, made when its worker starts: the supervisor imports this module too, and needs no more."""

    inner: ServiceApp

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one request."""
        return self.inner(scope, receive, send)


settings = ServeSettings.from_environment()
app = WorkerApp()


# BentoML's own access log and traffic metrics name the full path, and so a user's id: ours name the route.
@bentoml.service(
    name="footfall",
    service_class=DirectService,
    workers=settings.workers,
    traffic={"timeout": settings.gateway_timeout_seconds},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
@bentoml.asgi_app(app, path="/")
class FootfallService:
    """One worker: the releases it holds, the live events that all workers share, and the erasure list."""

    def __init__(self) -> None:
        gc.disable()  # nearly all that is made until then stays: looking for what does not takes a tenth of the start
        # Imported by workers alone: the supervisor starts them the sooner.
        from serving.http.app import ServiceApp  # noqa: PLC0415
        from serving.http.protocol import GuardedProtocol  # noqa: PLC0415
        from serving.process.metrics import ServiceMetrics  # noqa: PLC0415
        from serving.process.releases import board_of_this_server  # noqa: PLC0415
        from serving.process.worker import Worker  # noqa: PLC0415

        self._at_end = contextlib.ExitStack()
        log_to_stderr()
        _stop_with_parent()
        self._worker = Worker(settings, board_of_this_server(settings, self._at_end))
        self._worker.start()
        app.inner = ServiceApp(settings, version=_version())
        GuardedProtocol.early = app.inner.turned_away
        metrics = ServiceMetrics(collectors=[self._worker.desk, self._worker.wish_desk, self._worker.engines])
        app.inner.attach(self._worker.engines, metrics)
        gc.freeze()  # what is loaded for good is not looked through again: a request would wait for that
        gc.enable()

    def __is_ready__(self) -> bool:
        """Tell ``/readyz`` whether a release is loaded."""
        return app.inner.is_ready

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        """Write what is still in memory; requests have been answered by now."""
        app.inner.close()
        self._worker.stop()
        self._at_end.close()


def _stop_with_parent() -> None:
    """End this worker when its supervisor is gone, so that no orphan holds the port."""
    # Named by the supervisor: one that dies while a worker still starts is no longer its parent by now.
    parent = int(os.environ.get(SUPERVISOR_VARIABLE) or os.getppid())

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_CHECK_SECONDS)
        _log.warning("the supervisor is gone; this worker stops")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
