"""What a history says of each item in it: how often it was bought, how regularly, how long ago, and what was looked at.

U users, N events, P pairs of a user and an item that the user has met.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features import columns as c
from features.sequences import Sequences

DAY_US: Final = 86_400_000_000
# An occasion this many shopping days ago counts 1/e as much as one today; short and long habits, apart by a factor of 5.
FADE_TRIPS: Final = (4.0, 20.0, 100.0)

_PURCHASE: Final = c.EVENT_TYPE_CODES[c.PURCHASE]
_CART: Final = c.EVENT_TYPE_CODES[c.CART]
_FAVORITE: Final = c.EVENT_TYPE_CODES[c.FAVORITE]

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class PairEvidence:
    """One row a pair, by user and then item; days count from ``now``.

    An occasion is a day (UTC) on which the user bought the item, however many units; a trip is a day on which the
    user bought anything.

    Args:
        num_users: U.
        user: int64 ``[P]``, rising.
        item: item codes ``[P]``, rising within a user.
        occasions: ``[P]``, 0 where the item was met and never bought.
        since_last, since_first: days since the last and the first occasion; 0 without one.
        trips: of the user.
        trips_since_last, trips_since_first: the user's trips after the last and the first occasion.
        faded: occasions, one ``t`` trips ago as ``exp(-t / fade)``, ``[P, len(FADE_TRIPS)]``.
        num_gaps, sum_log_gap: gaps between the pair's occasions, and the sum of their natural logarithms in days.
        views, intents: events since the last occasion that were not purchases; carts and favourites apart.
        since_met: days since any event with the item.
        occasion_pair, occasion_age, occasion_gap: one row an occasion, by pair, oldest first: its pair, how many days
            ago it was, and days since the one before it (0 for the first), ``[O]``.
    """

    num_users: int
    user: Ints
    item: Ints
    occasions: Ints
    since_last: Floats
    since_first: Floats
    trips: Ints
    trips_since_last: Ints
    trips_since_first: Ints
    faded: Floats
    num_gaps: Ints
    sum_log_gap: Floats
    views: Ints
    intents: Ints
    since_met: Floats
    occasion_pair: Ints
    occasion_age: Floats
    occasion_gap: Floats

    @classmethod
    def of(cls, history: Sequences, *, now_us: int | Ints, all_are_purchases: bool = False) -> PairEvidence:
        """Read histories as of an instant; what is not before it does not count.

        Args:
            history: events of U users. Without instants (all 0), each event is a trip and a day of its own.
            now_us: the instant, UTC microseconds, of all users or of each ``[U]``.
            all_are_purchases: the log has no purchases, so that every event stands for one.
        """
        clock = _Clock.of(history, now_us)
        events = clock.events
        bought = np.ones(events.num_events, bool) if all_are_purchases else events.event_type == _PURCHASE
        user = events.user_of_event
        trip, trips = _trips(user, clock.day, bought, events.num_users)
        stride = 1 + int(events.item.max(initial=0))
        order = np.argsort(user * stride + events.item, kind="stable")  # by pair, each oldest first
        sorted_events = _SortedEvents(
            key=(user * stride + events.item)[order],
            day=clock.day[order],
            age=clock.age[order],
            trip=trip[order],
            bought=bought[order],
            intent=((events.event_type == _CART) | (events.event_type == _FAVORITE))[order],  # quicker than isin
        )
        return sorted_events.evidence(stride=stride, trips=trips)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Clock:
    """Events before now, with the day each was on and how many days ago that is."""

    events: Sequences
    day: Ints
    age: Floats

    @classmethod
    def of(cls, history: Sequences, now_us: int | Ints) -> _Clock:
        if not history.ts.any():
            position = np.arange(history.num_events) - np.repeat(history.offsets[:-1], history.lengths)
            left = np.repeat(history.lengths, history.lengths) - position
            return cls(events=history, day=position, age=left.astype(np.float64))
        now = np.broadcast_to(np.asarray(now_us, np.int64), history.num_users)
        before = history.ts < np.repeat(now, history.lengths)
        events = history if before.all() else history.where(before)
        age = (np.repeat(now, events.lengths) - events.ts) / DAY_US
        return cls(events=events, day=events.ts // DAY_US, age=age)


@dataclass(frozen=True, kw_only=True, eq=False)
class _SortedEvents:
    """Events by pair, oldest first."""

    key: Ints
    day: Ints
    age: Floats
    trip: Ints
    bought: Bools
    intent: Bools

    def evidence(self, *, stride: int, trips: Ints) -> PairEvidence:
        starts = np.flatnonzero(_changes(self.key))
        num_pairs = len(starts)
        pair = np.cumsum(_changes(self.key)) - 1  # of each event
        user, item = np.divmod(self.key[starts], stride)
        place = _occasions(pair, self)
        own, age = pair[place], self.age[place]
        back = trips[user[own]] - self.trip[place]  # trips since
        count = np.bincount(own, minlength=num_pairs)
        gap = np.where(_changes(own), 0, np.diff(self.day[place], prepend=0)).astype(np.float64)
        log_gap = np.log(np.maximum(gap, 1.0))
        first, last = np.cumsum(count) - count, np.cumsum(count) - 1
        held = count > 0
        since_last = _at(age, last, held)
        open_ = ~self.bought & (self.age < np.where(held, since_last, np.inf)[pair])  # after the last occasion
        stops = np.append(starts, len(self.key))[1:] - 1
        return PairEvidence(
            num_users=len(trips),
            user=user,
            item=item,
            occasions=count,
            since_last=since_last,
            since_first=_at(age, first, held),
            trips=trips[user],
            trips_since_last=_at(back, last, held),
            trips_since_first=_at(back, first, held),
            faded=np.stack([summed(own, np.exp(-back / fade), num_pairs) for fade in FADE_TRIPS], axis=1),
            num_gaps=np.maximum(count - 1, 0),
            sum_log_gap=summed(own, log_gap, num_pairs),
            views=summed(pair, open_ & ~self.intent, num_pairs).astype(np.int64),
            intents=summed(pair, open_ & self.intent, num_pairs).astype(np.int64),
            since_met=self.age[stops],
            occasion_pair=own,
            occasion_age=age,
            occasion_gap=gap,
        )


def summed(index: Ints, weights: npt.NDArray[Any], size: int) -> Floats:
    """Return the sum of the weights at each index, float64 ``[size]``."""
    return np.bincount(index, weights, size).astype(np.float64, copy=False)


def _trips(user: Ints, day: Ints, bought: Bools, num_users: int) -> tuple[Ints, Ints]:
    """Return how many trips of its user each event comes after, its own included, and the trips of each user."""
    place = np.flatnonzero(bought)
    fresh = _changes(user[place]) | _changes(day[place])
    trips = summed(user[place], fresh, num_users).astype(np.int64)
    counted = np.zeros(len(user), np.int64)
    counted[place] = fresh
    before = np.cumsum(trips) - trips
    return np.cumsum(counted) - before[user], trips


def _occasions(pair: Ints, events: _SortedEvents) -> Ints:
    """Return the place of the last purchase of each pair and day."""
    place = np.flatnonzero(events.bought)
    fresh = _changes(pair[place]) | _changes(events.day[place])
    return place[np.append(fresh[1:], True)] if len(place) else place


def _changes(values: Ints) -> Bools:
    """Return whether each value differs from the one before it; the first does."""
    changed = np.ones(len(values), bool)
    changed[1:] = values[1:] != values[:-1]
    return changed


def _at(values: npt.NDArray[Any], place: Ints, held: Bools) -> npt.NDArray[Any]:
    """Return the values at the places that are held, 0 elsewhere."""
    found = np.zeros(len(place), values.dtype)
    found[held] = values[place[held]]
    return found
