"""A tiny release, an engine over it, and the real server in its own process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from serving.engine import Engine
from serving.erasures import ErasureWatch
from serving.live_events import LiveEvents
from serving.release_state import ReleaseState
from serving.settings import ServeSettings
from tests.serving.tiny_release import TinyRelease, build

ROOT = Path(__file__).parents[2]
_SERVE = """
import sys, msgspec
from features.errors import FootfallError
from serving.launch import serve
from serving.settings import ServeSettings
try:
    sys.exit(serve(msgspec.json.decode(sys.argv[1], type=ServeSettings)))
except FootfallError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


class Server:
    """The service as its users meet it: a process that answers HTTP."""

    def __init__(self, settings: ServeSettings, log: Path) -> None:
        self.settings = settings
        self.log = log
        self.url = f"http://{settings.host}:{settings.port}"
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-c", _SERVE, msgspec.json.encode(self.settings).decode()]
            environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
            # A directory of its own as working directory: nothing may depend on where the server is started.
            self.process = subprocess.Popen(
                command, cwd=self.log.parent, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def wait_until_ready(self, seconds: float = 60) -> Server:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    return self
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)
        raise AssertionError(f"not ready after {seconds} s:\n{self.log.read_text()}")

    def kill(self) -> None:
        """End the supervisor and its workers as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    """A release that tests read and never write to."""
    return build(tmp_path_factory.mktemp("tiny") / "store")


@pytest.fixture(scope="session")
def tiny_state(tiny: TinyRelease) -> ReleaseState:
    return ReleaseState.load(tiny.store)


@pytest.fixture
def engine(tiny_state: ReleaseState, tiny: TinyRelease, tmp_path: Path) -> Engine:
    """An engine with live events and an erasure list of its own."""
    live = LiveEvents(tmp_path / "live.sqlite", max_events=20)
    erasures = type(tiny.store)(root=tmp_path).erasures
    return Engine(tiny_state, live, ErasureWatch(erasures))


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start servers that are killed at the end of the session where they still run."""
    started: list[Server] = []

    def start(store: Path, **settings: object) -> Server:
        given = {"store": str(store), "port": free_port(), "workers": 2} | settings
        server = Server(msgspec.convert(given, ServeSettings), tmp_path_factory.mktemp("server") / "log")
        started.append(server)
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="session")
def server(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """One server for all tests over HTTP that only add to it."""
    tiny = build(tmp_path_factory.mktemp("served") / "store")
    return start_server(tiny.store.root, max_body_bytes=100_000).wait_until_ready()


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client
