"""The OpenAPI document, generated from the types that validate requests and write answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from serving.api.schemas import Answer, ErrorAnswer, NewEvent, Request

_IN_PATH: Final = re.compile(r"{(\w+)}")
_REF: Final = "#/components/schemas/{name}"


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
        errors: statuses of answers that are errors.
    """

    method: str
    path: str
    summary: str
    answer: type[Answer]
    request: type[Request] | None = None
    query: type[Request] | None = None
    errors: Sequence[int] = ()


def openapi_document(endpoints: Iterable[Endpoint], *, version: str) -> dict[str, Any]:
    """Return an OpenAPI 3.1 document of the endpoints."""
    listed = list(endpoints)
    types: set[Any] = {ErrorAnswer, NewEvent}
    types |= {one.answer for one in listed} | {one.request for one in listed if one.request}
    _, schemas = msgspec.json.schema_components(sorted(types, key=lambda kind: kind.__name__), ref_template=_REF)
    schemas["EventsRequest"]["properties"]["events"]["items"] = {"$ref": _REF.format(name="NewEvent")}
    paths: dict[str, dict[str, Any]] = {}
    for one in listed:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    about = {"title": "Footfall", "version": version, "description": "Recommendations, customers and demand."}
    return {"openapi": "3.1.0", "info": about, "paths": paths, "components": {"schemas": schemas}}


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    errors = {str(status): _body(f"Error {status}", ErrorAnswer) for status in sorted({*endpoint.errors, 503, 504})}
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "responses": {"200": _body("Done", endpoint.answer)} | errors,
    }
    if endpoint.request is not None:
        operation["requestBody"] = {"required": True} | _body("", endpoint.request)
    if names := _IN_PATH.findall(endpoint.path):
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
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
