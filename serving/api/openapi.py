"""The OpenAPI document, generated from the types that validate requests and write answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from serving.api.roles import ROLE_WORDS, Lane, Role
from serving.api.schemas import Answer, ErrorAnswer, NewEvent, Request

PATH_ID: Final = {"type": "string", "minLength": 1, "maxLength": 256}
_IN_PATH: Final = re.compile(r"{(\w+)}")
_REF: Final = "#/components/schemas/{name}"
_REQUEST_ID: Final = {"$ref": "#/components/headers/X-Request-ID"}
_RETRY_AFTER: Final = {"$ref": "#/components/headers/Retry-After"}
_HEADERS: Final = {
    "X-Request-ID": {
        "description": "names this request in the service's log; the caller's own where it sent a good one",
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    },
    "Retry-After": {"description": "whole seconds to wait", "schema": {"type": "integer", "minimum": 1}},
}


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One documented call.

    Args:
        method: HTTP method.
        path: with parameters in braces.
        summary: one line.
        answer: the type of a good answer.
        request: the type of the body, if there is one.
        query: the type of the address's parameters, if there are any.
        errors: statuses of answers that are errors, beside those that any call may have.
        roles: who may call it, where the service asks for keys.
        lane: the queue that it waits in.
    """

    method: str
    path: str
    summary: str
    answer: type[Answer]
    request: type[Request] | None = None
    query: type[Request] | None = None
    errors: Sequence[int] = ()
    roles: Sequence[Role] = ("admin",)
    lane: Lane = "lookup"


def openapi_document(endpoints: Iterable[Endpoint], *, version: str, with_keys: bool = True) -> dict[str, Any]:
    """Return an OpenAPI 3.1 document of the endpoints.

    Args:
        endpoints: documented calls.
        version: of this software.
        with_keys: whether the service asks callers for a key or a token.
    """
    listed = list(endpoints)
    types: set[Any] = {ErrorAnswer, NewEvent}
    types |= {one.answer for one in listed} | {one.request for one in listed if one.request}
    _, schemas = msgspec.json.schema_components(sorted(types, key=lambda kind: kind.__name__), ref_template=_REF)
    # Each row is judged by itself: one that is no NewEvent is set aside with its reason, and refuses no other.
    row = {"anyOf": [{"$ref": _REF.format(name="NewEvent")}, {"description": "anything else is set aside"}]}
    schemas["EventsRequest"]["properties"]["events"]["items"] = row
    paths: dict[str, dict[str, Any]] = {}
    for one in listed:
        security = {"security": _security(one)} if with_keys else {}
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one) | security
    about = {"title": "Footfall", "version": version, "description": "Recommendations, customers and demand."}
    components = {"schemas": schemas, "headers": _HEADERS} | ({"securitySchemes": _schemes()} if with_keys else {})
    return {"openapi": "3.1.0", "info": about, "paths": paths, "components": components}


def _schemes() -> dict[str, Any]:
    roles = "; ".join(f"{role}: {words}" for role, words in ROLE_WORDS.items())
    return {
        "key": {"type": "http", "scheme": "bearer", "description": f"a key or an identity provider's token. {roles}"},
        "trackerKey": {"type": "apiKey", "in": "query", "name": "key", "description": "a key of role tracker only"},
    }


def _security(endpoint: Endpoint) -> list[dict[str, Sequence[str]]]:
    # OpenAPI 3.1 lets any scheme list the roles that a call asks for.
    tracker: list[dict[str, Sequence[str]]] = [{"trackerKey": ["tracker"]}] if "tracker" in endpoint.roles else []
    return [{"key": list(endpoint.roles)}, *tracker]


def statuses_of(endpoint: Endpoint) -> list[int]:
    """Return the statuses of errors that a call may answer with."""
    of_body = {400, 408, 413, 422} if endpoint.request is not None else set()
    of_address = {422} if endpoint.query is not None or "{" in endpoint.path else set()
    return sorted({*endpoint.errors, *of_body, *of_address, 401, 403, 429, 431, 503, 504})


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    errors = {str(status): _body(f"Error {status}", ErrorAnswer) for status in statuses_of(endpoint)}
    for status in ("429", "503"):
        errors[status]["headers"] = {"Retry-After": _RETRY_AFTER}
    responses = {"200": _body("Done", endpoint.answer)} | errors
    for one in responses.values():
        one.setdefault("headers", {})["X-Request-ID"] = _REQUEST_ID
    operation: dict[str, Any] = {"summary": endpoint.summary, "responses": responses}
    if endpoint.request is not None:
        operation["requestBody"] = {"required": True} | _body("", endpoint.request)
    if names := _IN_PATH.findall(endpoint.path):
        operation["parameters"] = [{"name": name, "in": "path", "required": True, "schema": PATH_ID} for name in names]
    if endpoint.query is not None:
        operation["parameters"] = [*operation.get("parameters", []), *_parameters(endpoint.query)]
    return operation


def _parameters(query: type[Request]) -> list[dict[str, Any]]:
    (schema,) = msgspec.json.schema_components([query])[1].values()
    required = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": one}
        for name, one in schema["properties"].items()
    ]


def _body(description: str, kind: type) -> dict[str, Any]:
    content = {"content": {"application/json": {"schema": {"$ref": _REF.format(name=kind.__name__)}}}}
    return {"description": description} | content if description else content
