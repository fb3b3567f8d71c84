"""The shop's customers, and what is true of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.sources.synthetic import words
from features.sources.synthetic.items import Items, unit
from features.sources.synthetic.settings import MECHANICS, Floats, Ints, Size, Texts


@dataclass(frozen=True, kw_only=True, eq=False)
class Users:
    """``U`` customers.

    Args:
        user_id, region, membership: str ``[U]``.
        taste: where taste starts and where it drifts to, unit vectors, float32 ``[U, 2, d]``.
        drift: radians a day from the one to the other, float32 ``[U]``.
        visit_rate: visits a day of their own accord, float32 ``[U]``.
        activity: standardised log of the visit rate, float32 ``[U]``.
        price_sensitivity: log-odds lost per unit of log price above the base price, float32 ``[U]``.
        price_preference: log-weight lost per standard deviation of price within a category, float32 ``[U]``.
        conversion: added to the cart's log-odds, float32 ``[U]``.
        responsiveness: to messages and advertising, mean near 1, float32 ``[U]``.
        view_stop: probability that a view is the session's last, float32 ``[U]``.
        arrival_day, lapse_day: first day as a customer, and first day as a lapsed one, int ``[U]``.
        peak_hour: favourite local hour, int ``[U]``.
    """

    user_id: Texts
    region: Texts
    membership: Texts
    taste: Floats
    drift: Floats
    visit_rate: Floats
    activity: Floats
    price_sensitivity: Floats
    price_preference: Floats
    conversion: Floats
    responsiveness: Floats
    view_stop: Floats
    arrival_day: Ints
    lapse_day: Ints
    peak_hour: Ints

    @property
    def num_users(self) -> int:
        """U."""
        return len(self.user_id)

    def taste_at(self, day: float, rows: Ints | slice = slice(None)) -> Floats:
        """Unit taste vectors of the given customers on a day, float32 ``[n, d]``."""
        angle = (self.drift[rows] * day)[:, None]
        return unit(np.cos(angle) * self.taste[rows, 0] + np.sin(angle) * self.taste[rows, 1])

    def own_rate(self, day: int) -> Floats:
        """Visits a day of their own accord, before season; 0 before arrival, nearly 0 after lapse, ``[U]``."""
        rate = np.where(day >= self.lapse_day, MECHANICS.after_lapse, 1.0) * self.visit_rate
        return np.where(day >= self.arrival_day, rate, 0.0)


def draw_users(size: Size, items: Items) -> Users:
    """Draw the customers of a shop."""
    rng, n = size.random("users"), size.num_users
    visit_rate = np.clip(rng.gamma(0.9, 0.16, n), 0.01, 0.95)
    log_rate = np.log(visit_rate)
    activity = (log_rate - log_rate.mean()) / max(log_rate.std(), 1e-9)
    arrival_day, lapse_day = _lifetimes(size, rng)
    plus = rng.random(n) < 1 / (1 + np.exp(1.5 - 1.2 * activity))
    return Users(
        user_id=np.array([f"u{number:07d}" for number in range(n)], dtype=object),
        region=np.array(words.REGIONS, dtype=object)[rng.integers(len(words.REGIONS), size=n)],
        membership=np.where(plus, "plus", "basic").astype(object),
        taste=_tastes(n, items, rng),
        drift=(rng.gamma(2.0, 0.5, n) * np.pi / 2 / 365).astype(np.float32),
        visit_rate=visit_rate.astype(np.float32),
        activity=activity.astype(np.float32),
        price_sensitivity=rng.lognormal(np.log(2.5), 0.5, n).astype(np.float32),
        price_preference=(0.15 + 0.35 * rng.standard_normal(n)).astype(np.float32),
        conversion=(0.25 * activity + 0.4 * rng.standard_normal(n)).astype(np.float32),
        responsiveness=rng.gamma(2.0, 0.5, n).astype(np.float32),
        view_stop=np.clip(rng.beta(8, 8 / MECHANICS.view_stop - 8, n), 0.08, 0.6).astype(np.float32),
        arrival_day=arrival_day,
        lapse_day=lapse_day,
        peak_hour=rng.choice([8, 12, 18, 20, 21], n),
    )


def _tastes(num_users: int, items: Items, rng: np.random.Generator) -> Floats:
    """Mix three leaf categories and something personal, twice: where taste starts and where it goes."""
    popularity = rng.dirichlet(np.full(items.num_leaves, 2.0))
    ends = []
    for _ in range(2):
        leaves = rng.choice(items.num_leaves, (num_users, 3), p=popularity)
        share = rng.dirichlet((1.5, 1.5, 1.5), num_users)
        mixed = unit((share[:, :, None] * items.centroids[leaves]).sum(axis=1))
        personal = rng.standard_normal(mixed.shape) / np.sqrt(MECHANICS.taste_dims)
        ends.append(unit(mixed + 0.6 * personal))
    return np.stack(ends, axis=1)


def _lifetimes(size: Size, rng: np.random.Generator) -> tuple[Ints, Ints]:
    # Seven customers in ten are there on day 0; a customer stays 300 days in the mean, whenever they came.
    n = size.num_users
    there = rng.random(n) < 0.7
    arrival = np.where(there, -rng.integers(1, 700, n), rng.integers(0, size.num_days, n))
    return arrival, np.maximum(arrival, 0) + 1 + np.floor(rng.exponential(300, n)).astype(np.int64)
