"""Prices day by day, and the promotions that are announced ahead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.sources.synthetic.items import Items
from features.sources.synthetic.settings import PLANNED_DAYS, Bools, Floats, Ints, Size

WEEK = 7
ANNOUNCED_AHEAD_DAYS = 10  # before the Monday on which a promotion starts
DISCOUNTS = np.array([0.1, 0.2, 0.3], dtype=np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Prices:
    """Prices over the log's days and ``PLANNED_DAYS`` more, ``T`` in all.

    Args:
        price: what a unit costs, minor units, int32 ``[T, I]``.
        discount: share taken off by a promotion, float32 ``[T, I]``.
        display: whether the promoted item is on display, bool ``[T, I]``.
        log_ratio: log(price / base price), float32 ``[T, I]``; what price-sensitive customers answer to.
    """

    price: Ints
    discount: Floats
    display: Bools
    log_ratio: Floats


def draw_prices(size: Size, items: Items) -> Prices:
    """Draw one price rise for a fifth of the items, and promotions that last from Monday to Sunday."""
    rng = size.random("prices")
    num_days = size.num_days + PLANNED_DAYS
    weeks = -(-num_days // WEEK)
    shape = (weeks, items.num_items)
    promoted = rng.random(shape) < 0.06
    discount = np.where(promoted, DISCOUNTS[rng.integers(3, size=shape)], 0.0).astype(np.float32)
    display = promoted & (rng.random(shape) < 0.5)
    rises = np.where(rng.random(items.num_items) < 0.2, rng.integers(1, num_days, items.num_items), num_days)
    regular = items.base_price * np.where(np.arange(num_days)[:, None] >= rises, 1.06, 1.0)
    week = np.arange(num_days) // WEEK
    price = np.maximum(1, np.round(regular * (1 - discount[week]))).astype(np.int32)
    return Prices(
        price=price,
        discount=discount[week],
        display=display[week],
        log_ratio=np.log(price / items.base_price).astype(np.float32),
    )


def announced_day(day: Ints) -> Ints:
    """Day on which a promotion that covers ``day`` was announced.

    >>> announced_day(np.array([0, 6, 7])).tolist()
    [-10, -10, -3]
    """
    return np.asarray(day) // WEEK * WEEK - ANNOUNCED_AHEAD_DAYS
