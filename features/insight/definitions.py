"""What is asked, read from a YAML mapping: names are checked here, values where the definition is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, Protocol, TypeVar

from features import columns as c
from features.errors import ConfigError, did_you_mean

DefinitionT = TypeVar("DefinitionT")


class Parsable(Protocol):
    """A definition that reads itself from a mapping."""

    @classmethod
    def parse(cls, mapping: Any, *, where: str) -> Any:
        """Return the definition."""


def parsed(
    kind: type[DefinitionT], mapping: object, *, where: str, parts: Mapping[str, type[Parsable]] | None = None
) -> DefinitionT:
    """Return a definition whose fields a mapping names; lists become tuples, what it leaves out has its default.

    Args:
        kind: a dataclass whose ``__post_init__`` refuses values that do not fit.
        mapping: as YAML gave it; nothing at all stands for all defaults.
        where: such as ``retention.weekly``, for errors.
        parts: fields that are definitions themselves, read by these.

    Raises:
        ConfigError: it is no mapping, a name is unknown or missing, or a value does not fit.
    """
    fields = dataclasses.fields(kind)  # type: ignore[arg-type] # a dataclass
    names = [field.name for field in fields]
    mapping = {} if mapping is None else mapping
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where}: expected a mapping of {', '.join(names)}, found {type(mapping).__name__}.")
    for name in mapping:
        if name not in names:
            hint = did_you_mean(str(name), names)
            raise ConfigError(f"{where}: expected one of {', '.join(names)}, found {name!r}.{hint}")
    for field in fields:
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in mapping:
            raise ConfigError(f"{where}: expected {field.name}, found none.")
    parts = parts or {}
    values: dict[str, Any] = {
        name: parts[name].parse(x, where=f"{where}.{name}") if name in parts else tuple(x) if isinstance(x, list) else x
        for name, x in mapping.items()
    }
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}.{error}") from None


def check_event_types(name: str, event_types: object, *, some: bool = False) -> None:
    """Raise where a field holds no tuple of the contract's event types; an empty one stands for any.

    Args:
        name: of the field.
        event_types: its value.
        some: whether an empty one is refused.

    Raises:
        ConfigError: it says which, and what was meant.
    """
    if not isinstance(event_types, tuple):
        raise ConfigError(f"{name}: expected a list of event types, found {event_types!r}.")
    if some and not event_types:
        raise ConfigError(f"{name}: expected at least one event type, found none; leave it out for what is usual.")
    for event_type in event_types:
        check_choice(name, event_type, c.EVENT_TYPES)


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Raise where a field's value is none of the choices.

    Raises:
        ConfigError: it says which there are, and what was meant.
    """
    if value not in choices:
        hint = did_you_mean(str(value), choices)
        raise ConfigError(f"{name}: expected one of {', '.join(choices)}, found {value!r}.{hint}")


def check_whole(name: str, value: object, *, least: int, most: int | None = None) -> None:
    """Raise where a field's value is no whole number in its span.

    Raises:
        ConfigError: it says the span.
    """
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):  # type: ignore[operator]
        span = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise ConfigError(f"{name}: expected a whole number {span}, found {value!r}.")
