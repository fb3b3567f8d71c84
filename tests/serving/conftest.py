"""A tiny release, an engine over it, and the real server in its own process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from features.repeats.blend import ForYouBlend
from serving.engine import Engine
from serving.process.settings import ServeSettings
from serving.release.state import ReleaseState
from tests.browser import Page, browsing
from tests.serving.asking import engine_over
from tests.serving.server_process import Server, free_port
from tests.serving.tiny_release import TinyRelease, build


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    """A release that tests read and never write to."""
    return build(tmp_path_factory.mktemp("tiny") / "store")


@pytest.fixture(scope="session")
def tiny_state(tiny: TinyRelease) -> ReleaseState:
    return ReleaseState.load(tiny.store)


@pytest.fixture
def engine(tiny_state: ReleaseState, tiny: TinyRelease, tmp_path: Path) -> Engine:
    """An engine with live events and an erasure list of its own, whose present is where the data end."""
    return engine_over(tiny_state, tiny, tmp_path)


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start servers that are killed at the end of the session where they still run."""
    started: list[Server] = []

    def start(store: Path, **settings: object) -> Server:
        # Tests send events of fixed days, in whatever year they run.
        live = {"max_age_days": 36_500} | settings.pop("live", {})  # type: ignore[operator]
        given = {"store": str(store), "port": free_port(), "workers": 2, "live": live} | settings
        server = Server(msgspec.convert(given, ServeSettings), tmp_path_factory.mktemp("server") / "log")
        started.append(server)
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="session")
def server(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """One server for all tests over HTTP that only add to it; it holds a second release, with other vectors."""
    root = tmp_path_factory.mktemp("served") / "store"
    other = build(root, seed=1, kinds=("retrieval", "customers"), blend=ForYouBlend.plain())
    build(root, blend=ForYouBlend.plain())
    releases = {"also": [other.release.release_id]}
    return start_server(root, limits={"max_body_bytes": 100_000}, releases=releases).wait_until_ready()


@pytest.fixture(scope="session")
def browser(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One browser for all tests of pages."""
    with browsing(chromium, tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client
