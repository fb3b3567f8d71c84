"""The same conditions over the last events of one customer, in plain Python: fast enough for a request.

Equal to ``features.rules.compile`` over the same events (a test holds them so). A condition whose window reaches
further back than the events given is as right as the events let it be.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from features import columns as c
from features.rules.comparisons import value_passes
from features.rules.conditions import (
    DAY_US,
    HOUR_US,
    AllOf,
    AnyOf,
    ColumnTest,
    Condition,
    EventTest,
    FieldTest,
    Leaf,
    Not,
    OpenTest,
    OrderTest,
    negations_inside,
)
from features.rules.known_fields import EVENT_FIELDS, ORDER_FIELDS, Nature
from features.rules.parse import SHARE_PARTS
from features.rules.spells import FOREVER

Span = tuple[int, int]  # from, until


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveEvent:
    """One event of the customer.

    Args:
        event_type: of the contract.
        at_us: UTC microseconds.
        local_day: in the shop's zone.
        fields: what is known of ``EVENT_FIELDS``, the item's included.
    """

    event_type: str
    at_us: int
    local_day: dt.date
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def order_key(self) -> str:
        """The order; a day's purchases where that is unknown."""
        return self.fields.get(c.ORDER_ID) or f"day {self.local_day.toordinal()}"

    @property
    def units(self) -> int:
        """Units; one where unknown."""
        found = self.fields.get(c.QUANTITY)
        return 1 if found is None else found

    @property
    def amount(self) -> int:
        """Minor units; nothing where the price is unknown."""
        return self.units * (self.fields.get(c.PRICE) or 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Added:
    """What one event adds to a level, and for how long."""

    weight: int
    start: int
    end: int
    thing: str = ""


@dataclass(frozen=True, kw_only=True)
class LiveCustomer:
    """What is known of one customer at an instant.

    Args:
        events: in any order; later ones than ``as_of_us`` do not count.
        profile: the customer table's columns; a missing one is missing.
        as_of_us: the instant, UTC microseconds.
        as_of: its local day.
        natures: of the columns.
    """

    events: Sequence[LiveEvent]
    profile: Mapping[str, Any]
    as_of_us: int
    as_of: dt.date
    natures: Mapping[str, Nature | None] | None = None

    def holding(self, condition: Condition) -> Span | None:
        """Return since when and until when the condition holds; nothing where it does not hold now."""
        known = [event for event in self.events if event.at_us <= self.as_of_us]
        if not known:
            return None
        spans = self._of(negations_inside(condition), known, min(event.at_us for event in known))
        return next((span for span in spans if span[0] <= self.as_of_us < span[1]), None)

    def by_item(self, condition: Condition) -> dict[str, Span]:
        """Return the same for each item that the customer met, of the item's events alone."""
        events: dict[str, list[LiveEvent]] = defaultdict(list)
        for event in self.events:
            if event.fields.get(c.ITEM_ID) is not None:
                events[event.fields[c.ITEM_ID]].append(event)
        found = {
            item: dataclasses.replace(self, events=events_of).holding(condition) for item, events_of in events.items()
        }
        return {item: span for item, span in found.items() if span is not None}

    def _of(self, condition: Condition, events: Sequence[LiveEvent], begin: int) -> list[Span]:
        if isinstance(condition, AllOf | AnyOf):
            parts = [self._of(part, events, begin) for part in condition.parts]
            changes = [(span[side], 1 - 2 * side) for part in parts for span in part for side in (0, 1)]
            return _spells(changes, low=len(parts) if isinstance(condition, AllOf) else 1)
        if isinstance(condition, Not):
            assert not isinstance(condition.part, AllOf | AnyOf | Not)
            return self._of_leaf(condition.part, events, begin, negated=True)
        return self._of_leaf(condition, events, begin, negated=False)

    def _of_leaf(self, leaf: Leaf, events: Sequence[LiveEvent], begin: int, *, negated: bool) -> list[Span]:
        if isinstance(leaf, ColumnTest):
            nature, value = (self.natures or {}).get(leaf.column), self.profile.get(leaf.column)
            passed = all(value_passes(value, test, nature, as_of=self.as_of) for test in leaf.tests)
            return [(self.as_of_us, FOREVER)] if passed != negated else []
        found = _of_level(leaf, events, begin)
        if not negated:
            return found
        return _spells([(begin, 1), *((span[side], 2 * side - 1) for span in found for side in (0, 1))], low=1)


def _of_level(leaf: EventTest | OpenTest | OrderTest, events: Sequence[LiveEvent], begin: int) -> list[Span]:
    changes = _level_changes(leaf, events)
    if not leaf.at_least:
        changes.append((begin, 0))
    found = _spells(changes, low=leaf.at_least, high=leaf.at_most)
    if not isinstance(leaf, EventTest) or leaf.share_at_least is None:
        return found
    shares = [
        _from(event, leaf.within_days, weight=passes_where(event, leaf.where) * SHARE_PARTS - leaf.share_at_least)
        for event in events
        if event.event_type in leaf.events
    ]
    parts = (found, _spells(_changes(shares), low=0))
    return _spells([(span[side], 1 - 2 * side) for part in parts for span in part for side in (0, 1)], low=2)


def _level_changes(leaf: EventTest | OpenTest | OrderTest, events: Sequence[LiveEvent]) -> list[tuple[int, int]]:
    if isinstance(leaf, OpenTest):
        return _changes(_open(leaf, events))
    if isinstance(leaf, OrderTest):
        return _changes(_orders(leaf, events))
    added = list(_counted(leaf, events))
    if not leaf.distinct:
        return _changes(added)
    things = {one.thing for one in added}
    spans = [span for thing in things for span in _spells(_changes(a for a in added if a.thing == thing), low=1)]
    return [(span[side], 1 - 2 * side) for span in spans for side in (0, 1)]


def _counted(leaf: EventTest, events: Iterable[LiveEvent]) -> Iterable[_Added]:
    for event in events:
        if event.event_type in leaf.events and passes_where(event, leaf.where):
            thing = _thing(event, leaf.distinct) if leaf.distinct else ""
            if thing is not None:
                weight = getattr(event, leaf.sum_of) if leaf.sum_of else 1
                yield _from(event, leaf.within_days, weight=weight, thing=thing)


def _orders(leaf: OrderTest, events: Iterable[LiveEvent]) -> Iterable[_Added]:
    orders: dict[str, list[LiveEvent]] = defaultdict(list)
    for event in events:
        if event.event_type == c.PURCHASE:
            orders[event.order_key].append(event)
    for lines in orders.values():
        sizes = {"amount": sum(x.amount for x in lines), "units": sum(x.units for x in lines), "lines": len(lines)}
        if all(value_passes(sizes[f.field], test, ORDER_FIELDS[f.field]) for f in leaf.tests for test in f.tests):
            yield _from(max(lines, key=lambda line: line.at_us), leaf.within_days, weight=1)


def _open(leaf: OpenTest, events: Sequence[LiveEvent]) -> Iterable[_Added]:
    for event in events:
        key = _same(event, leaf)
        if event.event_type not in leaf.events or key is None or not passes_where(event, leaf.where):
            continue
        answers = (
            other.at_us
            for other in events
            if other.event_type in leaf.not_followed_by and _same(other, leaf) == key and _is_behind(other, event, leaf)
        )
        latest = FOREVER if leaf.within_days is None else event.at_us + round(leaf.within_days * DAY_US)
        end = min(latest, min(answers, default=FOREVER))
        start = event.at_us + round(leaf.for_hours * HOUR_US)
        if end > start:
            yield _Added(weight=1, start=start, end=end)


def _is_behind(other: LiveEvent, event: LiveEvent, leaf: OpenTest) -> bool:
    is_own_kind = event.event_type in leaf.not_followed_by
    return other.at_us > event.at_us if is_own_kind else other.at_us >= event.at_us


def _same(event: LiveEvent, leaf: OpenTest) -> str | None:
    if leaf.of_same is None:
        return ""
    return event.order_key if leaf.of_same == "order" else event.fields.get(f"{leaf.of_same}_id")


def _thing(event: LiveEvent, distinct: str) -> str | None:
    if distinct == "day":
        return str(event.local_day)
    if distinct == "order":
        return event.order_key
    if distinct == "category":
        category = event.fields.get(c.CATEGORY)
        return None if category is None else category.split("/")[0]
    return event.fields.get({"item": c.ITEM_ID, "session": c.SESSION_ID, "brand": c.BRAND}[distinct])


def passes_where(event: LiveEvent, where: Iterable[FieldTest]) -> bool:
    """Return whether all comparisons of an event's fields pass."""
    return all(
        value_passes(event.fields.get(one.field), test, EVENT_FIELDS[one.field]) for one in where for test in one.tests
    )


def _from(event: LiveEvent, within_days: float | None, *, weight: int, thing: str = "") -> _Added:
    end = FOREVER if within_days is None else event.at_us + round(within_days * DAY_US)
    return _Added(weight=weight, start=event.at_us, end=end, thing=thing)


def _changes(added: Iterable[_Added]) -> list[tuple[int, int]]:
    return [change for one in added for change in ((one.start, one.weight), (one.end, -one.weight))]


def _spells(changes: Iterable[tuple[int, int]], *, low: int | None, high: int | None = None) -> list[Span]:
    """Return the spans in which the level lies from ``low`` to ``high``, as ``features.rules.spells.spells`` does."""
    steps: dict[int, int] = defaultdict(int)
    for at, change in changes:
        steps[at] += change
    spans: list[Span] = []
    level, since = 0, None
    for at in sorted(at for at in steps if at < FOREVER):
        level += steps[at]
        holds = (low is None or level >= low) and (high is None or level <= high)
        if holds and since is None:
            since = at
        elif not holds and since is not None:
            spans.append((since, at))
            since = None
    return spans if since is None else [*spans, (since, FOREVER)]
