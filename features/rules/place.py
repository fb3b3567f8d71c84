"""Where a rule file is wrong, and the plain values that it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from features import columns as c
from features.errors import ConfigError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where in a file the parser stands; errors begin with it.

    Args:
        file: shown as it is.
        rule: its name.
        path: such as ``when.all[1].where``.
    """

    file: str
    rule: str = ""
    path: str = ""

    def at(self, key: str | int) -> Place:
        """Return the place one step further in."""
        step = f"[{key}]" if isinstance(key, int) else f".{key}" if self.path else key
        return Place(file=self.file, rule=self.rule, path=f"{self.path}{step}")

    def error(self, expected: str, found: object, hint: str = "") -> ConfigError:
        """Return the error that says what was expected and found here."""
        where = f"{self.file}: rule {self.rule!r}" if self.rule else self.file
        return ConfigError(
            f"{where}{f', {self.path}' if self.path else ''}: expected {expected}, found {found!r}.{hint}"
        )


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds.

    Raises:
        ConfigError: the file is missing, no YAML, or has a key twice.
    """
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506 (a safe loader)
    except FileNotFoundError:
        raise ConfigError(f"{path}: expected a YAML file of rules here, found none.") from None
    except (yaml.YAMLError, UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(f"{path}: expected YAML, found something else ({error}).") from None


class _StrictLoader(yaml.SafeLoader):
    """A safe loader that refuses a key which stands twice: the second rule would replace the first in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


def mapping(values: Any, place: Place) -> dict[str, Any]:
    """Return ``values`` if it is a mapping."""
    if not isinstance(values, dict):
        raise place.error("a mapping of names to values", values)
    return values


def only(keys: Mapping[str, Any], known: Sequence[str], place: Place) -> None:
    """Refuse a key that is not known."""
    for key in keys:
        if key not in known:
            hint = did_you_mean(str(key), known) or f" Known are {', '.join(known)}."
            raise place.error("a key that is known here", key, hint)


def text(value: Any, place: Place) -> str:
    """Return ``value`` if it is a text."""
    if not isinstance(value, str):
        raise place.error("a text", value, " Put it in quotes.")
    return value


def choice(value: Any, known: Sequence[str], place: Place) -> Any:
    """Return ``value`` if it is known or nothing."""
    if value is not None and value not in known:
        raise place.error(f"one of {', '.join(known)}", value, did_you_mean(str(value), known))
    return value


def number(value: Any, place: Place, *, least: float, most: float | None = None, above: bool = False) -> float:
    """Return ``value`` if it is a number within its span."""
    span = f"above {least:g}" if above else f"of {least:g} or more" if most is None else f"from {least:g} to {most:g}"
    fits = (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and (value > least or (value == least and not above))
    )
    if not fits or (most is not None and value > most):
        raise place.error(f"a number {span}", value)
    return float(value)


def whole(value: Any, scale: int, place: Place) -> int:
    """Return a bound as a whole number; of money in minor units."""
    scaled = number(value, place, least=0) * scale
    if abs(scaled - round(scaled)) > 1e-6:
        raise place.error("a whole number" if scale == 1 else f"money with at most {scale} minor units to one", value)
    return round(scaled)


def event_types(value: Any, place: Place) -> tuple[str, ...]:
    """Return one event type or several as a tuple."""
    names = value if isinstance(value, list) else [value]
    if not names:
        raise place.error("at least one event type", value)
    for name in names:
        if name not in c.EVENT_TYPES:
            hint = did_you_mean(str(name), c.EVENT_TYPES) or f" They are {', '.join(c.EVENT_TYPES)}."
            raise place.error("an event type of the contract", name, hint)
    return tuple(dict.fromkeys(names))
