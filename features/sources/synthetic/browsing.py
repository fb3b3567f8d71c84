"""What a day's sessions show, view and put in the cart, and what they were expected to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.sources.synthetic import campaigns, choice
from features.sources.synthetic.settings import MECHANICS, Bools, Floats, Ints
from features.sources.synthetic.state import State
from features.sources.synthetic.visits import Visits
from features.sources.synthetic.world import World

BLOCK_CELLS = 4_000_000  # sessions x items scored at a time
MAX_VIEWS = 30
NO_SLOT, RANDOM_SLOT, BUY_AGAIN_SLOT, TOGETHER_SLOT = -1, MECHANICS.home_slots, 7, 8
SLOTS = tuple(
    [f"home_{number + 1}" for number in range(MECHANICS.home_slots)]
    + [choice.RANDOM, choice.BUY_AGAIN, choice.BOUGHT_TOGETHER]
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Browsing:
    """One day's exposures and views; ``visit`` is a row of the day's ``Visits``.

    Args:
        shown_visit, shown_item, shown_slot: exposures ``[E]``.
        shown_propensity: of the randomised slot; NaN in the shop's own slots, ``[E]``.
        visit, item, slot: views ``[N]``, in order of visit and time.
        match: taste's match with the viewed item, ``[N]``.
        cart_chance: probability of the cart for each view's (visit, item), ``[N]``.
        carted_rate: (visit, item) pairs expected to be put in the cart, by item, ``[I]``.
    """

    shown_visit: Ints
    shown_item: Ints
    shown_slot: Ints
    shown_propensity: Floats
    visit: Ints
    item: Ints
    slot: Ints
    match: Floats
    cart_chance: Floats
    carted_rate: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Shelf:
    """What is the same for all of a day's sessions; arrays ``[I]``."""

    day: int
    found: Floats
    log_ratio: Floats
    in_stock: Bools
    best: Floats
    random: Floats

    @classmethod
    def on_day(cls, world: World, state: State, *, day: int, found: Floats, in_stock: Bools) -> Shelf:
        """Lay out the day's prices and home page."""
        available = np.isfinite(found) & in_stock
        return cls(
            day=day,
            found=found,
            log_ratio=world.prices.log_ratio[day],
            in_stock=in_stock,
            best=choice.best_seller_shares(state.sales, available),
            random=choice.random_shares(state.sales, available),
        )

    def of(self, items: Ints) -> Shelf:
        """Return the shelf of some items alone."""
        names = ("found", "log_ratio", "in_stock", "best", "random")
        return Shelf(day=self.day, **{name: getattr(self, name)[items] for name in names})


def browse(
    world: World, state: State, visits: Visits, *, day: int, found: Floats, in_stock: Bools, rng: np.random.Generator
) -> Browsing:
    """Draw a day's exposures and views, block by block."""
    shelf = Shelf.on_day(world, state, day=day, found=found, in_stock=in_stock)
    extra = extra_log_odds(world, state, visits, day)
    rows = max(1, BLOCK_CELLS // world.items.num_items)
    every = np.arange(visits.num_visits)
    blocks = [
        _browse_block(world, state, visits, shelf=shelf, extra=extra, rows=block, rng=rng)
        for block in np.split(every, range(rows, visits.num_visits, rows))
    ]
    joined = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in _JAGGED}
    return Browsing(**joined, carted_rate=np.sum([block.carted_rate for block in blocks], axis=0))


_JAGGED = tuple(name for name in Browsing.__dataclass_fields__ if name != "carted_rate")


def extra_log_odds(world: World, state: State, visits: Visits, day: int) -> Floats:
    """Return what the customer, the channel and a coupon add to each visit's log-odds of the cart, ``[S]``."""
    channel = np.minimum(visits.touch, campaigns.FIRST_MESSAGE_CHANNEL)
    holds_coupon = state.coupon_until[visits.user] >= day
    return (
        world.users.conversion[visits.user]
        + campaigns.CHANNEL_LOG_ODDS[channel]
        + MECHANICS.coupon_log_odds * holds_coupon
    ).astype(np.float32)


def _browse_block(
    world: World, state: State, visits: Visits, *, shelf: Shelf, extra: Floats, rows: Ints, rng: np.random.Generator
) -> Browsing:
    users, user = world.users, visits.user[rows]
    match, weight = choice.item_weights(world.items, visits.taste[rows], users.price_preference[user], shelf.found)
    view = choice.with_focus(world.items, weight, visits.focal[rows])
    odds = choice.cart_log_odds(match, shelf.log_ratio, users.price_sensitivity[user][:, None], extra[rows][:, None])
    discourage_owned(world, state, user, shelf.day, odds)
    chance = choice.sigmoid(odds) * ~visits.anonymous[rows][:, None]
    home = np.flatnonzero(visits.home[rows])
    shown, propensity = _home_page(shelf, len(home), rng)
    clicked = _clicks(match[home[:, None], shown], rng)
    browsed_row, browsed_item = _draw_views(view, users.view_stop[user], rng)
    row = np.concatenate([np.broadcast_to(home[:, None], shown.shape)[clicked], browsed_row])
    item = np.concatenate([shown[clicked], browsed_item])
    slot = np.concatenate([np.nonzero(clicked)[1], np.full(len(browsed_row), NO_SLOT)])
    order = np.argsort(row, kind="stable")
    row, item, slot = row[order], item[order], slot[order]
    return Browsing(
        shown_visit=np.repeat(rows[home], shown.shape[1]),
        shown_item=shown.ravel(),
        shown_slot=np.tile(np.arange(shown.shape[1]), len(home)),
        shown_propensity=propensity.ravel(),
        visit=rows[row],
        item=item,
        slot=slot,
        match=match[row, item],
        cart_chance=chance[row, item] * shelf.in_stock[item],
        carted_rate=carted_rate(
            shelf, view=view, match=match, chance=chance, stop=users.view_stop[user], home=visits.home[rows]
        ),
    )


def discourage_owned(world: World, state: State, user: Ints, day: int, odds: Floats) -> None:
    """Lower the log-odds ``[S, I]`` of durable items that each row's customer owns, in place."""
    row_of_user = np.full(world.users.num_users, -1)
    row_of_user[user] = np.arange(len(user))
    owner, item = state.owned.due(day, row_of_user >= 0)
    odds[row_of_user[owner], item] += np.float32(np.log(MECHANICS.owned_factor))


def _home_page(shelf: Shelf, num_pages: int, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """Return the items of each page ``[H, slots]``, and propensities (NaN in the shop's own slots)."""
    best = rng.choice(len(shelf.best), (num_pages, MECHANICS.home_slots), p=shelf.best)
    randomised = rng.choice(len(shelf.random), (num_pages, 1), p=shelf.random)
    propensity = np.concatenate([np.full(best.shape, np.nan), shelf.random[randomised]], axis=1)
    return np.concatenate([best, randomised], axis=1), propensity


def _clicks(match: Floats, rng: np.random.Generator) -> Bools:
    looked = rng.random(match.shape) < choice.examined()
    return looked & (rng.random(match.shape) < choice.click_probability(match))


def _draw_views(view: Floats, stop: Floats, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Draw each session's views; row and item, both ``[N]``.

    Rows of cumulated probabilities, row number added, make one rising sequence that one search can serve.
    """
    count = np.minimum(rng.geometric(stop), MAX_VIEWS)
    row = np.repeat(np.arange(len(view)), count)
    cumulated = np.cumsum(view, axis=1, dtype=np.float64)
    cumulated /= cumulated[:, -1:]
    cumulated += np.arange(len(view))[:, None]
    position = np.searchsorted(cumulated.ravel(), row + rng.random(len(row)), side="right")
    return row, np.clip(position - row * view.shape[1], 0, view.shape[1] - 1)


def carted_rate(shelf: Shelf, *, view: Floats, match: Floats, chance: Floats, stop: Floats, home: Bools) -> Floats:
    """Return the lines that would be put in the cart if every shelf were full, ``[I]`` of the shelf's items."""
    seen = choice.seen_in_session(view, stop)
    clicked = choice.clicked_in_session(match[home], shelf.best, shelf.random)
    seen[home] = 1 - (1 - seen[home]) * (1 - clicked)
    rate = np.einsum("si,si->i", seen, chance, dtype=np.float64)
    return np.where(shelf.in_stock, rate, rate * np.exp(-MECHANICS.empty_shelf))
