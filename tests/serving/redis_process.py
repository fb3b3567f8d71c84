"""A real Redis in its own process."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.serving.server_process import free_port


class RedisProcess:
    """A server on loopback that keeps its files in a directory of its own; started again, it holds what it held.

    What it acknowledged is in the kernel, and so outlives kill -9; for a power cut it would have to sync always.
    """

    def __init__(self, directory: Path, program: Path) -> None:
        self._directory = directory
        self._program = program
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self, *options: str) -> RedisProcess:
        command = [str(self._program), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._directory)]
        command += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", *options]
        with (self._directory / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self._answers():
                return self
            time.sleep(0.02)
        raise AssertionError((self._directory / "redis.log").read_text())

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")
        return False

    def kill(self) -> None:
        """End it as kill -9 does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
