"""How a customer chooses: the formulas that the simulation draws from and that the oracle integrates.

S sessions (or users), I items, L leaf categories, d taste dimensions
"""

from __future__ import annotations

import numpy as np

from features.sources.synthetic.calendar import date_of
from features.sources.synthetic.items import Items
from features.sources.synthetic.prices import Prices
from features.sources.synthetic.settings import MECHANICS, Bools, Floats, Ints

BEST_SELLERS, BUY_AGAIN, BOUGHT_TOGETHER, RANDOM = "home_best_sellers", "buy_again", "bought_together", "home_random"


def sigmoid(log_odds: Floats) -> Floats:
    """``1 / (1 + exp(-x))``."""
    return 1 / (1 + np.exp(-log_odds))


def on_sale(items: Items, day: int) -> Bools:
    """Whether each item is launched and not retired, bool ``[I]``."""
    return (items.launch_day <= day) & (day < items.retire_day)


def season(items: Items, day: int) -> Floats:
    """Log-weight of the time of year, float32 ``[I]``."""
    angle = 2 * np.pi * (date_of(day).timetuple().tm_yday - items.season_day) / 365.25
    return (items.season_amplitude * np.cos(angle))[items.leaf].astype(np.float32)


def visibility(items: Items, prices: Prices, *, day: int, sales: Floats, in_stock: Bools | None = None) -> Floats:
    """Log-weight with which each item is found, before taste; ``-inf`` where not on sale, float32 ``[I]``.

    Args:
        items: the shop's items.
        prices: promotions on display are found more easily.
        day: day number.
        sales: recent units a day, ``[I]``.
        in_stock: what is on the shelf, all where left out.
    """
    heard = MECHANICS.feedback * np.log((sales + 0.02) / (sales.mean() + 0.02))
    age = day - items.launch_day
    fresh = np.where(items.launch_day > 0, MECHANICS.launch_boost * np.exp(-age / MECHANICS.launch_days), 0.0)
    shelf = 0.0 if in_stock is None else np.where(in_stock, 0.0, MECHANICS.empty_shelf)
    found = items.appeal + season(items, day) + heard + fresh + shelf + MECHANICS.display_boost * prices.display[day]
    return np.where(on_sale(items, day), found, -np.inf).astype(np.float32)


def item_weights(items: Items, taste: Floats, price_preference: Floats, found: Floats) -> tuple[Floats, Floats]:
    """Return taste's match and the unnormalised view weight, both float32 ``[S, I]``.

    Args:
        items: the shop's items.
        taste: unit vectors ``[S, d]``.
        price_preference: ``[S]``.
        found: what ``visibility`` returned, ``[I]``.
    """
    match = taste @ items.vectors.T  # [S, I]
    score = MECHANICS.taste_weight * match - price_preference[:, None] * items.price_level + found
    score -= score.max(axis=1, keepdims=True)
    return match, np.exp(score, out=score)


def leaf_probabilities(items: Items, taste: Floats, found: Floats) -> Floats:
    """Return where a fresh session turns to: probabilities of leaf categories, ``[S, L]``."""
    size = np.bincount(items.leaf, weights=np.exp(found), minlength=items.num_leaves)
    log_size = np.log(np.maximum(size, 1e-9)) * 0.5
    score = MECHANICS.focal_taste * (taste @ items.centroids.T) + log_size
    weight = np.exp(score - score.max(axis=1, keepdims=True))
    return weight / weight.sum(axis=1, keepdims=True)


def with_focus(items: Items, weight: Floats, focal: Ints) -> Floats:
    """Return view probabilities of sessions whose leaf category is known, ``[S, I]``."""
    focused = np.where(items.leaf == focal[:, None], np.float32(MECHANICS.focal_boost), np.float32(1)) * weight
    return focused / focused.sum(axis=1, keepdims=True)


def without_focus(items: Items, weight: Floats, leaf_share: Floats) -> Floats:
    """Return view probabilities where only the probabilities of the leaf category are known, ``[S, I]``.

    With ``Z`` the sum of weights, ``Z_g`` that of leaf g, ``b`` the boost and ``P(g)`` the leaf's probability::

        p(i) = w_i * ( sum_g P(g) / (Z + (b - 1) Z_g)  +  (b - 1) P(g_i) / (Z + (b - 1) Z_{g_i}) )
    """
    boost = MECHANICS.focal_boost - 1
    member = np.zeros((items.num_items, items.num_leaves), np.float32)
    member[np.arange(items.num_items), items.leaf] = 1
    of_leaf = weight @ member  # [S, L]
    ratio = leaf_share / (of_leaf.sum(axis=1, keepdims=True) + boost * of_leaf)  # [S, L]
    return weight * (ratio.sum(axis=1, keepdims=True) + boost * ratio[:, items.leaf])


def seen_in_session(view: Floats, stop: Floats) -> Floats:
    """Return the probability that a session of geometric length views an item at least once, ``[S, I]``.

    One view falls on the item with ``p``; after each view the session ends with probability ``stop``::

        P(never) = sum_n stop (1 - stop)^(n-1) (1 - p)^n = stop (1 - p) / (1 - (1 - stop)(1 - p))
    """
    missed, stop = 1 - view, stop[:, None]
    return 1 - stop * missed / (1 - (1 - stop) * missed)


def examined() -> Floats:
    """Probability that each home slot is looked at, best sellers first and the randomised slot last."""
    return 1 / (1 + MECHANICS.examine_decay * np.arange(MECHANICS.home_slots + 1))


def best_seller_shares(sales: Floats, available: Bools) -> Floats:
    """Probability with which the shop's own rule puts each item in a best-seller slot, ``[I]``."""
    weight = np.where(available, sales + 1e-3, 0.0)
    length = min(MECHANICS.home_length, int(available.sum()))
    floor = np.partition(weight, -length)[-length]
    weight = np.where(weight >= floor, weight, 0.0)
    return weight / weight.sum()


def random_shares(sales: Floats, available: Bools) -> Floats:
    """Propensity of each item in the randomised slot: half even, half by the root of sales, ``[I]``."""
    root = np.where(available, np.sqrt(sales + 1e-3), 0.0)
    return 0.5 * available / available.sum() + 0.5 * root / root.sum()


def click_probability(match: Floats) -> Floats:
    """Probability of a click on an item that is looked at."""
    return sigmoid(MECHANICS.click_base + MECHANICS.click_taste * match)


def clicked_in_session(match: Floats, best: Floats, random: Floats) -> Floats:
    """Probability that a visit to the home page views each item, ``[S, I]``."""
    look = examined()
    shown = look[:-1].sum() * best + look[-1] * random
    return np.minimum(1.0, shown).astype(np.float32) * click_probability(match)


def cart_log_odds(match: Floats, log_ratio: Floats, sensitivity: Floats, extra: Floats) -> Floats:
    """Log-odds of putting a viewed item in the cart; all arguments broadcast together."""
    return MECHANICS.cart_base + MECHANICS.cart_taste * match - sensitivity * log_ratio + extra
