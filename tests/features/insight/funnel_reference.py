"""Funnels the slow way: every chain of events is tried, and the best is kept."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from features.insight.funnels.definition import SHOP_EVENTS, FunnelDefinition, covers
from features.insight.funnels.steps import Exclusion, Step
from features.rules.conditions import DAY_US

LETTERS = {
    "A": "view", "B": "cart", "C": "checkout", "D": "purchase", "X": "remove_from_cart", "S": "search", "I": "impression",
}  # fmt: skip


@dataclass(frozen=True)
class Event:
    """One event of one unit; lists of them are in the order of their ids."""

    kind: str
    at_us: int


@dataclass(frozen=True)
class Best:
    """The best attempt: when each step was reached, ``None`` where it was not."""

    times: tuple[int | None, ...]
    excluded: bool

    @property
    def deepest(self) -> int:
        return max(n for n, at in enumerate(self.times, start=1) if at is not None)


def best_attempt(events: Sequence[Event], definition: FunnelDefinition) -> Best | None:
    """The best attempt of one unit, or nothing where it never entered."""
    find = {"ordered": _ordered, "strict": _strict, "any": _any}[definition.mode]
    return find(sorted(events, key=lambda event: (event.at_us, _place(event, definition))), definition)


def _place(event: Event, definition: FunnelDefinition) -> int:
    """Of one instant, events come in the order of the steps, what is none last."""
    return min((n for n, step in enumerate(definition.steps) if _is(event, step)), default=len(definition.steps))


def _is(event: Event, one: Step | Exclusion) -> bool:
    return event.kind in one.events


def _ordered(events: list[Event], definition: FunnelDefinition) -> Best | None:
    chains = list(_chains(events, definition, ()))
    if not chains:
        return None
    chain = min(chains, key=lambda one: (-len(one), one[-1], -one[0], one))
    return _with_optional(events, definition, chain)


def _chains(events: list[Event], definition: FunnelDefinition, chain: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """All ways to go through the required steps, as positions of events."""
    if chain:
        yield chain
    if len(chain) == len(definition.required):
        return
    step = definition.steps[definition.required[len(chain)]]
    for place in range(chain[-1] + 1 if chain else 0, len(events)):
        if _is(events[place], step) and (not chain or _may_follow(events, definition, chain, place)):
            yield from _chains(events, definition, (*chain, place))


def _may_follow(events: list[Event], definition: FunnelDefinition, chain: tuple[int, ...], place: int) -> bool:
    frm, to = definition.required[len(chain) - 1], definition.required[len(chain)]
    in_window = events[place].at_us - events[chain[0]].at_us <= definition.window_us
    in_time = _soon(events[chain[-1]], events[place], definition.steps[to])
    between = events[chain[-1] + 1 : place]
    return in_window and in_time and not any(_ends(event, definition, frm, to) for event in between)


def _soon(earlier: Event, later: Event, step: Step) -> bool:
    return step.within_days is None or later.at_us - earlier.at_us <= round(step.within_days * DAY_US)


def _ends(event: Event, definition: FunnelDefinition, frm: int, to: int) -> bool:
    if any(_is(event, step) for step in definition.steps):
        return False
    return any(_is(event, x) and covers(definition, x, frm=frm, to=to) for x in definition.exclusions)


def _with_optional(events: list[Event], definition: FunnelDefinition, chain: tuple[int, ...]) -> Best:
    found: list[int | None] = [None] * len(definition.steps)
    last = 0
    for position, step in enumerate(definition.steps):
        number = sum(1 for at in definition.required if at <= position)
        if number > len(chain):
            break
        if not step.optional:
            last = found[position] = chain[number - 1]
            continue
        stop = chain[number] if number < len(chain) else len(events)
        for place in range(last + 1, stop):
            since = chain[number - 1]
            frm = definition.base[position]
            ended = any(_ends(event, definition, frm, position) for event in events[since + 1 : place])
            in_window = events[place].at_us - events[chain[0]].at_us <= definition.window_us
            if _is(events[place], step) and in_window and not ended and _soon(events[since], events[place], step):
                last = found[position] = place
                break
    times = tuple(None if place is None else events[place].at_us for place in found)
    return Best(times=times, excluded=_was_excluded(events, definition, chain))


def _was_excluded(events: list[Event], definition: FunnelDefinition, chain: tuple[int, ...]) -> bool:
    if len(chain) == len(definition.required):
        return False
    frm, to = definition.required[len(chain) - 1], definition.required[len(chain)]
    rest = [event for event in events[chain[-1] + 1 :] if event.at_us - events[chain[0]].at_us <= definition.window_us]
    return any(_ends(event, definition, frm, to) for event in rest)


def _strict(events: list[Event], definition: FunnelDefinition) -> Best | None:
    done = [event for event in events if event.kind not in SHOP_EVENTS or event.kind in definition.event_types]
    chains = [
        chain
        for length in range(1, len(definition.steps) + 1)
        for begin in range(len(done) - length + 1)
        if _fits(chain := done[begin : begin + length], definition)
    ]
    if not chains:
        return None
    deepest = [chain for chain in chains if len(chain) == max(map(len, chains))]  # in order of their ends
    times = [event.at_us for event in deepest[0]]
    return Best(times=(*times, *[None] * (len(definition.steps) - len(times))), excluded=False)


def _fits(chain: list[Event], definition: FunnelDefinition) -> bool:
    steps = definition.steps[: len(chain)]
    each = all(_is(event, step) for event, step in zip(chain, steps, strict=True))
    soon = all(_soon(a, b, step) for a, b, step in zip(chain, chain[1:], steps[1:], strict=False))
    return each and soon and chain[-1].at_us - chain[0].at_us <= definition.window_us


def _any(events: list[Event], definition: FunnelDefinition) -> Best | None:
    step_of = [next((n for n, step in enumerate(definition.steps) if _is(event, step)), None) for event in events]
    places = [place for place, step in enumerate(step_of) if step is not None]
    best = None
    for length in range(1, len(definition.steps) + 1):
        for chain in itertools.combinations(places, length):
            in_window = events[chain[-1]].at_us - events[chain[0]].at_us <= definition.window_us
            if in_window and len({step_of[place] for place in chain}) == length:
                at = [events[place].at_us for place in chain]  # of equal instants, none is first
                key = (-length, chain[-1], -at[0], at)
                best = key if best is None else min(best, key)
    if best is None:
        return None
    times = best[-1]
    return Best(times=(*times, *[None] * (len(definition.steps) - len(times))), excluded=False)
