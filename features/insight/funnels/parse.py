"""Steps and exclusions of funnels from YAML.

checkout:
  steps:
    - view                                          an event type is short for a step of that name
    - {name: tea, events: cart, where: {category: food/tea}, within_days: 2}
    - purchase
  window_days: 7
  exclusions: [{events: remove_from_cart, after: tea}]

Conditions are those of rules (``docs/tags-and-audiences.md``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from features.errors import ConfigError
from features.insight.funnels.steps import Exclusion, Step
from features.rules.conditions import FieldTest
from features.rules.known_fields import EVENT_FIELDS
from features.rules.parse import RuleParser
from features.rules.place import Place, event_types, mapping, only

_STEP_KEYS: Final = ("name", "events", "where", "within_days", "optional")
_EXCLUSION_KEYS: Final = ("events", "where", "after", "before")


def parse_listed(
    values: object, place: Place, parser: RuleParser, read: Callable[[Any, Place, RuleParser], Any]
) -> list[Any]:
    """Return what a list holds, each read."""
    if not isinstance(values, list):
        raise place.error("a list", values)
    return [read(one, place.at(n), parser) for n, one in enumerate(values)]


def parse_step(values: Any, place: Place, parser: RuleParser) -> Step:
    """Return a step; an event type is short for a step of that name."""
    keys = {"events": values} if isinstance(values, str) else mapping(values, place)
    only(keys, _STEP_KEYS, place)
    events = _events(keys, place)
    more = {key: keys[key] for key in ("within_days", "optional") if key in keys}
    return _made(
        Step, place, name=keys.get("name", events[0]), events=events, where=_where(keys, place, parser), **more
    )


def parse_exclusion(values: Any, place: Place, parser: RuleParser) -> Exclusion:
    """Return an exclusion; an event type is short for it, between the first and the last step."""
    keys = {"events": values} if isinstance(values, str) else mapping(values, place)
    only(keys, _EXCLUSION_KEYS, place)
    more = {key: keys[key] for key in ("after", "before") if key in keys}
    return _made(Exclusion, place, events=_events(keys, place), where=_where(keys, place, parser), **more)


def _events(keys: dict[str, Any], place: Place) -> tuple[str, ...]:
    if "events" not in keys:
        raise place.error("events", list(keys), " Say which event types it is.")
    return event_types(keys["events"], place.at("events"))


def _where(keys: dict[str, Any], place: Place, parser: RuleParser) -> tuple[FieldTest, ...]:
    return parser.fields(keys["where"], EVENT_FIELDS, place.at("where")) if keys.get("where") else ()


def _made(kind: Any, place: Place, **values: Any) -> Any:
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{place.file}.{error}") from None
