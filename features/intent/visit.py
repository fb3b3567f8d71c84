"""A customer's visits, event by event: what is known at a moment inside one, in training and at a request alike.

10:00 view a                   counts: one view, one item
10:02 cart a                   one in the cart
10:05 (asked)           ->     views 1, cart 1, in_cart 1, seconds 300, silent_seconds 180, ...
10:06 purchase a               not looked at by the moment before
"""

from __future__ import annotations

from typing import Final

from features import columns as c
from features.tables.visits import VISIT_EVENTS

_SECOND_US: Final = 1_000_000
_DAY_US: Final = 86_400 * _SECOND_US
NEVER: Final = -1.0  # of a number of days: it did not happen before

# What is known at a moment, in this order. Counts are of the visit so far.
KNOWN: Final = (
    *VISIT_EVENTS,  # events of each type
    "items",  # distinct
    "categories",  # distinct
    "most_views",  # of one item
    "in_cart",  # distinct items put there in this visit
    "left_in_cart",  # distinct items from before this visit
    "seconds",  # since the visit began
    "silent_seconds",  # since the last event
    "hour",  # local, of the visit's first event
    "weekday",  # local, 1 Monday to 7, of the visit's first event
    "past_visits",
    "past_buying_visits",
    "days_since_purchase",  # at the visit's beginning, before this visit; NEVER without one
    "days_since_visit",  # at the visit's beginning; NEVER for a newcomer
)
_PLACE: Final = {name: place for place, name in enumerate(VISIT_EVENTS)}
LEAVES_CART: Final = (c.PURCHASE, c.REMOVE_FROM_CART)


class Visitor:
    """One customer, followed through time; events are added oldest first, of one instant those of ``LEAVES_CART`` last.

    A visit is events of ``VISIT_EVENTS`` without a longer pause than the gap, as ``features.tables.visits`` cuts a log
    without session ids: events that a running shop sends carry none. An event that is told twice counts once.

    Args:
        gap_us: a longer pause ends a visit, microseconds.
    """

    def __init__(self, gap_us: int) -> None:
        self._gap_us = gap_us
        self.start_us = self.last_us = -1  # of the visit; -1 before the first event
        self._past_visits = self._past_buying = 0
        self._before_us = self._bought_before_us = -1  # last event and last purchase before this visit
        self._bought_us = -1
        self._cart: dict[str, int] = {}  # item: when it was put there
        self._begin()

    def _begin(self) -> None:
        self._counts = [0] * len(VISIT_EVENTS)
        self._views: dict[str, int] = {}
        self._items: set[str] = set()
        self._categories: set[str] = set()
        self._now: set[tuple[str, str | None]] = set()  # what was told of the last instant

    def add(self, at_us: int, event_type: str, item_id: str | None, category: str | None) -> None:
        """Take in the next event; one that is no part of a visit changes nothing."""
        place = _PLACE.get(event_type)
        if place is None:
            return
        if at_us - self.last_us > self._gap_us or self.last_us < 0:
            self._end_visit(at_us)
        if at_us != self.last_us:
            self._now.clear()
        if (event_type, item_id) in self._now:
            return
        self._now.add((event_type, item_id))
        self.last_us = at_us
        self._counts[place] += 1
        if event_type == c.PURCHASE:
            self._bought_us = at_us
        if item_id is not None:
            self._add_item(at_us, event_type, item_id, category)

    def _add_item(self, at_us: int, event_type: str, item_id: str, category: str | None) -> None:
        self._items.add(item_id)
        if category:
            self._categories.add(category)
        if event_type == c.VIEW:
            self._views[item_id] = self._views.get(item_id, 0) + 1
        elif event_type == c.CART:
            self._cart[item_id] = at_us
        elif event_type in LEAVES_CART:
            self._cart.pop(item_id, None)

    def _end_visit(self, at_us: int) -> None:
        """Make the visit, where there was one, a past one, and begin another."""
        if self.last_us >= 0:
            self._past_visits += 1
            self._past_buying += self._counts[_PLACE[c.PURCHASE]] > 0
            self._before_us, self._bought_before_us = self.last_us, self._bought_us
        self.start_us = at_us
        self._begin()

    def known(self, now_us: int, *, hour: int, weekday: int) -> tuple[float, ...]:
        """Return what is known now, as ``KNOWN``.

        Args:
            now_us: not before the last event.
            hour: local hour of the visit's first event.
            weekday: its local weekday, 1 Monday to 7.
        """
        in_cart = sum(put_us >= self.start_us for put_us in self._cart.values())
        return (
            *self._counts,
            len(self._items),
            len(self._categories),
            max(self._views.values(), default=0),
            in_cart,
            len(self._cart) - in_cart,
            (now_us - self.start_us) / _SECOND_US,
            (now_us - self.last_us) / _SECOND_US,
            hour,
            weekday,
            self._past_visits,
            self._past_buying,
            self._days_since(self._bought_before_us),
            self._days_since(self._before_us),
        )

    def _days_since(self, at_us: int) -> float:
        return NEVER if at_us < 0 else (self.start_us - at_us) / _DAY_US
