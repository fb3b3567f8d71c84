"""What promotions truly sell in a simulated shop: each promoted item-day with and without its promotion.

A promotion works in two places of a customer's choice: a price cut raises the odds of the cart (by the customer's own
price sensitivity), and a display raises the weight with which the item, and its leaf category, are found. What it
comes to in units follows from the generator's own probabilities: the day's sessions are taken as they came (who, by
which channel), everything before the day as it happened, and all other promotions as they were; the item's own
promotion is taken back for that day. Nothing is drawn and nothing is fitted.

    uplift = sum of units expected with the promotion / sum of units expected without it, over promoted item-days

S sessions, I items, P promoted items of a day, L leaf categories
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from features.sources.synthetic import campaigns, choice
from features.sources.synthetic.baskets import Baskets
from features.sources.synthetic.browsing import Browsing, Shelf, carted_rate, discourage_owned, extra_log_odds
from features.sources.synthetic.settings import MECHANICS, Bools, Floats, Ints
from features.sources.synthetic.simulation import History, Simulation
from features.sources.synthetic.state import State
from features.sources.synthetic.visits import Visits
from features.sources.synthetic.world import World


@dataclass(frozen=True, kw_only=True, eq=False)
class PromotedDays:
    """Promoted item-days, and the units expected to be wanted on each; arrays ``[N]``.

    Args:
        item, day: row of the item and number of the day.
        discount: share taken off.
        display: whether on display.
        in_stock: whether there was anything on the shelf at opening.
        with_promotion: as it was.
        without_promotion: neither price cut nor display.
        without_cut: regular price, on display if it was.
        without_display: the cut price, not on display.
    """

    item: Ints
    day: Ints
    discount: Floats
    display: Bools
    in_stock: Bools
    with_promotion: Floats
    without_promotion: Floats
    without_cut: Floats
    without_display: Floats


def run_with_uplift(world: World) -> tuple[History, PromotedDays]:
    """Run a world as ``generate`` does, and work out what its promotions sold."""
    watch = _Watch(world=world)
    return Simulation(world, observe=watch).run(), watch.found()


@dataclass(kw_only=True, eq=False)
class _Watch:
    """Looks at each day of a simulation."""

    world: World
    rows: list[dict[str, npt.NDArray[Any]]] = field(default_factory=list)

    def __call__(self, day: int, state: State, visits: Visits, browsing: Browsing, baskets: Baskets) -> None:
        goods, prices = self.world.items, self.world.prices
        items = np.flatnonzero((prices.discount[day] > 0) & choice.on_sale(goods, day))
        promoted = PromotedChoice.on_day(self.world, state, visits, day=day, items=items)
        # What is bought without being looked for: needs that come due, and partners of other items.
        units = goods.mean_units[items]
        other = baskets.rate[items] / units - MECHANICS.buy_given_cart * browsing.carted_rate[items]

        def expected(*, cut: bool, display: bool) -> Floats:
            return units * (MECHANICS.buy_given_cart * promoted.carted(cut=cut, display=display) + other)

        self.rows.append(
            {
                "item": items,
                "day": np.full(len(items), day),
                "discount": prices.discount[day, items],
                "display": prices.display[day, items],
                "in_stock": state.stock[items] > 0,
                "with_promotion": expected(cut=True, display=True),
                "without_promotion": expected(cut=False, display=False),
                "without_cut": expected(cut=False, display=True),
                "without_display": expected(cut=True, display=False),
            }
        )

    def found(self) -> PromotedDays:
        return PromotedDays(**{name: np.concatenate([row[name] for row in self.rows]) for name in self.rows[0]})


@dataclass(frozen=True, kw_only=True, eq=False)
class PromotedChoice:
    """A day's promoted items, and all that the day's sessions choose by.

    Args:
        shelf: of these items alone, ``[P]``.
        leaf, discount, display: ``[P]``.
        own_share: of each item in what makes its leaf look large, ``[P]``.
        sensitivity: to prices, ``[S]``.
        match, weight, odds: taste's match, weight of a view, and log-odds of the cart, as they were, ``[S, P]``.
        leaf_weight: weights of views by leaf, over all items, ``[S, L]``.
        fresh: probability of each leaf for a session that starts anew, ``[S, L]``.
        goes_on: probability that the session stays where the last one was, by leaf, ``[S, L]``.
        looks: probability that the session buys it by looking for it, if it would at all: less where a need comes
            due, which is met without a look, ``[S, P]``.
        stop, home: of the sessions, ``[S]``.
    """

    shelf: Shelf
    leaf: Ints
    discount: Floats
    display: Bools
    own_share: Floats
    sensitivity: Floats
    match: Floats
    weight: Floats
    odds: Floats
    leaf_weight: Floats
    fresh: Floats
    goes_on: Floats
    stop: Floats
    home: Bools
    looks: Floats

    @classmethod
    def on_day(cls, world: World, state: State, visits: Visits, *, day: int, items: Ints) -> PromotedChoice:
        """Lay out a day at its opening, for the given items."""
        goods, users, user = world.items, world.users, visits.user
        in_stock = state.stock > 0
        found = choice.visibility(goods, world.prices, day=day, sales=state.sales, in_stock=in_stock)
        shelf = Shelf.on_day(world, state, day=day, found=found, in_stock=in_stock)
        match, weight = choice.item_weights(goods, visits.taste, users.price_preference[user], found)
        sensitivity = users.price_sensitivity[user]
        extra = extra_log_odds(world, state, visits, day)
        odds = choice.cart_log_odds(match, shelf.log_ratio, sensitivity[:, None], extra[:, None])
        discourage_owned(world, state, user, day, odds)
        member = np.zeros((goods.num_items, goods.num_leaves))
        member[np.arange(goods.num_items), goods.leaf] = 1
        fresh, goes_on = _leaf_shares(world, state, visits, found)
        return cls(
            shelf=shelf.of(items),
            leaf=goods.leaf[items],
            discount=world.prices.discount[day, items],
            display=world.prices.display[day, items],
            own_share=np.exp(found[items]) / (np.exp(found) @ member)[goods.leaf[items]],
            sensitivity=sensitivity,
            match=match[:, items],
            weight=weight[:, items],
            odds=odds[:, items],
            leaf_weight=weight @ member,
            fresh=fresh,
            goes_on=goes_on,
            stop=users.view_stop[user],
            home=visits.home,
            looks=_looks(state, visits, day=day, items=items),
        )

    def carted(self, *, cut: bool, display: bool) -> Floats:
        """Return the carts expected of each item, were its promotion so and all others as they are, ``[P]``."""
        # A cut of 20% moves log(price / base price) by log(0.8).
        dearer = 0.0 if cut else self.sensitivity[:, None] * np.log1p(-self.discount)
        chance = choice.sigmoid(self.odds + dearer) * self.looks
        share, view = self._by_leaf(display=display)  # [S, P, L] both
        num_sessions, num_items, num_leaves = view.shape
        # A pair of item and leaf stands for an item here: what a session sees depends on its leaf.
        pair = np.repeat(np.arange(num_items), num_leaves)
        rate = carted_rate(
            self.shelf.of(pair),
            view=view.reshape(num_sessions, -1),
            match=self.match[:, pair],
            chance=(share * chance[:, :, None]).reshape(num_sessions, -1),
            stop=self.stop,
            home=self.home,
        )
        return rate.reshape(num_items, num_leaves).sum(axis=1)

    def _by_leaf(self, *, display: bool) -> tuple[Floats, Floats]:
        """Return the probability of each leaf, and that a view falls on the item in a session about it.

        ``[S, P, L]`` both: the weight of item p alone changes, and so that of its leaf, and how often it is turned to.
        """
        less = np.where(self.display & (not display), np.expm1(-MECHANICS.display_boost), 0.0)  # [P]
        own_leaf = np.eye(self.leaf_weight.shape[1])[self.leaf]  # [P, L]
        change = self.weight * less  # [S, P]
        leaf_weight = self.leaf_weight[:, None] + change[:, :, None] * own_leaf
        total = leaf_weight.sum(axis=2, keepdims=True) + (MECHANICS.focal_boost - 1) * leaf_weight
        boost = 1 + (MECHANICS.focal_boost - 1) * own_leaf
        smaller = np.sqrt(1 + self.own_share * less) - 1  # a leaf is turned to by the root of its size, [P]
        fresh = self.fresh[:, None] * (1 + smaller[:, None] * own_leaf)
        fresh /= fresh.sum(axis=2, keepdims=True)
        share = self.goes_on[:, None] + (1 - self.goes_on.sum(axis=1))[:, None, None] * fresh
        return share, (self.weight + change)[:, :, None] * boost / total


def _looks(state: State, visits: Visits, *, day: int, items: Ints) -> Floats:
    """Return 1, less where the customer's need has come due, and 0 in a session without a login, ``[S, P]``."""
    looks = np.repeat((~visits.anonymous).astype(np.float64)[:, None], len(items), axis=1)
    visit_of_user = np.full(len(state.last_focal), -1)
    visit_of_user[visits.user] = np.arange(visits.num_visits)
    user, item = state.needs.due(day, visit_of_user >= 0)
    column = np.full(len(state.stock), -1)
    column[items] = np.arange(len(items))
    here = column[item] >= 0
    looks[visit_of_user[user[here]], column[item[here]]] *= 1 - MECHANICS.buy_again
    return looks


def _leaf_shares(world: World, state: State, visits: Visits, found: Floats) -> tuple[Floats, Floats]:
    """Return where a fresh session turns to, and the chance that it goes on where the last one was, ``[S, L]`` both."""
    items, by_message = world.items, visits.touch - campaigns.FIRST_MESSAGE_CHANNEL
    fresh = choice.leaf_probabilities(items, visits.taste, found)
    department = np.array([campaign.department for campaign in world.campaigns])
    came = np.flatnonzero(by_message >= 0)
    fresh[came] *= items.department == department[by_message[came]][:, None]
    fresh /= fresh.sum(axis=1, keepdims=True)
    last = state.last_focal[visits.user]
    goes_on = np.zeros_like(fresh)
    may = np.flatnonzero((last >= 0) & (by_message < 0))
    goes_on[may, last[may]] = MECHANICS.focal_stay
    return fresh, goes_on
