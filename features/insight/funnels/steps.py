"""The steps of a funnel, and the events that may not fall between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from features.errors import ConfigError, did_you_mean
from features.insight.definitions import check_event_types
from features.rules.conditions import FieldTest
from features.rules.known_fields import EVENT_FIELDS


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step.

    Args:
        name: as tables and exclusions call it.
        events: types of the events that are it.
        where: what fields of the event or its item must be besides.
        within_days: at most so long after the required step before it; no limit of its own where left out.
        optional: whoever leaves it out may go on.
    """

    name: str
    events: tuple[str, ...]
    where: tuple[FieldTest, ...] = ()
    within_days: float | None = None
    optional: bool = False

    def __post_init__(self) -> None:
        place = f"steps.{self.name or '?'}"
        if not self.name or not isinstance(self.name, str):
            raise ConfigError(f"{place}: expected a name, found {self.name!r}.")
        _check_events(place, self.events, self.where)
        if self.within_days is not None:
            check_days(f"{place}.within_days", self.within_days)
        if not isinstance(self.optional, bool):
            raise ConfigError(f"{place}.optional: expected true or false, found {self.optional!r}.")


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """Events that end an attempt if they fall between two steps; what matches a step too is that step.

    Args:
        events: their types.
        where: what fields of the event or its item must be besides.
        after: name of the step from which on; the first where left out.
        before: name of the step up to which; the last where left out.
    """

    events: tuple[str, ...]
    where: tuple[FieldTest, ...] = ()
    after: str | None = None
    before: str | None = None

    def __post_init__(self) -> None:
        _check_events("exclusions", self.events, self.where)


def _check_events(place: str, events: tuple[str, ...], where: Sequence[FieldTest]) -> None:
    check_event_types(f"{place}.events", events)
    if not events:
        raise ConfigError(f"{place}.events: expected at least one event type, found none.")
    for test in where:
        if test.field not in EVENT_FIELDS:
            hint = did_you_mean(test.field, EVENT_FIELDS)
            raise ConfigError(f"{place}.where: expected a field of events or items, found {test.field!r}.{hint}")


def check_days(name: str, days: object) -> None:
    """Raise where a field's value is no positive number of days."""
    number = isinstance(days, int | float) and not isinstance(days, bool)
    if not number or not 0 < days < float("inf"):  # type: ignore[operator]
        raise ConfigError(f"{name}: expected a number of days above 0, found {days!r}.")
