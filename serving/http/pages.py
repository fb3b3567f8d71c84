"""Pages that work without any outside resource."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

_PAGES: Final = Path(__file__).parent / "pages"
# A browser refuses anything that a page would load from elsewhere, so that the pages work without the Internet,
# and shows them inside no other site's page, where a click could be led astray.
_OWN_RESOURCES: Final = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page(file: str) -> Callable[[HttpRequest], Awaitable[Response]]:
    """Return a handler that answers a file beside this module."""
    content = (_PAGES / file).read_bytes()
    headers = {"content-security-policy": _OWN_RESOURCES, "x-content-type-options": "nosniff"}
    media_type = "text/css" if file.endswith(".css") else "text/html"

    async def answer(_: HttpRequest) -> Response:
        return Response(content, media_type=f"{media_type}; charset=utf-8", headers=headers)

    return answer
