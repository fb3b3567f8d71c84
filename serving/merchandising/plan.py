"""What holds for one question: which items are left, what moves the others, and how deep a surface must rank for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from features.vocabulary import FIRST
from serving.experiments.explore import Explore
from serving.merchandising.compiled import CompiledRule
from serving.merchandising.rules import Boost, Cap, Diversity, Filter, Freshness, Pin
from serving.merchandising.shelf import Flags, Shelf

Ints = npt.NDArray[np.integer]
BY_REQUEST: Final = "request"
# Where fewer are left, a surface is asked for these alone; above, it ranks deeper and the others are dropped.
_NARROW_SHARE: Final = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """Which items may be shown.

    Args:
        mask: bool by code.
        share: of the items that the catalogue shows.
    """

    mask: Flags
    share: float

    @cached_property
    def codes(self) -> Ints:
        """The same as codes, rising."""
        return np.flatnonzero(self.mask)

    @property
    def is_narrow(self) -> bool:
        """Whether few are left."""
        return self.share < _NARROW_SHARE


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """A pin: the item and its place, 0 for the first."""

    place: int
    code: int
    rule: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Limit:
    """A cap: at most ``most`` items of one group in the first ``first`` places.

    Args:
        groups: number of each item's group by code, -1 for none.
        most: of one group.
        first: places; all where 0.
        rule: its name.
    """

    groups: Ints
    most: int
    first: int
    rule: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What holds for one question.

    Args:
        k: the list asked for.
        shown: which items are left; all where ``None``.
        moves: boosts, buries and freshness in force.
        diversity: how much items differ, and by which rule.
        pins: in the order of the file.
        limits: in the order of the file.
        explore: how places are drawn, where they are.
        explored_by: the experiment that says so.
        num_codes: of the release.
    """

    k: int
    shown: Shown | None = None
    moves: tuple[CompiledRule, ...] = ()
    diversity: float = 0.0
    diversity_by: str = ""
    pins: tuple[Place, ...] = ()
    limits: tuple[Limit, ...] = ()
    explore: Explore | None = None
    explored_by: str = ""
    num_codes: int = 0

    @cached_property
    def boosts(self) -> npt.NDArray[np.float64]:
        """Which share of the list each item passes by boosts and buries, float64 ``[V]``."""
        found = np.zeros(self.num_codes)
        for move in self.moves:
            if isinstance(move.rule.effect, Boost):
                found += move.rule.effect.by * (1.0 if move.items is None else move.items)
        return found

    @cached_property
    def fresh(self) -> tuple[Freshness, ...]:
        """Freshness in force."""
        return tuple(one.rule.effect for one in self.moves if isinstance(one.rule.effect, Freshness))

    @property
    def reorders(self) -> bool:
        """Whether the order may change, so that more must be ranked than is asked for."""
        return bool(self.moves or self.diversity or self.limits or self.explore)

    @cached_property
    def most(self) -> int:
        """How long a list may get under the caps at all: a brand that one may stand of adds one, however deep one looks."""
        codes = slice(FIRST, None) if self.shown is None else self.shown.codes
        whole = [limit for limit in self.limits if not limit.first or limit.first >= self.k]
        return min([self.k, *(_most(limit.groups[codes], limit.most) + len(self.pins) for limit in whole)])

    def depth(self, pool: int) -> int:
        """Return how many items a surface must rank."""
        wanted = max(pool, 2 * self.k) if self.reorders else self.k
        if self.shown is None or self.shown.is_narrow:
            return wanted
        gone = 1 / max(self.shown.share, 0.1) - 1
        return wanted if not gone else wanted + int(1.5 * gone * wanted) + 8


def plan_of(rules: tuple[CompiledRule, ...], *, k: int, shown: Shown | None, shelf: Shelf, diversity: float | None,
            explore: Explore | None, explored_by: str) -> Plan:  # fmt: skip
    """Return the plan of the rules that hold.

    Args:
        rules: that hold now, in the order of the file.
        k: the list asked for.
        shown: which items are left.
        shelf: the release's items.
        diversity: what the request asks for; it wins over rules.
        explore: how places are drawn.
        explored_by: the experiment that says so.
    """
    spread, by = _diversity(rules, diversity)
    return Plan(
        k=k,
        shown=shown,
        moves=tuple(one for one in rules if isinstance(one.rule.effect, Boost | Freshness)),
        diversity=spread,
        diversity_by=by,
        pins=tuple(
            Place(place=place, code=code, rule=one.rule.name)
            for one in rules
            if isinstance(one.rule.effect, Pin)
            for place, code in one.pins
        ),
        limits=tuple(
            _limit(one.rule.name, one.rule.effect, shelf) for one in rules if isinstance(one.rule.effect, Cap)
        ),
        explore=explore,
        explored_by=explored_by,
        num_codes=len(shelf),
    )


def recent_days(rules: tuple[CompiledRule, ...]) -> tuple[int, int]:
    """Return of how many days what was seen, and what was bought, is left out: the strictest of the filters in force."""
    filters = [one.rule.effect for one in rules if isinstance(one.rule.effect, Filter)]
    seen = max((one.not_seen_days for one in filters), default=0)
    return seen, max((one.not_purchased_days for one in filters), default=0)


def _most(groups: Ints, most: int) -> int:
    return int((groups < 0).sum() + np.minimum(np.bincount(groups[groups >= 0]), most).sum())


def _diversity(rules: tuple[CompiledRule, ...], asked: float | None) -> tuple[float, str]:
    if asked is not None:
        return asked, BY_REQUEST if asked else ""
    for one in rules:
        if isinstance(one.rule.effect, Diversity):
            return one.rule.effect.strength, one.rule.name
    return 0.0, ""


def _limit(name: str, cap: Cap, shelf: Shelf) -> Limit:
    return Limit(groups=shelf.groups(cap.of, cap.level), most=cap.most, first=cap.first, rule=name)
