"""Rules applied the slow, obvious way, item by item, to a whole ranking."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from features.surfaces import DAY_US
from serving.merchandising.rules import Ban, Boost, Cap, Diversity, Filter, Freshness, ItemMatch, Pin, Rule
from tests.serving.tiny_release import AS_OF_US, TinyRelease


def means(tiny: TinyRelease, match: ItemMatch, item: str) -> bool:
    code = tiny.vocabulary.code_of(item)
    category, price, created = tiny.catalog.category[code], tiny.catalog.price[code], tiny.catalog.created_at_us[code]
    return (
        (not match.items or item in match.items)
        and (not match.category or any(f"{category}/".startswith(f"{path}/") for path in match.category))
        and (not match.brand or tiny.catalog.brand[code] in match.brand)
        and (match.min_price is None or price >= match.min_price * 100)
        and (match.max_price is None or 0 <= price <= match.max_price * 100)
        and (match.max_age_days is None or AS_OF_US - created <= match.max_age_days * DAY_US)
    )


def may_stay(tiny: TinyRelease, rules: Sequence[Rule], out: set[str], item: str) -> bool:
    if item in out:
        return False
    for effect in (rule.effect for rule in rules):
        if isinstance(effect, Ban) and means(tiny, effect.items, item):
            return False
        if isinstance(effect, Filter) and not means(tiny, effect.items, item):
            return False
    return True


def pinned(rules: Sequence[Rule], known: set[str]) -> dict[int, str]:
    found: dict[int, str] = {}
    for effect in (rule.effect for rule in rules):
        if isinstance(effect, Pin):
            for item, place in effect.places.items():
                if item in known and item not in found.values():
                    at = place - 1
                    while at in found:
                        at += 1
                    found[at] = item
    return found


def keys(tiny: TinyRelease, rules: Sequence[Rule], items: Sequence[str]) -> list[float]:
    found = []
    for place, item in enumerate(items):
        shift = 0.0
        for effect in (rule.effect for rule in rules):
            if isinstance(effect, Boost) and means(tiny, effect.items, item):
                shift += effect.by
        for effect in (rule.effect for rule in rules):
            if isinstance(effect, Freshness):
                age = (AS_OF_US - tiny.catalog.created_at_us[tiny.vocabulary.code_of(item)]) / DAY_US
                shift += effect.by * float(np.exp2(-max(age, 0) / effect.half_life_days))
        found.append(place / len(items) - shift)
    return found


def spread(tiny: TinyRelease, items: list[str], strength: float, num: int) -> list[str]:
    vectors = tiny.vectors[[tiny.vocabulary.code_of(item) for item in items]]
    alike = vectors @ vectors.T * np.float32(strength)
    fit = ((1 - strength) * (1 - np.arange(len(items)) / len(items))).astype(np.float32)
    chosen: list[int] = []
    while len(chosen) < min(num, len(items)):
        left = [row for row in range(len(items)) if row not in chosen]
        common = [max([np.float32(-strength), *(alike[one, row] for one in chosen)]) for row in left]
        worth = [fit[row] - held for row, held in zip(left, common, strict=True)]
        chosen.append(left[int(np.argmax(worth))])
    return [items[row] for row in chosen] + [item for row, item in enumerate(items) if row not in chosen]


def group(tiny: TinyRelease, cap: Cap, item: str) -> str:
    code = tiny.vocabulary.code_of(item)
    if cap.of == "brand":
        return str(tiny.catalog.brand[code])
    path = tiny.catalog.category[code].split("/")
    return "/".join(path[: cap.level] if cap.level else path)


def shown(tiny: TinyRelease, ranking: Sequence[str], rules: Sequence[Rule], *, k: int, out: set[str]) -> list[str]:
    """Return the list of a whole ranking under rules that all hold."""
    left = [item for item in ranking if may_stay(tiny, rules, out, item)]
    pins = pinned(rules, set(left))
    free = [item for item in left if item not in pins.values()]
    by_key = keys(tiny, rules, free)
    free = [free[row] for row in sorted(range(len(free)), key=lambda row: by_key[row])]
    caps = [rule.effect for rule in rules if isinstance(rule.effect, Cap)]
    strength = next((rule.effect.strength for rule in rules if isinstance(rule.effect, Diversity)), 0.0)
    if strength and len(free) > 1:
        free = spread(tiny, free, strength, 2 * k if caps else k)
    return laid_out(tiny, free, pins, caps, k)


def laid_out(tiny: TinyRelease, free: list[str], pins: dict[int, str], caps: list[Cap], k: int) -> list[str]:
    """Go through the places; ``found`` holds pinned items where they will stand if nothing moves them up."""
    found: dict[int, str] = {place: item for place, item in pins.items() if place < k}
    beyond = [pins[place] for place in sorted(pins) if place >= k]
    for place in range(k):
        if place in found:
            continue
        fitting = [item for item in free if all(_fits(tiny, cap, item, place, found) for cap in caps)]
        later = sorted(at for at in found if at > place)
        if fitting:
            found[place] = fitting[0]
            free = [item for item in free if item != fitting[0]]
        elif later:
            found[place] = found.pop(later[0])
        elif beyond:
            found[place] = beyond.pop(0)
        else:
            break
    return [found[place] for place in sorted(found)]


def _fits(tiny: TinyRelease, cap: Cap, item: str, place: int, found: dict[int, str]) -> bool:
    first = cap.first or 10**9
    if place >= first or not group(tiny, cap, item):
        return True
    same = [one for at, one in found.items() if at < first and group(tiny, cap, one) == group(tiny, cap, item)]
    return len(same) < cap.most
