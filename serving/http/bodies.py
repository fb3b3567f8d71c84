"""Request bodies, read up to a limit."""

from __future__ import annotations

from starlette.requests import Request as HttpRequest

from serving.api.errors import RequestError


async def read_body(http: HttpRequest, *, limit: int) -> bytes:
    """Return a request's body.

    Raises:
        RequestError: it is larger than ``limit`` bytes.
    """
    announced = http.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit, announced)
    chunks, size = [], 0
    async for chunk in http.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit, f"more than {limit}")
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(limit: int, found: str) -> RequestError:
    return RequestError(
        413, "body_too_large", f"Expected a body of at most {limit} bytes, found {found}; send it in smaller batches."
    )
