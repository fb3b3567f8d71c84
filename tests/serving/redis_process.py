"""A real Redis in its own process."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path

import redis

from tests.conftest import require
from tests.serving.server_process import free_port


class RedisProcess:
    """A server on loopback that keeps its files in a directory of its own; started again, it holds what it held."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self, *options: str) -> RedisProcess:
        found = shutil.which("redis-server")
        require(found, "no redis-server on PATH; install the package redis-server")
        command = [str(found), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._directory)]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", "", *options]
        with (self._directory / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                redis.Redis(port=self.port).ping()
            except redis.ConnectionError:
                time.sleep(0.02)
            else:
                return self
        raise AssertionError((self._directory / "redis.log").read_text())

    def kill(self) -> None:
        """End it as kill -9 does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
