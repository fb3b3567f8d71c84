"""A receiver of webhooks: checks the signature, answers at once, and takes each message once.

FOOTFALL_WEBHOOK_SECRET=whsec_... python receive_webhooks.py 8080
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOLERANCE_SECONDS = 300
taken: set[str] = set()  # of a real receiver: a table with a unique column, in the transaction that does the work


def is_signed(headers: dict[str, str], body: bytes, secret: str, now: float) -> bool:
    """Return whether a message was signed with the secret within five minutes (Standard Webhooks 1.0.0)."""
    at = headers.get("webhook-timestamp", "")
    if not at.isdecimal() or abs(now - int(at)) > TOLERANCE_SECONDS:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers.get('webhook-id', '')}.{at}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return any(hmac.compare_digest(wanted, one) for one in headers.get("webhook-signature", "").split())


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 for what it took, also if it comes again; 401 for what nobody signed."""

    def do_POST(self) -> None:
        """Take one message."""
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if not is_signed(headers, body, os.environ["FOOTFALL_WEBHOOK_SECRET"], time.time()):
            self.send_response(401)
        else:
            if headers["webhook-id"] not in taken:
                taken.add(headers["webhook-id"])
                message = json.loads(body)
                print(message["type"], message["data"].get("trigger") or message["data"].get("kind"), flush=True)
            self.send_response(204)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
