"""The BentoML service: loads a release in each worker and mounts the app that answers from it."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import bentoml

from features.release import ReleaseStore
from serving.engine import Engine
from serving.engines import Engines
from serving.http.app import ServiceApp
from serving.live.events import LiveEvents
from serving.privacy.erasures import ErasureWatch
from serving.process.logs import log_to_stderr
from serving.process.metrics import ServiceMetrics
from serving.process.settings import SUPERVISOR_VARIABLE, ServeSettings
from serving.release.state import ReleaseState

_log = logging.getLogger(__name__)
_PARENT_CHECK_SECONDS = 1.0


def _version() -> str:
    try:
        return version("footfall")
    except PackageNotFoundError:
        return "unknown"


settings = ServeSettings.from_environment()
app = ServiceApp(settings, version=_version())


# BentoML's own access log and traffic metrics name the full path, and so a user's id: ours name the route.
@bentoml.service(
    name="footfall",
    workers=settings.workers,
    traffic={"timeout": settings.gateway_timeout_seconds},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
@bentoml.asgi_app(app, path="/")
class FootfallService:
    """One worker: a loaded release, the live events that all workers share, and the erasure list."""

    def __init__(self) -> None:
        log_to_stderr()
        _stop_with_parent()
        app.attach(Engines(build_engine(settings)), ServiceMetrics())

    def __is_ready__(self) -> bool:
        """Tell ``/readyz`` whether a release is loaded."""
        return app.is_ready


def build_engine(settings: ServeSettings) -> Engine:
    """Load the release and open what the workers share.

    Raises:
        ReleaseError: the release is missing, damaged or does not fit; the message names the file.
    """
    store = ReleaseStore(root=Path(settings.store))
    state = ReleaseState.load(store, settings.release_id)
    live = LiveEvents(settings.live_events_path, max_events=settings.max_live_events)
    data = Path(settings.data) if settings.data else None
    return Engine(state, live, ErasureWatch(store.erasures), data=data)


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
