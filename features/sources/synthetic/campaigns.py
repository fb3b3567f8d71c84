"""Campaigns and advertising, with the effects that are planted in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.sources.synthetic.choice import sigmoid
from features.sources.synthetic.items import Items
from features.sources.synthetic.settings import MECHANICS, Bools, Floats, Ints, Size
from features.sources.synthetic.users import Users

MEDIA: Final = ("email", "push", "sms")
MESSAGE_COST: Final = {"email": 0.2, "push": 0.1, "sms": 4.0}  # minor units
COUPON_DAYS: Final = 14
SEND_HOUR: Final = 20  # of the evening before a campaign's first day, so that nobody clicks before

# channel: source, medium, and what a session that comes through it adds to the cart's log-odds
CHANNELS: Final[dict[str, tuple[str | None, str | None, float]]] = {
    "direct": (None, None, 0.0),
    "organic_search": ("searchbird", "organic", 0.0),
    "referral": ("pricefriend", "referral", 0.15),
    "paid_search": ("searchbird", "cpc", 0.3),
    "paid_social": ("pinlane", "paid_social", -0.3),
    "email": ("newsletter", "email", 0.0),
    "push": ("app", "push", 0.0),
    "sms": ("sms", "sms", 0.0),
}
CHANNEL_NAMES: Final = tuple(CHANNELS)
CHANNEL_LOG_ODDS: Final = np.array([effect for _, _, effect in CHANNELS.values()])
DIRECT, ORGANIC, REFERRAL, PAID_SEARCH, PAID_SOCIAL = range(5)
FIRST_MESSAGE_CHANNEL: Final = 5
PAID: Final = (PAID_SEARCH, PAID_SOCIAL)
PAID_VISITS: Final = {PAID_SEARCH: 0.012, PAID_SOCIAL: 0.010}  # visits a day and customer at reference spend


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """One message to many customers.

    Args:
        campaign_id: ``c001`` upwards.
        day: first day on which it works; it is sent on the evening before.
        medium: row of ``MEDIA``.
        department: what it is about; whoever comes through it lands there.
        randomised: half of the audience is held out at random; otherwise taste and activity decide who gets it.
        strength: extra visits on the first day of a customer of mean responsiveness; 0 is a dud.
        coupon_value: minor units; 0 where there is none.
    """

    campaign_id: str
    day: int
    medium: int
    department: int
    randomised: bool
    strength: float
    coupon_value: int

    @property
    def coupon_id(self) -> str:
        """Id of its coupon."""
        return f"k{self.campaign_id[1:]}"

    def extra_visits(self, day: int) -> float:
        """Extra visits a day of a customer of mean responsiveness; half as many each second day."""
        age = day - self.day
        return self.strength * 0.5 ** (age / 2) if 0 <= age < MECHANICS.message_days else 0.0


def draw_campaigns(size: Size, items: Items) -> list[Campaign]:
    """Draw a campaign every ten days: randomised and confounded in turn, every sixth pair a dud."""
    rng = size.random("campaigns")
    days = range(10, size.num_days - MECHANICS.message_days, 10)
    return [
        Campaign(
            campaign_id=f"c{number + 1:03d}",
            day=day,
            medium=number // 2 % len(MEDIA),
            department=int(rng.integers(items.department.max() + 1)),
            randomised=number % 2 == 0,
            strength=0.0 if number % 12 in (4, 5) else float(rng.uniform(0.06, 0.14)),
            coupon_value=int(rng.integers(2, 6)) * 100 if number % 4 in (2, 3) else 0,
        )
        for number, day in enumerate(days)
    ]


def propensity(campaign: Campaign, users: Users, items: Items) -> Floats:
    """Probability that a member of the audience is written to, ``[U]``."""
    if campaign.randomised:
        return np.full(users.num_users, 0.5)
    leaves = items.centroids[items.department == campaign.department]
    liking = (users.taste_at(campaign.day) @ leaves.T).mean(axis=1)
    liking = (liking - liking.mean()) / max(float(liking.std()), 1e-9)
    return np.clip(sigmoid(-0.3 + 0.9 * liking + 0.9 * users.activity), 0.03, 0.97)


def draw_spend(size: Size) -> Ints:
    """Return spend by paid channel and day, minor units, int64 ``[2, D]``: flights of a week, on or off."""
    rng = size.random("spend")
    weeks = -(-size.num_days // 7)
    flight = np.where(rng.random((len(PAID), weeks)) < 0.7, rng.uniform(0.5, 2.0, (len(PAID), weeks)), 0.0)
    daily = np.repeat(flight, 7, axis=1)[:, : size.num_days] * rng.lognormal(0, 0.2, (len(PAID), size.num_days))
    return np.round(daily * reference_spend(size.num_users)).astype(np.int64)


def reference_spend(num_users: int) -> float:
    """Spend a day at which a paid channel brings its reference visits, minor units."""
    return 2.0 * num_users


def paid_visits(channel: int, spend: float, num_users: int) -> float:
    """Visits a day that advertising brings a customer of mean responsiveness: rising and saturating.

    ``reference * log(1 + spend / reference spend) / log 2``
    """
    return PAID_VISITS[channel] * float(np.log2(1 + spend / reference_spend(num_users)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Assignment:
    """Who was in a campaign's audience and who was written to.

    Args:
        campaign: the campaign.
        audience: customers who could be written to, rows ``[A]``.
        propensity: of being written to, ``[A]``.
        treated, bounced: ``[A]``; a message that bounces does nothing.
        expected_treated, expected_control: visits expected in the days that the message works, in the one case
            and in the other, ``[A]``; both are summed up as the days go by, from the same visit rates.
    """

    campaign: Campaign
    audience: Ints
    propensity: Floats
    treated: Bools
    bounced: Bools
    expected_treated: Floats
    expected_control: Floats

    @property
    def reached(self) -> Ints:
        """Customers who got the message, rows."""
        return self.audience[self.treated & ~self.bounced]

    def observe(self, rate: Floats, extra: Floats) -> None:
        """Add one day's expected visits.

        Args:
            rate: visits a day without the message, ``[U]``.
            extra: visits a day that the message would bring each customer, ``[U]``.
        """
        without = 1 - np.exp(-rate[self.audience])
        reached = 1 - np.exp(-(rate + extra)[self.audience])
        self.expected_control[:] += without
        self.expected_treated[:] += MECHANICS.bounce * without + (1 - MECHANICS.bounce) * reached


def assign(campaign: Campaign, users: Users, items: Items, reachable: Bools, rng: np.random.Generator) -> Assignment:
    """Draw who is written to among the reachable customers."""
    audience = np.flatnonzero(reachable)
    chance = propensity(campaign, users, items)[audience]
    return Assignment(
        campaign=campaign,
        audience=audience,
        propensity=chance,
        treated=rng.random(len(audience)) < chance,
        bounced=rng.random(len(audience)) < MECHANICS.bounce,
        expected_treated=np.zeros(len(audience)),
        expected_control=np.zeros(len(audience)),
    )
