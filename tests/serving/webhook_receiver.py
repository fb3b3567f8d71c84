"""A real HTTP receiver of webhooks, which answers as it is told."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, dict[str, str]]  # status, headers


@dataclass
class Receiver:
    """Keeps what arrives."""

    answers: Callable[[int], Answer] = lambda _: (204, {})  # by how many arrived before
    arrived: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)  # webhook-id of what was answered with 2xx
    drips: int = 0  # so many answers never end: a header comes each 50 ms
    url: str = ""

    def __enter__(self) -> Receiver:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if receiver.drips:
                    receiver.drips -= 1
                    self._drip()
                    return
                status, headers = receiver.answers(len(receiver.arrived))
                receiver.arrived.append(({name.lower(): value for name, value in self.headers.items()}, body))
                if 200 <= status < 300:
                    receiver.taken.append(self.headers["webhook-id"])
                self.send_response(status)
                for name, value in {"content-length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def _drip(self) -> None:
                self.close_connection = True
                with contextlib.suppress(OSError):
                    self.wfile.write(b"HTTP/1.1 204 No Content\r\n")
                    for number in range(200):
                        self.wfile.write(f"x-drip-{number}: drop\r\n".encode())
                        time.sleep(0.05)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
