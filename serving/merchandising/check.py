"""What is wrong with rules that are each as the language has it: two for one place, one that never holds, unknown words."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from serving.merchandising.compiled import CompiledRule, CompiledRules
from serving.merchandising.rules import Ban, Boost, Filter, Pin, When


def problems_of(compiled: CompiledRules, *, now_us: int) -> list[str]:
    """Return what a merchandiser should mend, in the order of the file.

    Args:
        compiled: over the release that is served.
        now_us: the present.
    """
    rules = compiled.rules
    return [
        *compiled.problems,
        *(what for rule in rules for what in _of_one(rule, now_us)),
        *(what for one, other in combinations(rules, 2) for what in _of_two(one, other)),
    ]


def _of_one(rule: CompiledRule, now_us: int) -> Iterator[str]:
    name = f"rule {rule.rule.name!r}"
    if rule.until_us <= now_us:
        yield f"{name}: it never holds again, since {rule.rule.when.until} has passed; move the day, or take it out."
    if rule.customers is not None and len(rule.customers) and not rule.customers.any():
        yield f"{name}: it holds for none of the {len(rule.customers)} customers of the release; look at its conditions."
    effect, items = rule.rule.effect, rule.items
    if isinstance(effect, Filter | Ban | Boost) and items is not None and not items.any():
        yield f"{name}: it means no item of the release; all that is said of an item must hold of it at once."
    if isinstance(effect, Ban) and items is not None and items[2:].all():
        yield f"{name}: it bans every item of the release, and nothing could be shown; narrow it."


def _of_two(one: CompiledRule, other: CompiledRule) -> Iterator[str]:
    if not isinstance(one.rule.effect, Pin) or not isinstance(other.rule.effect, Pin) or not _may_meet(one, other):
        return
    both = f"rules {one.rule.name!r} and {other.rule.name!r}"
    items = {place: item for item, place in one.rule.effect.places.items()}
    for item, place in other.rule.effect.places.items():
        if item in one.rule.effect.places:
            yield f"{both}: expected one place for {item!r} where both hold, found two; the first rule wins."
        elif place in items:
            yield f"{both}: expected one item at place {place} where both hold, found {items[place]!r} and {item!r}."


def _may_meet(one: CompiledRule, other: CompiledRule) -> bool:
    """Whether two rules may hold at once for somebody."""
    if max(one.since_us, other.since_us) >= min(one.until_us, other.until_us):
        return False
    held = [rule.customers for rule in (one, other) if rule.customers is not None]
    if held and not np.logical_and.reduce(held).any():
        return False
    return _overlap(one.rule.when, other.rule.when)


def _overlap(one: When, other: When) -> bool:
    pairs = ((getattr(one, name), getattr(other, name)) for name in ("surfaces", "weekdays", "hours", "regions"))
    return all(not a or not b or set(a) & set(b) for a, b in pairs)
