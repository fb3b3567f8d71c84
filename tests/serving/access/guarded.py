"""A real server with a key and tight limits."""

from __future__ import annotations

import socket
import time
from typing import NamedTuple

from tests.serving.server_process import Server


class Guarded(NamedTuple):
    """The server, and a key of role admin."""

    server: Server
    key: str

    def say(self, *pieces: bytes, pause: float = 0.0, seconds: float = 8.0) -> bytes:
        """Send pieces of a request, and return all that comes back until the server ends the connection or goes quiet."""
        with socket.create_connection((self.server.settings.host, self.server.settings.port), timeout=seconds) as line:
            for piece in pieces:
                try:
                    line.sendall(piece)
                except OSError:
                    break
                time.sleep(pause)
            return heard(line)

    def head(self, length: str = "content-length: 2", *, path: str = "/v1/recommend", more: str = "") -> bytes:
        lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", f"authorization: Bearer {self.key}", length]
        return "\r\n".join([*lines, *([more] if more else []), "", ""]).encode()


def heard(line: socket.socket) -> bytes:
    """Return what comes until the connection ends; a keep-alive connection ends some seconds after its last answer."""
    found = b""
    try:
        while piece := line.recv(65_536):
            found += piece
            if b"\r\n\r\n" in found and b"connection: close" not in found.lower():
                line.settimeout(0.1)
    except OSError:
        pass
    return found
