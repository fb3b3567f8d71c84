"""Who comes to the shop on a day, why, when, and on which device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.sources.synthetic import calendar, campaigns, choice
from features.sources.synthetic.campaigns import Assignment
from features.sources.synthetic.settings import MECHANICS, Bools, Floats, Ints
from features.sources.synthetic.state import State
from features.sources.synthetic.world import World


@dataclass(frozen=True, kw_only=True, eq=False)
class Visits:
    """One day's ``S`` sessions, at most one a customer.

    Args:
        number: of the session, unique in the log, ``[S]``.
        user: customer row ``[S]``.
        start: seconds since local midnight, ``[S]``.
        touch: row of ``CHANNELS``, or 5 + campaign row, ``[S]``.
        device: device row ``[S]``.
        anonymous: without login, ``[S]``.
        home: opens the home page, ``[S]``.
        taste: float32 ``[S, d]``.
        focal: leaf category that the session is about, ``[S]``.
        expected: visits expected on that day over all customers.
    """

    number: Ints
    user: Ints
    start: Floats
    touch: Ints
    device: Ints
    anonymous: Bools
    home: Bools
    taste: Floats
    focal: Ints
    expected: float

    @property
    def num_visits(self) -> int:
        """S."""
        return len(self.user)

    @property
    def from_message(self) -> Bools:
        """Whether a message brought the customer, ``[S]``."""
        return self.touch >= campaigns.FIRST_MESSAGE_CHANNEL


def draw_visits(
    world: World,
    state: State,
    active: list[Assignment],
    *,
    day: int,
    first: int,
    found: Floats,
    rng: np.random.Generator,
) -> Visits:
    """Draw a day's sessions; ``active`` campaigns also learn what they would have brought.

    Args:
        world: drawn truths.
        state: the day's opening state.
        active: campaigns whose messages still work.
        day: day number.
        first: number of the day's first session.
        found: what ``choice.visibility`` returned, ``[I]``.
        rng: the day's randomness.
    """
    rates, touches = _visit_rates(world, active, day)  # [U, causes]
    total = rates.sum(axis=1)
    chance = 1 - np.exp(-total)
    user = np.flatnonzero(rng.random(len(chance)) < chance)
    touch = _touches(world, rates[user] / total[user, None], touches, user, rng)
    taste = world.users.taste_at(day, user)
    return Visits(
        number=first + np.arange(len(user)),
        user=user,
        start=_starts(world.users.peak_hour[user], rng),
        touch=touch,
        device=_devices(world, user, rng),
        # whoever follows a message is known by it
        anonymous=(rng.random(len(user)) < MECHANICS.anonymous) & (touch < campaigns.FIRST_MESSAGE_CHANNEL),
        home=rng.random(len(user)) < MECHANICS.home_share,
        taste=taste,
        focal=_focal_leaves(world, state, user=user, touch=touch, taste=taste, found=found, rng=rng),
        expected=float(chance.sum()),
    )


def _visit_rates(world: World, active: list[Assignment], day: int) -> tuple[Floats, list[int]]:
    """Return visits a day by cause, and each cause's touch: own accord first, then advertising, then messages."""
    users = world.users
    own = users.own_rate(day)
    ready = np.divide(own, users.visit_rate) * users.responsiveness  # lapsed customers hardly answer either
    causes, touches = [own * calendar.traffic(day)], [campaigns.DIRECT]
    for row, channel in enumerate(campaigns.PAID):
        causes.append(campaigns.paid_visits(channel, world.spend[row, day], users.num_users) * ready)
        touches.append(channel)
    without = np.sum(causes, axis=0)
    for assignment in active:
        extra = assignment.campaign.extra_visits(day) * ready
        assignment.observe(without, extra)
        reached = np.zeros(users.num_users)
        reached[assignment.reached] = extra[assignment.reached]
        causes.append(reached)
        touches.append(campaigns.FIRST_MESSAGE_CHANNEL + world.campaigns.index(assignment.campaign))
    return np.stack(causes, axis=1), touches


def _touches(world: World, share: Floats, touches: list[int], user: Ints, rng: np.random.Generator) -> Ints:
    drawn = np.asarray(touches)[draw_columns(share, rng)]
    # Of their own accord: the keener the customer, the likelier straight to the shop.
    straight = rng.random(len(user)) < choice.sigmoid(0.3 + 0.9 * world.users.activity[user])
    by_search = rng.random(len(user)) < 0.75
    otherwise = np.where(by_search, campaigns.ORGANIC, campaigns.REFERRAL)
    return np.where((drawn == campaigns.DIRECT) & ~straight, otherwise, drawn)


def _starts(peak_hour: Ints, rng: np.random.Generator) -> Floats:
    hour = rng.choice(24, len(peak_hour), p=calendar.HOUR_SHARE)
    at_peak = rng.random(len(peak_hour)) < 0.4
    return np.where(at_peak, peak_hour, hour) * 3600.0 + np.floor(rng.random(len(peak_hour)) * 3600)


def _devices(world: World, user: Ints, rng: np.random.Generator) -> Ints:
    kind = draw_columns(world.devices.share[user], rng)
    return world.devices.of_user[user, kind]


def _focal_leaves(
    world: World, state: State, *, user: Ints, touch: Ints, taste: Floats, found: Floats, rng: np.random.Generator
) -> Ints:
    share = choice.leaf_probabilities(world.items, taste, found)
    for row, campaign in enumerate(world.campaigns):
        came = touch == campaigns.FIRST_MESSAGE_CHANNEL + row
        if came.any():
            share[came] *= world.items.department == campaign.department
    share /= share.sum(axis=1, keepdims=True)
    fresh = draw_columns(share, rng)
    last = state.last_focal[user]
    stays = (rng.random(len(user)) < MECHANICS.focal_stay) & (last >= 0) & (touch < campaigns.FIRST_MESSAGE_CHANNEL)
    return np.where(stays, last, fresh)


def draw_columns(share: Floats, rng: np.random.Generator) -> Ints:
    """Draw one column a row from rows of probabilities ``[n, m]``; never a column of probability 0."""
    cumulated = np.cumsum(share, axis=1)
    point = rng.random(len(share))[:, None] * cumulated[:, -1:]
    return (cumulated <= point).sum(axis=1)
