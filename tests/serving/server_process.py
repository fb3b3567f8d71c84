"""The real server in its own process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import msgspec
import psutil

from serving.process.fork_parent import WORKER_NAME
from serving.process.settings import ServeSettings

ROOT = Path(__file__).parents[2]
_SERVE = """
import sys, msgspec
from features.errors import FootfallError
from serving.process.launch import serve
from serving.process.settings import ServeSettings
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


def workers_of(server: Server) -> list[psutil.Process]:
    return [child for child in psutil.Process(server.process.pid).children() if child.name() == WORKER_NAME]


def view(user_id: str, item_id: str, **more: object) -> dict[str, object]:
    return {"user_id": user_id, "event_type": "view", "item_id": item_id} | more


def error_of(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"]
