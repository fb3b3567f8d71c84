"""What one synthetic shop is asked for, and the constants of its generative story."""

from __future__ import annotations

import datetime
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features import columns as c
from features.errors import ConfigError
from features.settings import ShopSettings

GENERATOR_VERSION: Final = 1
SOURCE: Final = "synthetic"
WARNING: Final = (
    "SYNTHETIC DATA: a simulation with known truths, not a real shop. Brands, titles, customers and effects are "
    "invented; a figure measured here says how well a method recovers them, not what a shop would earn."
)
FIRST_DAY: Final = datetime.date(2024, 2, 5)  # a Monday; Europe/Paris changes its clocks on day 55
PLANNED_DAYS: Final = 28  # prices and promotions are drawn this far past the last day
SHOP: Final = ShopSettings(
    name="Synthetic shop (simulated)",
    time_zone="Europe/Paris",
    currency="EUR",
    country="FR",
    event_types=(c.VIEW, c.FAVORITE, c.CART, c.PURCHASE),
)

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.object_]


@dataclass(frozen=True, kw_only=True)
class Size:
    """The four arguments that, with the generator's version, decide every byte.

    Args:
        num_users: customers, at least 20.
        num_items: items, at least 40.
        num_days: days of log, at least 28.
        seed: 0 or more.
    """

    num_users: int
    num_items: int
    num_days: int
    seed: int

    def __post_init__(self) -> None:
        for name, least in (("num_users", 20), ("num_items", 40), ("num_days", 28), ("seed", 0)):
            found = getattr(self, name)
            if found < least:
                raise ConfigError(f"synthetic shop: expected {name} of {least} or more, found {found}; ask for more.")

    def random(self, subject: str) -> np.random.Generator:
        """Return the stream of one subject: more draws in one leave the others as they were."""
        return np.random.default_rng([GENERATOR_VERSION, self.seed, zlib.crc32(subject.encode())])


@dataclass(frozen=True, kw_only=True)
class Mechanics:
    """The constants of version 1; ``docs/synthetic-shop.md`` gives the formulas they stand in.

    Args:
        taste_dims: length of taste and item vectors.
        num_leaves: leaf categories in a full-sized shop.
        zipf_exponent: item of popularity rank r has weight ``r ** -zipf_exponent``.
        taste_weight: of ``taste . item`` in the log-weight of a view.
        focal_boost: a view falls this many times more often on an item of the session's leaf category.
        focal_taste: of ``taste . leaf`` in the log-weight of a leaf category.
        focal_stay: probability that a session goes on in the leaf of the session before.
        feedback: of the log of recent sales in the log-weight of a view: the popular are found more easily.
        sales_memory: share of the sales average that a day keeps.
        launch_boost, launch_days: extra log-weight of a new item, and the days in which it fades.
        display_boost: extra log-weight of a promoted item on display.
        empty_shelf: added to the log-weight while out of stock.
        cart_base, cart_taste: log-odds of putting a viewed item in the cart: at no match, and per unit of match.
        buy_given_cart: probability that what is in the cart is bought.
        owned_factor: multiplies the odds of buying a durable item a second time.
        coupon_log_odds: added to the cart's log-odds while a coupon is held.
        habit: probability that a bought consumable will be needed again.
        cycle_noise: standard deviation of the log of (time to the next need / the item's cycle).
        buy_again: probability that a due need is met in a session.
        extra_units: mean of the Poisson number of further units of a consumable.
        home_share: share of sessions that open the home page.
        home_slots: positions of the home page's list of best sellers.
        home_length: best sellers that the list draws from.
        examine_decay: position r (0 first) is looked at with probability ``1 / (1 + examine_decay * r)``.
        click_base, click_taste: log-odds of a click on a slot that is looked at.
        view_stop: mean probability that a view is the session's last.
        anonymous: share of sessions without a login, known by device only and without a cart.
        after_lapse: multiplies the visit rate of a lapsed customer.
        message_days: days in which a message works.
        bounce, unsubscribe: shares of messages sent, and of those delivered.
        refund: share of the lines of durable items sent back.
    """

    taste_dims: int = 16
    num_leaves: int = 32
    zipf_exponent: float = 0.75
    taste_weight: float = 6.0
    focal_boost: float = 4.0
    focal_taste: float = 5.0
    focal_stay: float = 0.5
    feedback: float = 0.2
    sales_memory: float = 0.93
    launch_boost: float = 1.2
    launch_days: float = 14.0
    display_boost: float = 0.7
    empty_shelf: float = -1.5
    cart_base: float = -3.0
    cart_taste: float = 2.5
    buy_given_cart: float = 0.6
    owned_factor: float = 0.05
    coupon_log_odds: float = 0.3
    habit: float = 0.7
    cycle_noise: float = 0.25
    buy_again: float = 0.6
    extra_units: float = 0.35
    home_share: float = 0.5
    home_slots: int = 6
    home_length: int = 50
    examine_decay: float = 0.5
    click_base: float = -2.5
    click_taste: float = 3.0
    view_stop: float = 0.17
    anonymous: float = 0.06
    after_lapse: float = 0.03
    message_days: int = 7
    bounce: float = 0.03
    unsubscribe: float = 0.005
    refund: float = 0.03


MECHANICS: Final = Mechanics()
