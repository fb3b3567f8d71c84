"""Pages that work without any outside resource, and the scripts that they and the shop's own pages load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from serving.http.reply import Reply
from serving.http.routes import Handler
from serving.http.visit import Visit

_PAGES: Final = Path(__file__).parent / "pages"
# A browser refuses anything that a page would load from elsewhere, so that the pages work without the Internet,
# runs no script that stands in the page itself, and shows them inside no other site's page, where a click could be
# led astray.
_OWN_RESOURCES: Final = (
    b"default-src 'none'; connect-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_TRACKER: Final = "tracker.js"
# File beside this module by its address.
PAGES: Final[Mapping[str, str]] = {
    "/": "console.html",
    "/console.js": "console.js",
    "/docs": "docs.html",
    "/docs.js": "docs.js",
    **{f"/{name}": name for name in ("page.js", "search.js", "lists.js", "plot.js", "customer.js", "item.js")},
    "/style.css": "style.css",
    "/tracker.js": _TRACKER,
}


def page(file: str) -> Handler:
    """Return a handler that answers a file beside this module."""
    content = (_PAGES / file).read_bytes()
    headers = [(b"content-security-policy", _OWN_RESOURCES)]
    if file == _TRACKER:  # pages of the shop load it, again and again
        headers += [(b"cache-control", b"public, max-age=3600"), (b"cross-origin-resource-policy", b"cross-origin")]
    media_type = f"{_TYPES[Path(file).suffix]}; charset=utf-8".encode()

    async def answer(_: Visit) -> Reply:
        return Reply(content, media_type=media_type, headers=headers)

    return answer
