"""What a rule means, worked from the definition at one instant: no windows swept, no spells kept."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from features.rules.conditions import (
    DAY_US,
    HOUR_US,
    AllOf,
    AnyOf,
    ColumnTest,
    Condition,
    EventTest,
    FieldTest,
    Not,
    OpenTest,
    OrderTest,
    leaves,
)

Event = Mapping[str, Any]  # event_type, at_us, local_day, and fields
FOREVER = None


def holds_at(  # noqa: PLR0911 (one kind of condition each)
    condition: Condition, events: Sequence[Event], profile: Mapping[str, Any], t: int, as_of_us: int
) -> bool:
    """Whether the condition is true at instant ``t`` of what happened up to ``as_of_us``."""
    if isinstance(condition, AllOf):
        return all(holds_at(part, events, profile, t, as_of_us) for part in condition.parts)
    if isinstance(condition, AnyOf):
        return any(holds_at(part, events, profile, t, as_of_us) for part in condition.parts)
    if isinstance(condition, Not):
        # What is known of a column holds from as_of on, either way.
        if isinstance(condition.part, ColumnTest) and t < as_of_us:
            return False
        if isinstance(condition.part, AllOf | AnyOf):
            kind = AnyOf if isinstance(condition.part, AllOf) else AllOf
            inner = kind(parts=tuple(Not(part=part) for part in condition.part.parts))
            return holds_at(inner, events, profile, t, as_of_us)
        if isinstance(condition.part, Not):
            return holds_at(condition.part.part, events, profile, t, as_of_us)
        return not holds_at(condition.part, events, profile, t, as_of_us)
    if isinstance(condition, ColumnTest):
        return t >= as_of_us and all(
            passes(profile.get(condition.column), x.operator, x.value) for x in condition.tests
        )
    level = {EventTest: count_of, OpenTest: open_of, OrderTest: orders_of}[type(condition)](condition, events, t)
    enough = (condition.at_least is None or level >= condition.at_least) and (
        condition.at_most is None or level <= condition.at_most
    )
    return enough and share_is_enough(condition, events, t)


def in_window(at_us: int, within_days: float | None, t: int) -> bool:
    return at_us <= t and (within_days is None or t < at_us + round(within_days * DAY_US))


def count_of(leaf: EventTest, events: Sequence[Event], t: int) -> int:
    found = [
        e for e in events
        if e["event_type"] in leaf.events and in_window(e["at_us"], leaf.within_days, t) and where(leaf.where, e)
    ]  # fmt: skip
    if leaf.distinct:
        things = {
            "item": lambda e: e.get("item_id"), "session": lambda e: e.get("session_id"), "brand": lambda e: e.get("brand"),
            "day": lambda e: e["local_day"], "order": order_of,
            "category": lambda e: e["category"].split("/")[0] if e.get("category") is not None else None,
        }[leaf.distinct]  # fmt: skip
        return len({things(e) for e in found} - {None})
    if leaf.sum_of == "amount":
        return sum(amount(e) for e in found)
    return sum(units(e) for e in found) if leaf.sum_of == "units" else len(found)


def share_is_enough(leaf: Any, events: Sequence[Event], t: int) -> bool:
    if not isinstance(leaf, EventTest) or leaf.share_at_least is None:
        return True
    every = [e for e in events if e["event_type"] in leaf.events and in_window(e["at_us"], leaf.within_days, t)]
    return sum(where(leaf.where, e) for e in every) * 10_000 >= leaf.share_at_least * len(every) and bool(
        [e for e in events if e["event_type"] in leaf.events and e["at_us"] <= t]
    )


def orders_of(leaf: OrderTest, events: Sequence[Event], t: int) -> int:
    lines: dict[Any, list[Event]] = {}
    for e in events:
        if e["event_type"] == "purchase":
            lines.setdefault(order_of(e), []).append(e)
    count = 0
    for of_order in lines.values():
        sizes = {"amount": sum(map(amount, of_order)), "units": sum(map(units, of_order)), "lines": len(of_order)}
        fits = where(leaf.tests, sizes)
        count += fits and in_window(max(e["at_us"] for e in of_order), leaf.within_days, t)
    return count


def open_of(leaf: OpenTest, events: Sequence[Event], t: int) -> int:
    count = 0
    for e in events:
        if e["event_type"] not in leaf.events or not where(leaf.where, e) or same_of(e, leaf) is None:
            continue
        behind = [
            o["at_us"] for o in events
            if o["event_type"] in leaf.not_followed_by and same_of(o, leaf) == same_of(e, leaf)
            and (o["at_us"] > e["at_us"] or (o["at_us"] == e["at_us"] and e["event_type"] not in leaf.not_followed_by))
        ]  # fmt: skip
        waited = t >= e["at_us"] + round(leaf.for_hours * HOUR_US)
        fresh = leaf.within_days is None or t < e["at_us"] + round(leaf.within_days * DAY_US)
        count += waited and fresh and not any(at <= t for at in behind)
    return count


def same_of(e: Event, leaf: OpenTest) -> Any:
    if leaf.of_same is None:
        return "any"
    return {"item": e.get("item_id"), "session": e.get("session_id"), "order": order_of(e)}[leaf.of_same]


def where(tests: Sequence[FieldTest], e: Mapping[str, Any]) -> bool:
    return all(passes(e.get(f.field), x.operator, x.value, path=f.field == "category") for f in tests for x in f.tests)


def passes(value: Any, operator: str, wanted: Any, *, path: bool = False) -> bool:
    def equal(one: Any) -> bool:
        return value is not None and (value == one or (path and value.startswith(f"{one}/")))

    return {
        "is": lambda: equal(wanted),
        "is_not": lambda: not equal(wanted),
        "one_of": lambda: any(equal(one) for one in wanted),
        "none_of": lambda: not any(equal(one) for one in wanted),
        "missing": lambda: (value is None) == wanted,
        "at_least": lambda: value is not None and value >= wanted,
        "at_most": lambda: value is not None and value <= wanted,
        "above": lambda: value is not None and value > wanted,
        "below": lambda: value is not None and value < wanted,
        "contains": lambda: value is not None and wanted in value.split("|"),
    }[operator]()


def units(e: Event) -> int:
    return 1 if e.get("quantity") is None else e["quantity"]


def amount(e: Event) -> int:
    return units(e) * (e.get("price") or 0)


def order_of(e: Event) -> Any:
    return e.get("order_id") or e["local_day"]


def holding(
    condition: Condition, events: Sequence[Event], profile: Mapping[str, Any], as_of_us: int
) -> tuple[int, int | None] | None:
    """Since when and until when (nothing: for ever) it holds; nothing at all where it does not hold now."""
    known = [e for e in events if e["at_us"] <= as_of_us]
    if not known or not holds_at(condition, known, profile, as_of_us, as_of_us):
        return None
    turns = {as_of_us, min(e["at_us"] for e in known)}
    for leaf in leaves(condition):
        lengths = [0]
        if getattr(leaf, "within_days", None) is not None:
            lengths.append(round(leaf.within_days * DAY_US))
        lengths.append(round(getattr(leaf, "for_hours", 0) * HOUR_US))
        turns |= {e["at_us"] + length for e in known for length in lengths}
    since = as_of_us
    for t in sorted((t for t in turns if min(e["at_us"] for e in known) <= t <= as_of_us), reverse=True):
        if not holds_at(condition, known, profile, t, as_of_us):
            break
        since = t
    after = sorted(t for t in turns if t > as_of_us)
    return since, next((t for t in after if not holds_at(condition, known, profile, t, as_of_us)), FOREVER)


def day_of(at_us: int) -> dt.date:
    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=at_us)).date()
