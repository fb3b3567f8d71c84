"""Rules over one release: items as flags by code, customers as flags by row, so that a request looks up and computes little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from features.errors import FootfallError, did_you_mean
from features.vocabulary import FIRST
from serving.customers.audiences import TAGS_COLUMN, RuleCounter
from serving.merchandising.moment import Moment, ShopClock
from serving.merchandising.parse import SURFACES
from serving.merchandising.rules import Ban, Boost, Filter, ItemMatch, Pin, Rule, RuleSet, When
from serving.merchandising.shelf import Flags, Shelf
from serving.release.state import ReleaseState

_STAGES: Final = ("growth_stage", "lifecycle")
_REGION: Final = "region"


@dataclass(frozen=True, kw_only=True, eq=False)
class CompiledRule:
    """A rule of one release.

    Args:
        rule: as in the file.
        number: its place there.
        since_us, until_us: it may hold from the first on and before the second, UTC microseconds.
        customers: whom it may hold for, bool by row of the customer table; everyone where ``None``.
        regions: customers of its regions, in the same way, for requests that name none.
        items: which items its effect means, bool by code; ``None`` where it means none in particular.
        pins: place (0 for the first) and code.
    """

    rule: Rule
    number: int
    since_us: int
    until_us: int
    customers: Flags | None = None
    regions: Flags | None = None
    items: Flags | None = None
    pins: tuple[tuple[int, int], ...] = ()

    @property
    def removes(self) -> bool:
        """Whether it takes items away."""
        return isinstance(self.rule.effect, Filter | Ban)

    def holds(self, moment: Moment, *, row: int, region: str) -> bool:
        """Whether the rule holds now.

        Args:
            moment: the present.
            row: the customer's, -1 for nobody who is known.
            region: that the request names, blank where it names none.
        """
        when = self.rule.when
        if not self._is_time(moment):
            return False
        if self.customers is not None and (row < 0 or not self.customers[row]):
            return False
        if not when.regions:
            return True
        return region in when.regions if region else self.regions is not None and row >= 0 and bool(self.regions[row])

    def may_hold(self, moment: Moment) -> bool:
        """Whether the rule holds now for anybody."""
        return self._is_time(moment) and (self.customers is None or bool(self.customers.any()))

    def _is_time(self, moment: Moment) -> bool:
        if not self.since_us <= moment.now_us < self.until_us:
            return False
        when = self.rule.when
        return not (when.weekdays and moment.weekday not in when.weekdays) and not (
            when.hours and moment.hour not in when.hours
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class CompiledRules:
    """The rules of one file over one release.

    Args:
        version: of the file.
        by_surface: rules that may hold there, in the order of the file.
        problems: what the rules name and the release does not know; such a rule does less, or nothing.
    """

    version: str
    by_surface: Mapping[str, tuple[CompiledRule, ...]]
    problems: tuple[str, ...] = ()

    @property
    def rules(self) -> list[CompiledRule]:
        """All rules, in the order of the file."""
        found = {one.number: one for rules in self.by_surface.values() for one in rules}
        return [found[number] for number in sorted(found)]


def compile_rules(rules: RuleSet, state: ReleaseState, shelf: Shelf, *, now_us: int) -> CompiledRules:
    """Return the rules of a file over a release.

    Args:
        rules: of the file.
        state: the release.
        shelf: its items.
        now_us: the instant that ages of items and tags of customers are read at.
    """
    compiler = _Compiler(state, shelf, now_us=now_us)
    compiled = [compiler.rule(rule, number) for number, rule in enumerate(rules.rules)]
    return CompiledRules(
        version=rules.version,
        by_surface={
            surface: tuple(one for one in compiled if not one.rule.when.surfaces or surface in one.rule.when.surfaces)
            for surface in SURFACES
        },
        problems=tuple(compiler.problems),
    )


def shop_clock(state: ReleaseState) -> ShopClock:
    """Return the clock of the shop's zone, UTC where the release does not say."""
    return ShopClock(ZoneInfo("UTC") if state.rules is None else state.rules.zone)


class _Compiler:
    def __init__(self, state: ReleaseState, shelf: Shelf, *, now_us: int) -> None:
        self._state = state
        self._shelf = shelf
        self._now_us = now_us
        self._clock = shop_clock(state)
        self._minor_units = 100 if state.rules is None else state.rules.counter.minor_units
        self.problems: list[str] = []

    def rule(self, rule: Rule, number: int) -> CompiledRule:
        since_us, until_us = self._clock.span_us(rule.when)
        effect = rule.effect
        match = effect.items if isinstance(effect, Filter | Ban | Boost) else None
        return CompiledRule(
            rule=rule,
            number=number,
            since_us=since_us,
            until_us=until_us,
            customers=self._customers(rule) if rule.when.asks_customer else None,
            regions=self._of_regions(rule) if rule.when.regions else None,
            items=None if match is None else self._items(rule, match),
            pins=self._pins(rule, effect) if isinstance(effect, Pin) else (),
        )

    def _items(self, rule: Rule, match: ItemMatch) -> Flags | None:
        for field, word, words in self._shelf.unknown(match):
            self._problem(rule, f"{field}: the release knows no {word!r}.{did_you_mean(word, words)}")
        if match == ItemMatch():
            return None
        return self._shelf.matching(match, minor_units=self._minor_units, now_us=self._now_us)

    def _pins(self, rule: Rule, pin: Pin) -> tuple[tuple[int, int], ...]:
        codes = {item: self._shelf.code_of(item) for item in pin.places}
        for item in (item for item, code in codes.items() if code < FIRST):
            hint = did_you_mean(item, self._state.item_codes)
            self._problem(rule, f"pin: the release knows no item {item!r}.{hint}")
        return tuple((place - 1, codes[item]) for item, place in pin.places.items() if codes[item] >= FIRST)

    def _customers(self, rule: Rule) -> Flags:
        """Return whom a rule may hold for; nobody, and a problem, where the release cannot tell."""
        if self._state.rules is None or self._state.customers is None:
            self._problem(rule, "when: the release has no customers to tell apart; it holds for nobody.")
            return np.zeros(len(self._ids), bool)
        found = np.ones(len(self._ids), bool)
        for condition in self._conditions(rule.when, self._state.rules.counter):
            found &= self._mask(rule, condition)
        if rule.when.audiences:
            found &= np.logical_or.reduce([self._members(rule, name) for name in rule.when.audiences])
        return found

    def _conditions(self, when: When, counter: RuleCounter) -> list[Mapping[str, Any]]:
        stages = [name for name in _STAGES if name in counter.columns] or [_STAGES[0]]
        tags = [{"column": TAGS_COLUMN, "contains": tag} for tag in when.tags]
        return [
            *([{"any": tags}] if tags else []),
            *([{"column": stages[0], "one_of": list(when.stages)}] if when.stages else []),
            *([when.customer] if when.customer else []),
        ]

    def _of_regions(self, rule: Rule) -> Flags | None:
        counter = None if self._state.rules is None else self._state.rules.counter
        if counter is None or _REGION not in counter.columns:
            return None  # the request must name it
        return self._mask(rule, {"column": _REGION, "one_of": list(rule.when.regions)})

    def _mask(self, rule: Rule, condition: Mapping[str, Any]) -> Flags:
        assert self._state.rules is not None, "asked where there are rules over customers"
        counter = self._state.rules.counter
        try:
            return counter.mask(counter.parse(condition), now_us=self._state.rules.now_us(lambda: self._now_us))
        except FootfallError as error:
            self._problem(rule, f"when: {str(error).removeprefix('rule: ').removeprefix('rule, ')}")
            return np.zeros(len(self._ids), bool)

    def _members(self, rule: Rule, name: str) -> Flags:
        assert self._state.rules is not None, "asked where there are rules over customers"
        assert self._state.customers is not None, "the same"
        audiences, found = self._state.rules.audiences, np.zeros(len(self._ids), bool)
        if name not in audiences.about:
            self._problem(rule, f"when.audience: the release knows no {name!r}.{did_you_mean(name, audiences.about)}")
        elif name in audiences.members:
            codes = self._state.customers.users.encode(audiences.members[name].to_pylist()).astype(np.int64)
            found[codes[codes >= FIRST] - FIRST] = True
        return found

    @property
    def _ids(self) -> Sequence[str] | npt.NDArray[np.object_]:
        return [] if self._state.customers is None else self._state.customers.users.ids

    def _problem(self, rule: Rule, what: str) -> None:
        self.problems.append(f"rule {rule.name!r}, {what}")
