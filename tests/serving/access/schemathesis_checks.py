"""A check of our own for schemathesis, whose process loads this file."""

from __future__ import annotations

from typing import Any

import schemathesis

# Refused for what the documents say in words: which fields a call needs, which instants. To JSON Schema 3.0 is an integer;
# whoever writes a count with a point hears that it is none.
_IN_WORDS = ("expected an instant", "neither", "got `float`")


@schemathesis.check
def what_the_schema_allows_is_understood(ctx: Any, response: Any, case: Any) -> None:
    """A request that fits the schema is never refused for its form."""
    if (
        case.meta is None
        or not case.meta.generation.mode.is_positive
        or response.status_code not in (400, 413, 415, 422)
    ):
        return
    error = response.json()["error"]
    if error["code"] in ("invalid_json", "invalid_request") and not any(word in error["message"] for word in _IN_WORDS):
        raise AssertionError(f"fits the schema, and was refused: {error['message']}")
