"""Requests that mean harm, or are broken, against the real server: each ends in a stated way, and others are answered."""

from __future__ import annotations

import json
import re
import socket
import time

import httpx
import pytest

from tests.serving.access.guarded import Guarded, heard

pytestmark = pytest.mark.xdist_group("server")
DEEP = b'{"events": ' + b"[" * 40_000


def status(answer: bytes) -> int:
    found = re.match(rb"HTTP/1\.1 (\d+) ", answer)
    return int(found[1]) if found else 0


def code(answer: bytes) -> str:
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"])


@pytest.fixture(autouse=True)
def _others_are_answered(guarded: Guarded) -> object:
    yield
    answer = httpx.post(
        f"{guarded.server.url}/v1/recommend", json={}, headers={"authorization": f"Bearer {guarded.key}"}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{" * 40_000,
        DEEP,
        b'{"k": ' + b"9" * 90_000 + b"}",
        b'{"k": 1e400}',
        b'{"k": -0.0}',
        b'{"user_id": "\xff\xfe"}',
        b'{"user_id": "\\ud800"}',
        b"\x00",
        b"\xef\xbb\xbf{}",
        b'{"k": NaN}',
        b'{"k": 3, "k": "x"}',
        b"null",
    ],
)
def test_body_when_it_is_malformed_then_the_callers_error_says_so(guarded: Guarded, body: bytes) -> None:
    answer = guarded.say(guarded.head(f"content-length: {len(body)}") + body)
    assert status(answer) in (400, 422), answer
    assert code(answer) in ("invalid_json", "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        b'{"filters": {"max_price": 99999999999999999999}}',
        b'{"events": [{"event_type": "view", "item_id": "item-1", "ts": "9999-12-31T23:59:59-23:59"}]}',
        b'{"events": [{"event_type": "view", "item_id": "item-1", "ts": "0001-01-01T00:00:00+23:59"}]}',
        b'{"filters": {"min_price": 99999999999999999999, "max_price": -99999999999999999999}}',
        b'{"k": 2, "k": 3}',
        json.dumps({"user_id": "a\x00b😀\u202e", "k": 1}).encode(),
    ],
)
def test_body_when_it_is_strange_and_fits_then_it_is_answered(guarded: Guarded, body: bytes) -> None:
    assert status(guarded.say(guarded.head(f"content-length: {len(body)}") + body)) == 200


@pytest.mark.parametrize(
    ("length", "body"),
    [
        ("content-length: 10000000", b"{"),
        ("content-length: 99999999999999999999", b"{"),
        ("transfer-encoding: chunked", b"".join(b"2710\r\n" + b" " * 10_000 + b"\r\n" for _ in range(120))),
    ],
)
def test_body_when_it_is_too_large_then_it_is_refused_and_the_connection_closed(
    guarded: Guarded, length: str, body: bytes
) -> None:
    answer = guarded.say(guarded.head(length) + body)
    assert status(answer) in (400, 413)
    assert b"connection: close" in answer.lower()


def test_body_when_it_comes_byte_by_byte_then_it_is_given_up_and_holds_no_place(guarded: Guarded) -> None:
    started = time.monotonic()
    answer = guarded.say(guarded.head("content-length: 100"), *[b" "] * 20, pause=0.05)
    assert (status(answer), code(answer)) == (408, "body_too_slow")
    assert time.monotonic() - started < 20
    chunked = guarded.say(guarded.head("transfer-encoding: chunked"), *[b"1\r\n \r\n"] * 20, pause=0.05)
    assert status(chunked) == 408


def test_headers_when_they_never_end_then_the_connection_is_closed(guarded: Guarded) -> None:
    answer = guarded.say(b"GET / HTTP/1.1\r\nx: ", *[b"a" * 4_000] * 20)
    assert (status(answer), code(answer)) == (431, "headers_too_large")
    started = time.monotonic()
    assert guarded.say(b"GET / HT") == b""
    assert guarded.say(b"") == b""
    assert time.monotonic() - started < 20


def test_answer_when_it_came_before_the_body_then_a_body_without_end_ends_the_connection(guarded: Guarded) -> None:
    """A refusal does not wait for the body, and does not keep reading it either."""
    head = guarded.head("transfer-encoding: chunked").replace(guarded.key.encode(), b"footfall_no_key")
    with socket.create_connection(("127.0.0.1", guarded.server.settings.port), timeout=5) as line:
        line.sendall(head)
        started, ended = time.monotonic(), None
        while time.monotonic() - started < 20 and ended is None:
            try:
                line.sendall(b"400\r\n" + b" " * 1024 + b"\r\n")
            except OSError:
                ended = time.monotonic() - started
            time.sleep(0.05)
    assert ended is not None
    assert ended < 20


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /v1/recommend HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/recommend HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"POST /v1/recommend HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/recommend HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/recommend HTTP/1.1\r\nhost : a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
    ],
)
def test_request_when_it_is_no_http_or_says_its_length_twice_then_it_is_refused_and_closed(
    guarded: Guarded, request_: bytes
) -> None:
    answer = guarded.say(request_ + b"GET /v1/customers HTTP/1.1\r\nhost: a\r\n\r\n")
    assert status(answer) in (400, 401)
    assert answer.lower().count(b"http/1.1 ") == 1  # nothing behind it was taken for a second request
    assert b"connection: close" in answer.lower()


def test_options_when_the_whole_server_is_asked_then_it_lists_its_methods(guarded: Guarded) -> None:
    answer = guarded.say(b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n")
    assert status(answer) == 204
    assert b"allow: DELETE, GET, POST, HEAD, OPTIONS" in answer


def test_upgrade_when_a_websocket_is_asked_for_then_it_is_refused(guarded: Guarded) -> None:
    head = b"GET /v1/customers HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    answer = guarded.say(head + b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    assert status(answer) in (401, 403, 426)


def test_connections_when_there_are_too_many_then_more_are_told_to_come_back(guarded: Guarded) -> None:
    port = guarded.server.settings.port
    held = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(230)]
    time.sleep(0.3)
    late = held[-1]
    late.sendall(guarded.head() + b"{}")
    answer = heard(late)
    for line in held:
        line.close()
    assert (status(answer), code(answer)) == (429, "too_many_connections")
    assert b"retry-after: 1" in answer
    time.sleep(0.3)


def test_log_when_all_this_was_sent_then_it_holds_no_key_and_no_address(guarded: Guarded) -> None:
    headers = {"authorization": f"Bearer {guarded.key}"}
    httpx.get(f"{guarded.server.url}/v1/customers/user-1-secret", params={"key": "x-secret"}, headers=headers)
    time.sleep(0.5)
    log = guarded.server.log.read_text()
    assert '"route":"/v1/customers/{user_id}"' in log
    assert "secret" not in log
    assert guarded.key not in log
