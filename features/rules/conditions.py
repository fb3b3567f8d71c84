"""What a rule may say about a customer: typed conditions, true or false at every instant.

    {column: lifecycle, is: active}                                        ColumnTest
    {events: view, where: {category: a}, at_least: 3, within_days: 14}      EventTest
    {events: cart, not_followed_by: purchase, of_same: item, for_hours: 24} OpenTest
    {orders: {amount: {at_least: 1000}}, within_days: 90}                   OrderTest
    {all: [...]}, {any: [...]}, {not: ...}                                  AllOf, AnyOf, Not

Money stands in minor units here; rule files say it in major ones (``features.rules.parse``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final, Literal, get_args

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
LANGUAGE_VERSION: Final = 1  # part of every rule's version: the same words may not come to mean something else

Operator = Literal[
    "is", "is_not", "one_of", "none_of", "at_least", "at_most", "above", "below", "contains", "missing", "within_days"
]  # fmt: skip
OPERATORS: Final[tuple[Operator, ...]] = get_args(Operator)
SameOf = Literal["item", "session", "order"]
SAME_OF: Final[tuple[SameOf, ...]] = get_args(SameOf)
Distinct = Literal["item", "order", "session", "day", "category", "brand"]
DISTINCTS: Final[tuple[Distinct, ...]] = get_args(Distinct)
Summed = Literal["amount", "units"]
SUMMED: Final[tuple[Summed, ...]] = get_args(Summed)
Value = str | float | int | bool | tuple[str | float | int, ...]


@dataclass(frozen=True, kw_only=True)
class Test:
    """One comparison of one value; a missing value passes only ``is_not``, ``none_of`` and ``missing``.

    Args:
        operator: ``contains`` is a member of a list or of texts separated by ``|``; ``within_days`` a day at most so
            many days before ``as_of``. A category ``is`` what it names and all that lies below.
        value: what to compare with; a tuple for ``one_of`` and ``none_of``.
    """

    __test__ = False  # no test of pytest's

    operator: Operator
    value: Value


@dataclass(frozen=True, kw_only=True)
class FieldTest:
    """Comparisons of one field of an event or its item, all of which must pass."""

    field: str
    tests: tuple[Test, ...]


@dataclass(frozen=True, kw_only=True)
class ColumnTest:
    """Comparisons of one column of the customer table, all of which must pass."""

    column: str
    tests: tuple[Test, ...]


@dataclass(frozen=True, kw_only=True)
class EventTest:
    """How many events there are, how many distinct things, or what they add up to.

    Args:
        events: their types.
        where: fields of each.
        within_days: only the last so many days count; all where left out.
        at_least, at_most: of the count or sum; nothing where there is no bound.
        distinct: count the items, orders, ... among them instead.
        sum_of: add up money (minor units) or units instead.
        share_at_least: at least this share of the events of these types passes ``where``, in ten-thousandths.
    """

    events: tuple[str, ...]
    where: tuple[FieldTest, ...] = ()
    within_days: float | None = None
    at_least: int | None = 1
    at_most: int | None = None
    distinct: Distinct | None = None
    sum_of: Summed | None = None
    share_at_least: int | None = None


@dataclass(frozen=True, kw_only=True)
class OpenTest:
    """How many events have waited in vain for what should follow.

    An event is open from ``for_hours`` after it until something of ``not_followed_by`` happens, at its instant or
    later (of its own type: later), or until ``within_days`` after it.

    Args:
        events: types of what is waiting.
        where: fields of each.
        not_followed_by: types of what should follow.
        of_same: what the two must share; nothing where any will do.
        for_hours: how long it must have waited.
        within_days: how long it counts; for ever where left out.
        at_least, at_most: of the number of open events.
    """

    events: tuple[str, ...]
    not_followed_by: tuple[str, ...]
    where: tuple[FieldTest, ...] = ()
    of_same: SameOf | None = None
    for_hours: float = 0.0
    within_days: float | None = None
    at_least: int | None = 1
    at_most: int | None = None


@dataclass(frozen=True, kw_only=True)
class OrderTest:
    """How many orders there are of some size; an order stands at the instant of its last line.

    Args:
        tests: of ``amount`` (minor units), ``units`` and ``lines`` of an order.
        within_days: only the last so many days count.
        at_least, at_most: of the number of orders.
    """

    tests: tuple[FieldTest, ...] = ()
    within_days: float | None = None
    at_least: int | None = 1
    at_most: int | None = None


@dataclass(frozen=True, kw_only=True)
class AllOf:
    """Every part holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, kw_only=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, kw_only=True)
class Not:
    """The part does not hold."""

    part: Condition


Leaf = ColumnTest | EventTest | OpenTest | OrderTest
Condition = Leaf | AllOf | AnyOf | Not


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A named condition.

    Args:
        name: unique in its file.
        when: the condition.
        title: for people, short.
        description: what it means and what it is good for.
    """

    name: str
    when: Condition
    title: str = ""
    description: str = ""

    @property
    def version(self) -> str:
        """12 hex digits over what the rule means; name, title and description do not change it."""
        return version_of(self.when)


def version_of(condition: Condition, *more: Any) -> str:
    """Return 12 hex digits that two conditions share only if they are equal."""
    text = json.dumps([LANGUAGE_VERSION, _plain(condition), *more], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def leaves(condition: Condition) -> Iterator[Leaf]:
    """Yield the leaves in the order of the file."""
    if isinstance(condition, AllOf | AnyOf):
        for part in condition.parts:
            yield from leaves(part)
    elif isinstance(condition, Not):
        yield from leaves(condition.part)
    else:
        yield condition


def columns_of(condition: Condition) -> tuple[str, ...]:
    """Return the columns of the customer table that a condition reads, each once."""
    return tuple(dict.fromkeys(leaf.column for leaf in leaves(condition) if isinstance(leaf, ColumnTest)))


def is_behavioural(condition: Condition) -> bool:
    """Return whether a condition reads the log itself, and not the customer table alone."""
    return any(not isinstance(leaf, ColumnTest) for leaf in leaves(condition))


def negations_inside(condition: Condition, *, negated: bool = False) -> Condition:
    """Return the same condition with every ``Not`` right around a leaf (De Morgan).

    not (a and not b)  ->  not a, or b
    """
    if isinstance(condition, Not):
        return negations_inside(condition.part, negated=not negated)
    if isinstance(condition, AllOf | AnyOf):
        parts = tuple(negations_inside(part, negated=negated) for part in condition.parts)
        is_all = isinstance(condition, AllOf) != negated
        return AllOf(parts=parts) if is_all else AnyOf(parts=parts)
    return Not(part=condition) if negated else condition


def _plain(value: Any) -> Any:
    """A condition as JSON: class names and fields; what is at its default too."""
    if is_dataclass(value):
        return [type(value).__name__, {f.name: _plain(getattr(value, f.name)) for f in fields(value)}]
    return [_plain(part) for part in value] if isinstance(value, tuple) else value
