"""Request bodies, read up to a limit and within a time."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from serving.api.errors import RequestError
from serving.http.deadlines import Deadlines


async def read_body(
    headers: Mapping[bytes, bytes], receive: Receive, *, limit: int, seconds: float, deadlines: Deadlines
) -> bytes:
    """Return a request's body.

    Args:
        headers: of the request.
        receive: of ASGI.
        limit: the most bytes.
        seconds: the longest time.
        deadlines: watch it.

    Raises:
        RequestError: it is larger than ``limit``, 413, or takes longer than ``seconds``, 408.
        ClientDisconnect: the caller went away.
    """
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced[:20]) > limit:
        raise _too_large(limit, announced[:20].decode())
    try:
        with deadlines.within(seconds):
            return await _read(receive, limit)
    except TimeoutError:
        raise RequestError(
            408, "body_too_slow", f"Expected the whole body within {seconds:g} s, found a part of it; send it at once."
        ) from None


async def _read(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit, f"more than {limit}")
        if not message.get("more_body", False):
            return b"".join([*chunks, chunk]) if chunks else bytes(chunk)
        chunks.append(chunk)


def _too_large(limit: int, found: str) -> RequestError:
    return RequestError(
        413, "body_too_large", f"Expected a body of at most {limit} bytes, found {found}; send it in smaller batches."
    )
