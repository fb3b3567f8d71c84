"""What a merchandiser may want: a condition, and one effect on what a surface ranks.

    Rule(name="summer_fruit", when=When(surfaces=("for_you",)), effect=Boost(items=ItemMatch(category=("food/fruit",)), by=0.2))

Removals (``Filter``, ``Ban``, out of stock) hold before all else; then scores are moved (``Boost``, ``Bury``,
``Freshness``), the list is spread (``Diversity``), and places are given: pins at theirs, all others within the caps.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from serving.api.schemas import Surface

EFFECTS: Final = ("filter", "ban", "pin", "boost", "bury", "freshness", "diversity", "cap")
CapOf = Literal["category", "brand"]
Edge = dt.date | dt.datetime


@dataclass(frozen=True, kw_only=True)
class When:
    """When a rule holds; all that is said must.

    Args:
        surfaces: one of these; any where empty.
        since: from this day of the shop's, or this instant, on.
        until: up to the end of this day, or before this instant.
        weekdays: of the shop's zone, 0 is Monday; any where empty.
        hours: of the shop's zone, 0 to 23; any where empty.
        regions: of the request, else of the customer; any where empty.
        tags: the customer carries one of these; any where empty.
        stages: growth stage, or lifecycle where the table has none; any where empty.
        audiences: the customer is in one of these; any where empty.
        customer: a condition on the customer table in the language of ``features.rules``, as in the file.
    """

    surfaces: tuple[Surface, ...] = ()
    since: Edge | None = None
    until: Edge | None = None
    weekdays: tuple[int, ...] = ()
    hours: tuple[int, ...] = ()
    regions: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()
    customer: Mapping[str, Any] = field(default_factory=dict)

    @property
    def asks_customer(self) -> bool:
        """Whether it holds for some customers only."""
        return bool(self.tags or self.stages or self.audiences or self.customer)


@dataclass(frozen=True, kw_only=True)
class ItemMatch:
    """Which items are meant; all that is said must hold.

    Args:
        items: ids.
        category: paths; each holds all below it.
        brand: one of these.
        label: one of the item's labels.
        min_price, max_price: major units; items without a price match neither.
        max_age_days: created at most so many days ago; items of unknown age do not match.
    """

    items: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    brand: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    min_price: float | None = None
    max_price: float | None = None
    max_age_days: float | None = None


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Only such items are shown.

    Args:
        items: what they must match.
        in_stock: whether their stock must be told, and above 0.
        region: they must be sold there.
        not_seen_days, not_purchased_days: not in the customer's history of so many days.
    """

    items: ItemMatch = ItemMatch()
    in_stock: bool = False
    region: str = ""
    not_seen_days: int = 0
    not_purchased_days: int = 0


@dataclass(frozen=True, kw_only=True)
class Ban:
    """Such items are not shown."""

    items: ItemMatch


@dataclass(frozen=True, kw_only=True)
class Pin:
    """Items stand at these places, 1 for the first."""

    places: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Boost:
    """Such items pass (``by`` above 0) or let pass (below) this share of the ranked items."""

    items: ItemMatch
    by: float


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """An item as old as the day passes ``by`` of the ranked items; half of that each ``half_life_days``."""

    by: float
    half_life_days: float


@dataclass(frozen=True, kw_only=True)
class Diversity:
    """How much items differ from those before: 0 not at all, 1 whatever the fit."""

    strength: float


@dataclass(frozen=True, kw_only=True)
class Cap:
    """At most ``most`` items of one brand, or of one category path cut to ``level`` steps, in the first ``first`` places.

    Args:
        of: what is counted; items without one are not.
        most: of one.
        level: steps of the path; 0 for all of it.
        first: places; all where 0.
    """

    of: CapOf
    most: int
    level: int = 0
    first: int = 0


Effect = Filter | Ban | Pin | Boost | Freshness | Diversity | Cap


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A named rule.

    Args:
        name: unique in its file.
        when: the condition.
        effect: on what is ranked.
        title: for people.
    """

    name: str
    effect: Effect
    when: When = When()
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class RuleSet:
    """The rules of one file.

    Args:
        rules: in the order of the file, which decides between two pins of one place and two strengths of diversity.
        version: 12 hex digits over the file's content.
        source: the file.
    """

    rules: tuple[Rule, ...] = ()
    version: str = ""
    source: str = ""
