"""A request that cannot be answered: the caller's error, with an HTTP status and a word for programs."""

from __future__ import annotations

from features.errors import FootfallError


class RequestError(FootfallError):
    """What the caller must change, or wait for.

    Args:
        status: HTTP status, 4xx, or 503 where this release cannot answer.
        code: a word for programs; never changes once published.
        message: expected, found, what to do.
        retry_after: seconds after which the same request may well be answered; ``None`` where waiting does not help.
    """

    def __init__(self, status: int, code: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after


def missing_part(kind: str) -> RequestError:
    """Return the error of an endpoint whose part the release lacks."""
    return RequestError(
        503, "part_missing", f"This release has no {kind} part; build one and promote a release that holds it."
    )
