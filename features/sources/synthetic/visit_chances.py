"""How likely a visit to a simulated shop still ends in a purchase: what somebody would say who knew the shop's truth.

At an event of a visit it knows the customer's taste and habits, the day's shelves and prices, which page was shown, and
all that has happened by then; what comes is still chance:

    P(no purchase) = P(no need that is due is met)                       before needs are met
                   × product over views under way of (1 - cart × buy)    until the cart is decided on
                   × product over home slots to come of (1 - click × cart × buy)
                   × sum over n further views of P(n) × product over items not yet seen of
                         (1 - cart × buy × (1 - (1 - p)^n))              p: a view falls on the item
                   × product over cart lines of (1 - buy)

It does not know that a shelf runs empty during the day, and takes items as seen or not independently of each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from features import columns as c
from features.sources.synthetic import baskets as b
from features.sources.synthetic import calendar, choice
from features.sources.synthetic.browsing import (
    BLOCK_CELLS,
    MAX_VIEWS,
    NO_SLOT,
    TOGETHER_SLOT,
    Browsing,
    Shelf,
    discourage_owned,
    extra_log_odds,
)
from features.sources.synthetic.journal import REMOVES
from features.sources.synthetic.settings import MECHANICS, Bools, Floats, Ints
from features.sources.synthetic.simulation import History, Simulation
from features.sources.synthetic.state import State
from features.sources.synthetic.visits import Visits
from features.sources.synthetic.world import World

T = TypeVar("T")
Told = tuple[int, str, int]  # at_us, event type, item row
View = tuple[int, int, float, int, Floats]

BUYS = MECHANICS.buy_given_cart
# What was not taken out of the cart by the time when some things are.
_BUYS_UNREMOVED = BUYS / (BUYS + (1 - BUYS) * (1 - REMOVES))


@dataclass(frozen=True, kw_only=True)
class VisitTruth:
    """What is true of one visit; instants are UTC microseconds.

    Args:
        stop: chance that a view is the last.
        none_after: log of the chance that n views lead to no purchase, ``[31]``, n from 0.
        needs_unmet: chance that no need that is due is met.
        needs_at, ends_at: when needs are met, and when the last view ends.
        slots: each home slot's chance of leading to a purchase, in order; empty for a visit without the home page.
        views: instant, instant of the decision, chance of a purchase by it, slot, and what further views of the item
            add to ``none_after``, ``[31]``.
        lines: instant in the cart, item row, kind.
    """

    stop: float
    none_after: Floats
    needs_unmet: float
    needs_at: int
    ends_at: int
    slots: tuple[float, ...]
    views: tuple[View, ...]
    lines: tuple[tuple[int, int, int], ...]

    def chance(self, told: Sequence[Told], now_us: int) -> float:
        """Return the chance of a later purchase, given the visit's events by ``now_us``."""
        kinds = {kind for _, kind, _ in told}
        if c.PURCHASE in kinds or c.CHECKOUT in kinds:
            return 0.0 if c.PURCHASE in kinds else 1.0
        is_over = now_us >= self.ends_at
        none = 1.0 if is_over else self._none_to_come(now_us)
        taken_out = {item for _, kind, item in told if kind == c.REMOVE_FROM_CART}
        for carted_at, item, kind in self.lines:
            if carted_at <= now_us and item not in taken_out:
                none *= 0.0 if kind != b.VIEWED else 1 - (_BUYS_UNREMOVED if taken_out else BUYS)
        if any(at_us <= now_us and slot == TOGETHER_SLOT for at_us, _, _, slot, _ in self.views):
            none = 0.0
        return 1 - none

    def _none_to_come(self, now_us: int) -> float:
        none = self.needs_unmet if now_us < self.needs_at else 1.0
        seen = [view for view in self.views if view[0] <= now_us]
        logs = self.none_after.copy()
        for _, decided_at, chance, _, own in seen:
            logs -= own
            if now_us < decided_at:
                none *= 1 - chance
        after = self.stop * (1 - self.stop) ** np.arange(MAX_VIEWS)  # how many views follow a view
        if seen and seen[-1][3] == NO_SLOT:
            return none * float(after @ np.exp(logs[:-1]) + (1 - after.sum()) * np.exp(logs[-1]))
        to_come = self.slots[seen[-1][3] + 1 if seen else 0 :]  # and one view at least
        slots = math.prod(1 - chance for chance in to_come)
        return none * slots * float(after @ np.exp(logs[1:]) + (1 - after.sum()) * np.exp(logs[-1]))


def run_with_visits(world: World) -> tuple[History, dict[int, VisitTruth]]:
    """Run a world as ``generate`` does; return what is true of each visit, by the number of the session."""
    watch = _Watch(world=world)
    return Simulation(world, observe=watch).run(), watch.found


@dataclass(kw_only=True, eq=False)
class _Watch:
    """Looks at each day of a simulation."""

    world: World
    found: dict[int, VisitTruth] = field(default_factory=dict)

    def __call__(self, day: int, state: State, visits: Visits, browsing: Browsing, baskets: b.Baskets) -> None:
        items, in_stock = self.world.items, state.stock > 0
        found = choice.visibility(items, self.world.prices, day=day, sales=state.sales, in_stock=in_stock)
        shelf = Shelf.on_day(self.world, state, day=day, found=found, in_stock=in_stock)
        after, own, shown = _buying_chances(self.world, state, visits, browsing, shelf)
        slots = _grouped(browsing.shown_visit, shown.tolist(), visits.num_visits)
        views, lines = _views(visits, browsing, baskets, own, day), _lines(visits, baskets, day)
        unmet = _needs_unmet(state, visits, day, can_buy=choice.on_sale(items, day) & in_stock)
        stop = self.world.users.view_stop[visits.user]
        needs, ends = _us(day, visits.start + b.AGAIN_S), _us(day, baskets.ends_at)
        for row, number in enumerate(visits.number.tolist()):
            self.found[number] = VisitTruth(
                stop=float(stop[row]),
                none_after=after[row],
                needs_unmet=float(unmet[row]),
                needs_at=needs[row],
                ends_at=ends[row],
                slots=tuple(slots[row]),
                views=tuple(views[row]),
                lines=tuple(lines[row]),
            )


def _buying_chances(
    world: World, state: State, visits: Visits, browsing: Browsing, shelf: Shelf
) -> tuple[Floats, Floats, Floats]:
    """Return ``none_after`` of visits ``[S, 31]``, each view's item's part in it ``[N, 31]``, shown items' chances ``[E]``."""
    counts = np.arange(MAX_VIEWS + 1)
    after, own = np.zeros((visits.num_visits, len(counts))), np.zeros((len(browsing.visit), len(counts)))
    shown = np.zeros(len(browsing.shown_visit))
    extra = extra_log_odds(world, state, visits, shelf.day)
    look = choice.examined()
    size = max(1, BLOCK_CELLS // world.items.num_items)
    for start in range(0, visits.num_visits, size):
        rows = np.arange(start, min(start + size, visits.num_visits))
        user = visits.user[rows]
        match, weight = choice.item_weights(
            world.items, visits.taste[rows], world.users.price_preference[user], shelf.found
        )
        view = choice.with_focus(world.items, weight, visits.focal[rows])
        sensitivity = world.users.price_sensitivity[user][:, None]
        odds = choice.cart_log_odds(match, shelf.log_ratio, sensitivity, extra[rows][:, None])
        discourage_owned(world, state, user, shelf.day, odds)
        chance = BUYS * choice.sigmoid(odds) * ~visits.anonymous[rows][:, None] * shelf.in_stock
        missed = np.ones_like(view)  # chance that n views miss the item
        for n in counts[1:]:
            missed *= 1 - view
            after[rows, n] = np.log1p(chance * (missed - 1)).sum(axis=1)
        viewed = (browsing.visit >= start) & (browsing.visit < start + size)
        row, item = browsing.visit[viewed] - start, browsing.item[viewed]
        missed_here = (1 - view[row, item][:, None]) ** counts
        own[viewed] = np.log1p(chance[row, item][:, None] * (missed_here - 1))
        here = (browsing.shown_visit >= start) & (browsing.shown_visit < start + size)
        row, item = browsing.shown_visit[here] - start, browsing.shown_item[here]
        click = look[browsing.shown_slot[here]] * choice.click_probability(match[row, item])
        shown[here] = click * chance[row, item]
    return after, own, shown


def _needs_unmet(state: State, visits: Visits, day: int, *, can_buy: Bools) -> Floats:
    """Return the chance that no due need is met, ``[S]``."""
    due_visit, due_item = b.due_needs(state, visits, day)
    return (1 - MECHANICS.buy_again) ** np.bincount(due_visit[can_buy[due_item]], minlength=visits.num_visits)


def _views(visits: Visits, browsing: Browsing, baskets: b.Baskets, own: Floats, day: int) -> list[list[View]]:
    """Return each visit's views; only the first of an item decides on its cart, and none where a need was met."""
    number = int(max(browsing.item.max(initial=0), baskets.item.max(initial=0))) + 1
    keys = browsing.visit * number + browsing.item
    first = np.zeros(len(keys), bool)
    first[np.unique(keys, return_index=True)[1]] = True
    again = baskets.kind == b.AGAIN
    decides = first & ~np.isin(keys, baskets.visit[again] * number + baskets.item[again])
    at, decided = _us(day, baskets.viewed_at), _us(day, baskets.viewed_at + 0.8 * baskets.dwell)
    chance = (BUYS * browsing.cart_chance * decides).tolist()
    rows = zip(at, decided, chance, browsing.slot.tolist(), own * first[:, None], strict=True)
    found = _grouped(browsing.visit, list(rows), visits.num_visits)
    along = baskets.visit[baskets.kind == b.TOGETHER]
    for visit, at_us in zip(along.tolist(), _us(day, baskets.ends_at[along] + b.TOGETHER_S), strict=True):
        found[visit].append((at_us, at_us, 0.0, TOGETHER_SLOT, np.zeros(MAX_VIEWS + 1)))
    return found


def _lines(visits: Visits, baskets: b.Baskets, day: int) -> list[list[tuple[int, int, int]]]:
    rows = zip(_us(day, baskets.carted_at), baskets.item.tolist(), baskets.kind.tolist(), strict=True)
    return _grouped(baskets.visit, list(rows), visits.num_visits)


def _grouped(visit: Ints, values: Sequence[T], num_visits: int) -> list[list[T]]:
    """Return the values of each visit, in order."""
    found: list[list[T]] = [[] for _ in range(num_visits)]
    for row, value in zip(visit.tolist(), values, strict=True):
        found[row].append(value)
    return found


def _us(day: int, second: Floats) -> list[int]:
    """Return instants as the journal writes them: whole milliseconds."""
    return [int(at_us) for at_us in calendar.instants_us(day, np.floor(second * 1000) / 1000)]
