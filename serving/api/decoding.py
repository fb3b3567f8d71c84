"""Requests as their types, with errors that say what to change."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from features.errors import did_you_mean
from serving.api.errors import RequestError

T = TypeVar("T")
_PATH: Final = re.compile(r" - at `\$\.?(.*)`$")
_UNKNOWN_FIELD: Final = re.compile(r"unknown field `(.*?)`")
_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def decode_body(body: bytes, kind: type[T]) -> T:
    """Return a body as its type.

    Raises:
        RequestError: it is not JSON, or does not fit the type.
    """
    try:
        return _decoded(body, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"Expected a JSON object in UTF-8, found {_short(body.decode(errors='replace'))} ({error}); see /docs for the fields."
        raise RequestError(400, "invalid_json", message) from None


def decode_query(query: Mapping[str, str], kind: type[T]) -> T:
    """Return the parameters of an address as their type.

    Raises:
        RequestError: one is unknown, or does not fit.
    """
    values = dict(query)
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise RequestError(
            422, "invalid_request", f"{explain(str(error), values, kind)} See /docs for the parameters."
        ) from None


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return _decoder(kind).decode(body)
    except msgspec.ValidationError as error:
        # The first field that does not fit ends the decoding; what stands behind it may be no JSON at all.
        reason = explain(str(error), msgspec.json.decode(body), kind)
        raise RequestError(422, "invalid_request", f"{reason} See /docs for the fields.") from None


def explain(error: str, content: Any, kind: type) -> str:
    """Turn msgspec's ``Expected `int` <= 1000 - at `$.k``` into ``k: expected `int` <= 1000, found 5000.``.

    Args:
        error: what msgspec says.
        content: what was sent.
        kind: what was expected.
    """
    unknown = _UNKNOWN_FIELD.search(error)
    if unknown:
        fields = _field_names(kind)
        return f"{error}.{did_you_mean(unknown[1], fields)}"
    path = _PATH.search(error)
    where = path[1] if path else ""
    if error.startswith("Invalid enum value"):
        value, words = _at(content, where), _words_of(kind, where.rsplit(".", 1)[-1])
        hint = did_you_mean(str(value), words)
        return f"{where}: expected one of {', '.join(words)}, found {_short(value)}.{hint}"
    expected = _PATH.sub("", error)
    found = "" if "got" in expected else f", found {_short(_at(content, where))}"
    return f"{where or 'body'}: {expected[:1].lower()}{expected[1:]}{found}."


def _field_names(kind: type) -> list[str]:
    return sorted({name for part in _schemas(kind) for name in part.get("properties", ())})


def _words_of(kind: type, field: str) -> list[str]:
    """Return the words that a field of ``kind``, or of a type in it, may hold."""
    fields = [part["properties"][field] for part in _schemas(kind) if field in part.get("properties", ())]
    choices = [choice for one in fields for choice in one.get("anyOf", [one])]
    return [str(word) for choice in choices for word in choice.get("enum", ())]


def _schemas(kind: type) -> list[dict[str, Any]]:
    return list(msgspec.json.schema_components([kind])[1].values())


def _at(value: Any, where: str) -> Any:
    for name, position in _STEP.findall(where):
        try:
            value = value[int(position)] if position else value[name]
        except (KeyError, IndexError, TypeError):
            return value
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_decoders: dict[type, msgspec.json.Decoder[Any]] = {}


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    if kind not in _decoders:
        _decoders[kind] = msgspec.json.Decoder(kind)
    return _decoders[kind]
