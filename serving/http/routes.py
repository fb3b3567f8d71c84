"""Which handler answers an address: exact ones by a dictionary, those with an id in them by a pattern."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from serving.api.errors import RequestError
from serving.api.openapi import PATH_ID
from serving.api.roles import Lane, Role
from serving.http.reply import Reply
from serving.http.visit import Visit

Handler = Callable[[Visit], Awaitable[Reply]]
_IN_PATH: Final = re.compile(r"{(\w+)}")


class MethodRefused(RequestError):
    """The address is there, for other methods."""

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        self.method = method
        self.allow = ", ".join(allowed)
        super().__init__(
            405, "method_not_allowed", f"{method[:16]} is not answered here; expected {self.allow}. See /docs."
        )


@dataclass(frozen=True, kw_only=True)
class Call:
    """An address and a method with what answers them.

    Args:
        method: HTTP method.
        path: with parameters in braces.
        handler: answers.
        roles: who may call; anyone where empty.
        lane: queue that it waits in, if any.
    """

    method: str
    path: str
    handler: Handler
    roles: tuple[Role, ...] = ()
    lane: Lane | None = None


class Routes:
    """All calls; a parameter is one percent-encoded step of the address, so an id may hold a slash.

    Args:
        calls: in any order: of ``/v1/things/new`` and ``/v1/things/{id}`` the exact one wins.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        self._exact: dict[str, dict[str, Call]] = {}
        patterns: dict[str, dict[str, Call]] = {}
        for call in calls:
            held = patterns if "{" in call.path else self._exact
            held.setdefault(call.path, {})[call.method] = call
        self._methods = [*sorted({call.method for call in calls}), "HEAD", "OPTIONS"]
        self._patterns = [(_pattern(path), by_method) for path, by_method in patterns.items()]

    def find(self, method: str, raw_path: bytes) -> tuple[Call, dict[str, str]]:
        """Return the call of a method and an address, and its parameters.

        Raises:
            RequestError: there is none, 404; for other methods, 405; a parameter is no id, 422.
        """
        path = raw_path.partition(b"?")[0].decode("latin-1")
        if path == "*" and method == "OPTIONS":  # of the server as a whole
            raise MethodRefused(method, self._methods)
        if (by_method := self._exact.get(path)) is not None:
            return _of_method(by_method, method), {}
        for pattern, by_method in self._patterns:
            if (found := pattern.fullmatch(path)) is not None:
                call = _of_method(by_method, method)
                return call, {name: _id(name, step) for name, step in found.groupdict().items()}
        raise RequestError(404, "not_found", "No such address; /docs lists what there is.")


def _of_method(by_method: dict[str, Call], method: str) -> Call:
    call = by_method.get("GET" if method == "HEAD" else method)
    if call is None:
        allowed = [*by_method, *(["HEAD"] if "GET" in by_method else []), "OPTIONS"]
        raise MethodRefused(method, allowed)
    return call


def _pattern(path: str) -> re.Pattern[str]:
    steps = [f"(?P<{step[1:-1]}>[^/]*)" if _IN_PATH.fullmatch(step) else re.escape(step) for step in path.split("/")]
    return re.compile("/".join(steps))


def _id(name: str, step: str) -> str:
    try:
        value = unquote(step, errors="strict")
    except UnicodeDecodeError:
        raise RequestError(
            422, "invalid_request", f"{name}: expected UTF-8 in percent-encoding, found {step[:60]!r}."
        ) from None
    if not 1 <= len(value) <= int(str(PATH_ID["maxLength"])):
        raise RequestError(
            422, "invalid_request", f"{name}: expected 1 to {PATH_ID['maxLength']} characters, found {len(value)}."
        )
    return value
