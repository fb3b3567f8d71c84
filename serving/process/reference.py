"""Every setting of the service with its default and what it means, as a page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from docstring_parser import parse
from msgspec.structs import FieldInfo, fields

from serving.outbox.settings import WebhookEndpoint
from serving.process.settings import ServeSettings

_INTRODUCTION: Final = """# Settings of the service

Written by `footfall settings`. `footfall serve STORE --config FILE` reads them from YAML;
[examples/serving.yaml](examples/serving.yaml) holds all of them with their defaults. A setting that is unknown or does not fit
is refused with what was expected.
"""


def settings_page() -> str:
    """Return the page: one table a section."""
    defaults = ServeSettings()
    top = [one for one in fields(ServeSettings) if not _is_section(one)]
    parts = [_INTRODUCTION, "## The service itself\n", _table(_rows(ServeSettings, defaults, only=top))]
    for one in fields(ServeSettings):
        if _is_section(one):
            rows = _rows(one.type, getattr(defaults, one.name), f"{one.name}.")
            parts += [f"## `{one.name}`\n", _summary(one.type), _table(rows)]
    parts += ["## One of `webhooks.endpoints`\n", _summary(WebhookEndpoint), _table(_rows(WebhookEndpoint, None))]
    return "\n".join(parts)


def _rows(
    kind: Any, defaults: Any, prefix: str = "", *, only: Sequence[FieldInfo] = ()
) -> Iterator[tuple[str, str, str]]:
    """Return ``(name, default, meaning)`` of each setting, those of sections within too.

    Args:
        kind: the section's type.
        defaults: the section as it is where nothing is set; ``None`` where some settings have to be.
        prefix: of the names.
        only: these fields; all where empty.
    """
    words = {one.arg_name: one.description or "" for one in parse(kind.__doc__ or "").params}
    for one in only or fields(kind):
        value = one.default if defaults is None else getattr(defaults, one.name)
        if _is_section(one):
            yield from _rows(one.type, value, f"{prefix}{one.name}.")
        else:
            yield f"{prefix}{one.name}", _in_words(value), words[one.name]


def _is_section(one: FieldInfo) -> bool:
    return isinstance(one.type, type) and issubclass(one.type, msgspec.Struct)


def _in_words(value: Any) -> str:
    if value is msgspec.NODEFAULT:
        return "required"
    return "empty" if value == "" else f"`{json.dumps(msgspec.to_builtins(value))}`"


def _summary(kind: Any) -> str:
    return f"{parse(kind.__doc__ or '').short_description}\n"


def _table(rows: Iterator[tuple[str, str, str]]) -> str:
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for name, default, words in rows:
        text = " ".join(words.split()).replace("``", "`").replace("|", "\\|")
        lines.append(f"| `{name}` | {default} | {text} |")
    return "\n".join([*lines, ""])
