"""Rules at work on one release: questions are asked deeper where a rule needs it, and answers arranged."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from features.columns import EVENT_TYPE_CODES, PURCHASE
from features.surfaces import DAY_US
from serving.api.schemas import Filters, RecommendRequest
from serving.experiments.arm import Arm
from serving.merchandising.compiled import CompiledRule, CompiledRules, compile_rules, shop_clock
from serving.merchandising.finish import Finisher
from serving.merchandising.moment import Moment
from serving.merchandising.plan import Plan, Shown, plan_of, recent_days
from serving.merchandising.rules import Ban, Filter, RuleSet
from serving.merchandising.shelf import Shelf
from serving.merchandising.stock import LiveStock, StockView
from serving.release.state import ReleaseState
from serving.surfaces.answers import answer
from serving.surfaces.clock import wall_clock_us
from serving.surfaces.question import NO_ITEMS, Ints, Question, Ranked

_PURCHASE: Final = EVENT_TYPE_CODES[PURCHASE]
_MOST_KEPT: Final = 64
_MOST_PLANS: Final = 32  # each may hold a number for each item
_MOST_COMPILED: Final = 32
_DEEPER: Final = 4
_NO_RULES: Final = RuleSet()
K = TypeVar("K")
V = TypeVar("V")
Planned = tuple[Plan, Ints]  # what holds, and the codes that are left out for this user


class Merchandiser:
    """Answers questions of one release by its surfaces and the rules in force.

    Args:
        state: the release.
        rules: the shop's rules as they are now.
        stock: what is told of stock.
        pool: how many items a surface ranks where a rule reorders them.
        wall: the present, UTC microseconds.
        rng: draws where places are drawn.
    """

    def __init__(
        self,
        state: ReleaseState,
        *,
        rules: Callable[[], RuleSet] = lambda: _NO_RULES,
        stock: LiveStock | None = None,
        pool: int = 200,
        wall: Callable[[], int] = wall_clock_us,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._state, self._rules, self._pool, self._wall = state, rules, pool, wall
        self.shelf = Shelf(state.catalog, state.item_codes)
        self._clock = shop_clock(state)
        self._compiled: dict[tuple[str, int], CompiledRules] = {}
        self._compiling = threading.Lock()
        self._shown: dict[tuple[object, ...], Shown] = {}
        self._plans: dict[tuple[object, ...], Plan] = {}
        self.stock = None if stock is None else StockView(stock, code_of=self.shelf.code_of, num_codes=len(self.shelf))
        if self.stock is not None:
            self.stock.refresh()  # the log may be long: not with the first request
        codes = np.arange(len(self.shelf))
        self._available = state.index.shows(codes) if len(codes) else np.zeros(0, bool)
        self.finisher = Finisher(state, available=self._available, rng=rng or np.random.default_rng())

    def answer(self, questions: Sequence[Question], arms: Sequence[Arm | None] = ()) -> list[Ranked]:
        """Return what each question's surface ranks, arranged by the rules that hold for it."""
        plans = self.plans(questions, arms)
        asked = [
            question if plan is None else self._deeper(question, plan)
            for question, plan in zip(questions, plans, strict=True)
        ]
        found = answer(self._state, asked)
        return [
            self.finisher.plain(question, ranked) if plan is None else self._arranged(question, deep, plan, ranked)
            for question, deep, plan, ranked in zip(questions, asked, plans, found, strict=True)
        ]

    def plans(self, questions: Sequence[Question], arms: Sequence[Arm | None] = ()) -> list[Planned | None]:
        """Return what holds for each question; ``None`` where nothing does."""
        if self.stock is not None:
            self.stock.refresh()
        shop = self._rules()
        quiet = not shop.rules and (self.stock is None or not self.stock.any_out)
        if quiet and not any(arms):
            return [
                None
                if question.request.filters is None and not question.request.diversity
                else self._plan(question, None, shop, 0)
                for question in questions
            ]
        now_us = self._wall()
        return [
            self._plan(question, arm, shop if arm is None or arm.rules is None else arm.rules, now_us)
            for question, arm in itertools.zip_longest(questions, arms)
        ]

    def version(self, arm: Arm | None) -> str | msgspec.UnsetType:
        """Return the version of the rules that hold for an arm, unset where there are none."""
        rules = self._rules() if arm is None or arm.rules is None else arm.rules
        return rules.version or msgspec.UNSET

    def compiled(self, rules: RuleSet) -> CompiledRules:
        """Return rules over this release; they are worked out once a day, and where they are new."""
        version, day = rules.version, self._wall() // DAY_US
        found = self._compiled.get((version, day))
        if found is not None:
            return found
        before = self._compiled.get((version, day - 1))
        if before is None:
            return self._compile(rules, (version, day))
        if not self._compiling.locked():  # yesterday's do until today's are there
            threading.Thread(target=self._compile, args=(rules, (version, day)), name="rules", daemon=True).start()
        return before

    def moment(self, now_us: int) -> Moment:
        """Return an instant in the shop's zone."""
        return self._clock.at(now_us)

    def prepare(self, rules: Iterable[RuleSet]) -> None:
        """Work rules out before they take effect; from any thread."""
        for one in rules:
            self.compiled(one)

    def _compile(self, rules: RuleSet, key: tuple[str, int]) -> CompiledRules:
        with self._compiling:
            if key not in self._compiled:
                compiled = compile_rules(rules, self._state, self.shelf, now_us=self._wall())
                kept = {one: held for one, held in self._compiled.items() if one[1] >= key[1] - 1}
                while len(kept) >= _MOST_COMPILED:
                    del kept[next(iter(kept))]
                self._compiled = kept | {key: compiled}
            return self._compiled[key]

    def _plan(self, question: Question, arm: Arm | None, rules: RuleSet, now_us: int) -> Planned | None:
        """Return what holds for a question, and the codes that it leaves out; ``None`` where nothing does."""
        request = question.request
        explore = None if arm is None else arm.explore
        held: tuple[CompiledRule, ...] = ()
        if rules.rules:
            held = self._in_force(request, question.user_id, rules, now_us)
        filters = request.filters
        shown = self._shown_by(held, filters)
        left_out = self._recent(question, held, filters)
        if not (held or shown or explore or request.diversity or len(left_out)):
            return None
        key = (held, request.k, shown, request.diversity, explore, "" if arm is None else arm.experiment)
        plan = self._plans.get(key)
        if plan is None:
            plan = plan_of(held, k=request.k, shown=shown, shelf=self.shelf, diversity=request.diversity,
                           explore=explore, explored_by=key[-1])  # fmt: skip
            current = {id(one) for one in self._shown.values()}
            self._plans = _newest({one: held for one, held in self._plans.items()
                                   if held.shown is None or id(held.shown) in current}, _MOST_PLANS) | {key: plan}  # fmt: skip
        return plan, left_out

    def shown_to_anyone(self, request: RecommendRequest) -> npt.NDArray[np.bool_] | None:
        """Return which items rules and stock leave to a customer of whom nothing is known, by code; ``None``: all."""
        if self.stock is not None:
            self.stock.refresh(wait=False)  # on the event loop
        rules = self._rules()
        held = self._in_force(request, None, rules, self._wall()) if rules.rules else ()
        shown = self._shown_by(held, request.filters)
        return None if shown is None else shown.mask

    def _in_force(
        self, request: RecommendRequest, user_id: str | None, rules: RuleSet, now_us: int
    ) -> tuple[CompiledRule, ...]:
        listed = self.compiled(rules).by_surface[request.surface]
        if not listed:
            return ()
        moment: Moment = self._clock.at(now_us)
        row = -1
        if user_id is not None and self._state.customers is not None:
            row = self._state.customers.row_number(user_id)
        filters = request.filters
        region = "" if filters is None else filters.region or ""
        return tuple(one for one in listed if one.holds(moment, row=row, region=region))

    def _shown_by(self, rules: tuple[CompiledRule, ...], filters: Filters | None) -> Shown | None:
        """Return which items are left; ``None`` where all are."""
        in_stock, region = (False, "") if filters is None else (filters.in_stock, filters.region or "")
        any_out = self.stock is not None and self.stock.any_out
        if not (in_stock or region or any_out or any(one.removes for one in rules)):
            return None
        version = 0 if self.stock is None else self.stock.version
        key = (version, in_stock, region, rules)
        shown = self._shown.get(key)
        if shown is None:
            shown = self._work_out(rules, in_stock=in_stock, region=region)
            held = {one: mask for one, mask in self._shown.items() if one[0] == version}
            self._shown = _newest(held, _MOST_KEPT) | {key: shown}  # another dictionary: two threads ask
        return shown

    def _work_out(self, rules: tuple[CompiledRule, ...], *, in_stock: bool, region: str) -> Shown:
        mask = self._available.copy()
        self._keep_stock(mask, in_stock=in_stock, region=region)
        for one in rules:
            effect = one.rule.effect
            if isinstance(effect, Ban):
                mask &= ~one.items if one.items is not None else True
            elif isinstance(effect, Filter):
                mask &= one.items if one.items is not None else True
                if effect.in_stock or effect.region:
                    self._keep_stock(mask, in_stock=effect.in_stock, region=effect.region or region)
        return Shown(mask=mask, share=float(mask.sum()) / max(1, int(self._available.sum())))

    def _keep_stock(self, mask: np.ndarray, *, in_stock: bool, region: str) -> None:
        if region:
            mask &= self.shelf.sold_in(region)
        if self.stock is not None:
            mask &= ~self.stock.out(region)
            if in_stock:
                mask &= self.stock.told(region)
        elif in_stock:
            mask[:] = False

    def _recent(self, question: Question, rules: tuple[CompiledRule, ...], filters: Filters | None) -> Ints:
        """Return what was seen or bought so lately that it is left out, codes rising."""
        seen, bought = recent_days(rules)
        if filters is not None:
            seen, bought = max(seen, filters.not_seen_days or 0), max(bought, filters.not_purchased_days or 0)
        if not (seen or bought):
            return NO_ITEMS
        events, now_us = question.history, question.now_us
        is_bought = (events.event_type == _PURCHASE) | question.all_are_purchases
        lately = events.ts > now_us - seen * DAY_US if seen else np.zeros(len(events), bool)
        if bought:
            lately |= is_bought & (events.ts > now_us - bought * DAY_US)
        return np.unique(events.item[lately])

    def _deeper(self, question: Question, planned: Planned, *, factor: int = 1) -> Question:
        """Return a question that ranks as deep as a plan needs."""
        plan, left_out = planned
        depth = (plan.depth(self._pool) + len(left_out)) * factor
        allowed = question.allowed
        if plan.shown is not None and (plan.shown.is_narrow or factor > 1):
            allowed = plan.shown.codes if allowed is None else allowed[plan.shown.mask[allowed]]
        request = msgspec.structs.replace(question.request, k=depth)
        return replace(question, request=request, allowed=allowed, left_out=left_out)

    def _arranged(self, question: Question, deep: Question, planned: Planned, ranked: Ranked) -> Ranked:
        plan, left_out = planned
        return self.finisher.arranged(
            question, plan, ranked, left_out=left_out, deeper=self._again(question, deep, planned, ranked)
        )

    def _again(self, question: Question, deep: Question, planned: Planned, ranked: Ranked) -> Iterator[Ranked]:
        """Ask again, each time deeper, for the items that are left alone, until there are no more."""
        factor = 1
        while len(ranked) >= deep.request.k:
            factor *= _DEEPER
            deep = self._deeper(question, planned, factor=factor)
            ranked = answer(self._state, [deep])[0]
            yield ranked


def _newest(kept: dict[K, V], most: int) -> dict[K, V]:
    """Return the newest entries, with room for one more."""
    return dict(itertools.islice(kept.items(), max(0, len(kept) + 1 - most), None))
