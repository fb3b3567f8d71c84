"""The access log: a line a request, with nothing of a customer in it."""

from __future__ import annotations

import errno
import logging
import threading
import time
from pathlib import Path

import msgspec
import pytest

from serving.access.keys import KeyFile
from serving.process.logs import AccessLog, LogSettings
from tests.serving.access.test_door import app_of, bearer, call


def line(request_id: str) -> dict[str, object]:
    fields = {"at": "", "route": "", "method": "", "status": 200, "ms": 0.0, "caller": "", "release_id": ""}
    return fields | {"request_id": request_id}


def lines(written: bytes) -> list[dict[str, object]]:
    return [msgspec.json.decode(line) for line in written.splitlines()]


def test_access_log_when_requests_are_answered_then_each_has_a_line_without_ids(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    key = KeyFile(tmp_path / "api_keys.json").add(name="desk", role="admin").secret
    app = app_of(tmp_path, logs={"access": "all"})
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = bearer(key, **{"x-request-id": "r-1", "traceparent": trace})
    call(app, "GET", "/v1/customers/ann-who-is-secret", params={"who": "bob-secret"}, headers=headers)
    call(app, "GET", "/nothing/ann-secret")
    app._access_log.flush()
    written = b"".join(line for line in capfdbinary.readouterr().err.splitlines(True) if b"request_id" in line)
    first, second = lines(written)
    assert first["route"] == "/v1/customers/{user_id}"
    assert (first["request_id"], first["caller"], first["status"]) == ("r-1", "desk", 503)
    assert first["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert set(first) == {
        *("at", "request_id", "route", "method", "status", "ms", "caller", "release_id", "worker", "trace_id")
    }
    assert (second["route"], second["status"], second["caller"]) == ("other", 404, "")
    assert b"secret" not in written
    assert key.encode() not in written


def test_access_log_when_sampled_then_one_in_so_many_is_written_and_every_5xx() -> None:
    log = AccessLog(LogSettings(access="sampled", sample=10), lambda _: None)
    assert sum(log.wants(200) for _ in range(100)) == 10
    assert all(log.wants(500) for _ in range(5))
    assert not any(AccessLog(LogSettings(), lambda _: None).wants(500) for _ in range(5))


def test_access_log_when_nobody_reads_it_then_lines_are_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    log = AccessLog(LogSettings(), lambda _: None)  # off: no thread writes beside this test
    for _ in range(20_010):
        log.add(**line(""))
    with caplog.at_level(logging.WARNING):
        log.flush()
    assert "10 lines of the access log were dropped" in caplog.text


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(errno.ENOSPC, "No space left on device"), ValueError()])
def test_access_log_when_a_write_fails_then_it_goes_on_and_tells_what_was_lost(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    written, tried = [], threading.Event()

    def write(content: bytes) -> None:
        if not tried.is_set():
            tried.set()
            raise error
        written.append(content)

    log = AccessLog(LogSettings(access="all"), write)
    log.add(**line("r-1"))
    assert tried.wait(5)
    log.add(**line("r-2"))
    log.close()
    assert [one["request_id"] for one in lines(b"".join(written))] == ["r-2"]
    assert ("1 lines of the access log were dropped" in caplog.text) == isinstance(error, OSError)
    assert "lost" in caplog.text or isinstance(error, OSError)


def test_access_log_when_closed_then_what_waits_is_written_and_a_stuck_pipe_holds_nothing_up() -> None:
    written: list[bytes] = []
    log = AccessLog(LogSettings(access="all"), written.append)
    log.add(**line("r-1"))
    log.close()
    assert [one["request_id"] for one in lines(b"".join(written))] == ["r-1"]
    release = threading.Event()
    stuck = AccessLog(LogSettings(access="all"), lambda _: release.wait(30))
    stuck.add(**line("r-2"))
    started = time.monotonic()
    stuck.close()
    assert time.monotonic() - started < 20
    release.set()
