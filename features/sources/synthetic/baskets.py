"""From viewed items to orders: carts, needs that come due, partners, and what the shelf can serve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.sources.synthetic.browsing import BUY_AGAIN_SLOT, TOGETHER_SLOT, Browsing
from features.sources.synthetic.choice import on_sale
from features.sources.synthetic.items import Items
from features.sources.synthetic.settings import MECHANICS, Bools, Floats, Ints
from features.sources.synthetic.state import State, within_stock
from features.sources.synthetic.visits import Visits
from features.sources.synthetic.world import World

FIRST_VIEW_S, AGAIN_S, TOGETHER_S, REMOVE_S, CHECKOUT_S, PAY_S = 20.0, 12.0, 4.0, 10.0, 30.0, 45.0
MAX_DWELL_S = 80.0
VIEWED, AGAIN, TOGETHER = range(3)


@dataclass(frozen=True, kw_only=True, eq=False)
class Baskets:
    """One day's ``N`` cart lines, distinct by (visit, item), and the views' clocks.

    Args:
        viewed_at, dwell: seconds since local midnight, and seconds, of each view of the day's ``Browsing``.
        ends_at: last view's end by visit, ``[S]``.
        visit, item, kind, slot: lines ``[N]``; kind is VIEWED, AGAIN or TOGETHER.
        carted_at: seconds since local midnight, ``[N]``.
        units: ``[N]``.
        wanted: meant to be bought, ``[N]``.
        bought: wanted and on the shelf, ``[N]``.
        rate: units expected to be wanted, by item, ``[I]``.
    """

    viewed_at: Floats
    dwell: Floats
    ends_at: Floats
    visit: Ints
    item: Ints
    kind: Ints
    slot: Ints
    carted_at: Floats
    units: Ints
    wanted: Bools
    bought: Bools
    rate: Floats


def fill_baskets(
    world: World, state: State, visits: Visits, browsing: Browsing, *, day: int, rng: np.random.Generator
) -> Baskets:
    """Draw a day's cart lines."""
    viewed_at, dwell = _view_times(visits, browsing, rng)
    ends_at = visits.start + FIRST_VIEW_S
    np.maximum.at(ends_at, browsing.visit, viewed_at + dwell)
    can_buy = on_sale(world.items, day) & (state.stock > 0)
    due_visit, due_item = due_needs(state, visits, day)
    lines = _draw_lines(
        world,
        visits,
        browsing,
        can_buy=can_buy,
        due=(due_visit, due_item),
        carted_at=viewed_at + 0.8 * dwell,
        ends_at=ends_at,
        rng=rng,
    )
    visit, item, wanted = lines.visit, lines.item, lines.wanted
    units = 1 + rng.poisson(MECHANICS.extra_units, len(item)) * world.items.is_consumable[item]
    bought = wanted.copy()
    bought[wanted] = within_stock(item[wanted], units[wanted], (ends_at[visit] + PAY_S)[wanted], state.stock)
    due_item = due_item[on_sale(world.items, day)[due_item]]
    due_rate = np.bincount(due_item, minlength=world.items.num_items) * MECHANICS.buy_again
    lines_rate = along(world.items, browsing.carted_rate * MECHANICS.buy_given_cart + due_rate, day=day)
    return Baskets(
        viewed_at=viewed_at,
        dwell=dwell,
        ends_at=ends_at,
        units=units,
        bought=bought,
        rate=lines_rate * world.items.mean_units,
        **vars(lines),
    )


def along(items: Items, lines: Floats, *, day: int) -> Floats:
    """Return lines wanted where ``lines`` are wanted, partners that are bought along included.

    Args:
        items: give the partners.
        lines: lines wanted, ``[..., I]``.
        day: partners that are not on sale are not bought.
    """
    total = np.array(lines)
    rows = np.flatnonzero((items.complement >= 0) & on_sale(items, day)[items.complement])
    np.add.at(total.T, items.complement[rows], (lines[..., rows] * items.complement_rate[rows]).T)
    return total


def _view_times(visits: Visits, browsing: Browsing, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return when each view starts and how long it lasts: one after the other, without a pause."""
    dwell = rng.lognormal(np.log(12), 0.7, len(browsing.visit)) * (1 + 0.5 * browsing.match)
    dwell = np.clip(dwell, 1.0, MAX_DWELL_S)
    ends = np.cumsum(dwell)
    first = np.searchsorted(browsing.visit, browsing.visit)  # views come in order of visit
    before = ends - dwell
    return visits.start[browsing.visit] + FIRST_VIEW_S + before - before[first], dwell


def due_needs(state: State, visits: Visits, day: int) -> tuple[Ints, Ints]:
    """Return (visit, item) pairs whose need has come, among sessions with a login."""
    visit_of_user = np.full(len(state.last_focal), -1)
    named = np.flatnonzero(~visits.anonymous)
    visit_of_user[visits.user[named]] = named
    user, item = state.needs.due(day, visit_of_user >= 0)
    return visit_of_user[user], item


@dataclass(frozen=True, kw_only=True, eq=False)
class _Lines:
    """Distinct (visit, item) lines; the fields are those of ``Baskets``."""

    visit: Ints
    item: Ints
    kind: Ints
    slot: Ints
    carted_at: Floats
    wanted: Bools


def _draw_lines(
    world: World,
    visits: Visits,
    browsing: Browsing,
    *,
    can_buy: Bools,
    due: tuple[Ints, Ints],
    carted_at: Floats,
    ends_at: Floats,
    rng: np.random.Generator,
) -> _Lines:
    due_visit, due_item = due
    num_items = world.items.num_items
    again = (rng.random(len(due_item)) < MECHANICS.buy_again) & can_buy[due_item]
    again_visit, again_item = due_visit[again], due_item[again]
    keys = browsing.visit * num_items + browsing.item
    view = np.unique(keys, return_index=True)[1]  # the first view of each pair decides
    view = view[rng.random(len(view)) < browsing.cart_chance[view]]
    view = view[~np.isin(keys[view], again_visit * num_items + again_item)]
    visit, item = np.append(again_visit, browsing.visit[view]), np.append(again_item, browsing.item[view])
    wanted = rng.random(len(visit)) < MECHANICS.buy_given_cart
    wanted[: len(again_visit)] = True
    partner_visit, partner = _partners(world, visit, item, wanted=wanted, can_buy=can_buy, rng=rng)
    counts = (len(again_visit), len(view), len(partner))
    return _Lines(
        visit=np.append(visit, partner_visit),
        item=np.append(item, partner),
        kind=np.repeat((AGAIN, VIEWED, TOGETHER), counts),
        slot=np.concatenate(
            [np.full(counts[0], BUY_AGAIN_SLOT), browsing.slot[view], np.full(counts[2], TOGETHER_SLOT)]
        ),
        carted_at=np.concatenate(
            [visits.start[again_visit] + AGAIN_S, carted_at[view], ends_at[partner_visit] + 2 * TOGETHER_S]
        ),
        wanted=np.append(wanted, np.ones(len(partner), bool)),
    )


def _partners(
    world: World, visit: Ints, item: Ints, *, wanted: Bools, can_buy: Bools, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Return (visit, item) of partners bought along with wanted lines, without those already in the basket."""
    items = world.items
    partner = items.complement[item]
    joins = wanted & (partner >= 0) & (rng.random(len(item)) < items.complement_rate[item])
    joins &= can_buy[partner]
    keys = np.unique(visit[joins] * items.num_items + partner[joins])
    keys = keys[~np.isin(keys, visit * items.num_items + item)]
    return keys // items.num_items, keys % items.num_items
