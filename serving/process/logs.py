"""The worker's log: one JSON object a line on stderr, without ids of users."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from features.errors import ConfigError

_log = logging.getLogger(__name__)
_WRITE_SECONDS: Final = 0.2
_CLOSE_SECONDS: Final = 1.0
_MOST_WAITING: Final = 20_000
_STDERR: Final = 2


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is written of each request.

    Args:
        access: `all` writes a line a request, `sampled` one in ``sample`` and every one of a status from 500 on.
        sample: of how many requests one is written.
    """

    access: Literal["off", "sampled", "all"] = "off"
    sample: int = 100

    def __post_init__(self) -> None:
        if self.sample < 1:
            raise ConfigError(f"logs.sample: expected 1 or more, found {self.sample}.")


class AccessLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request in the log: its route as a template, never its address, which holds ids."""

    at: str
    request_id: str
    route: str
    method: str
    status: int
    ms: float
    caller: str
    release_id: str
    worker: int
    trace_id: str = ""


class AccessLog:
    """Writes a line a request, from a thread of its own: a full pipe must never hold up an answer.

    Args:
        settings: which requests are written.
        write: takes whole lines; stderr where left out.
    """

    def __init__(self, settings: LogSettings, write: Callable[[bytes], object] | None = None) -> None:
        self._every = {"off": 0, "sampled": settings.sample, "all": 1}[settings.access]
        self._count = 0
        self._write = write or _to_stderr
        self._encode = msgspec.json.Encoder().encode
        self._waiting: deque[AccessLine] = deque()
        self._dropped = 0
        self._worker = os.getpid()
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._keep_writing, name="access-log", daemon=True)
        if self._every:
            self._thread.start()

    def wants(self, status: int) -> bool:
        """Count a request, and return whether its line is to be written."""
        if not self._every:
            return False
        self._count += 1
        return self._count % self._every == 0 or status >= 500

    def add(self, **fields: Any) -> None:
        """Take a line; it is written within 0.2 s. Lines beyond 20,000 waiting are counted and dropped."""
        if len(self._waiting) >= _MOST_WAITING:
            self._dropped += 1
            return
        self._waiting.append(AccessLine(worker=self._worker, **fields))

    def flush(self) -> None:
        """Write what waits; what cannot be written is counted, and told of once something can."""
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            if lines:
                self._write(b"".join(self._encode(line) + b"\n" for line in lines))
        except OSError:  # nobody reads the pipe any longer, or the disk is full: it may be otherwise in a moment
            self._dropped += len(lines)
            return
        dropped, self._dropped = self._dropped, 0
        if dropped:
            _log.warning("%d lines of the access log were dropped: they could not be written, or not as fast", dropped)

    def close(self) -> None:
        """Write what waits, and no more; a pipe that nobody reads holds this up for a second at most."""
        self._is_closed.set()
        if self._every:
            self._thread.join(_CLOSE_SECONDS)

    def _keep_writing(self) -> None:
        is_closed = False
        while not is_closed:
            is_closed = self._is_closed.wait(_WRITE_SECONDS)
            try:
                self.flush()
            except Exception:  # a log must not end for what one line holds
                _log.exception("lines of the access log were lost")


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return ``{"at", "level", "logger", "message"}``."""
        at = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
        line = {"at": at, "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if (request_id := getattr(record, "request_id", None)) is not None:
            line["request_id"] = request_id
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send every record to stderr as JSON lines: ours from ``level`` up, the libraries' from warnings up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.getLogger().handlers = [handler]
    logging.getLogger().setLevel(logging.WARNING)
    for name in ("bentoml", "uvicorn.error", "uvicorn.access", "circus"):
        library = logging.getLogger(name)
        library.handlers, library.propagate = [], True
        library.setLevel(logging.WARNING)
    for name in ("serving", "features"):
        logging.getLogger(name).setLevel(level)
    # BentoML's settings of logs silence every logger that is there by then: of a forked worker, all of ours.
    for one in logging.Logger.manager.loggerDict.values():
        if isinstance(one, logging.Logger):
            one.disabled = False


def now_text() -> str:
    """Return the present as log lines have it."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


def _to_stderr(content: bytes) -> None:
    left = memoryview(content)
    while left:  # without a buffer, which would keep what could not be written and fail again
        left = left[os.write(_STDERR, left) :]
