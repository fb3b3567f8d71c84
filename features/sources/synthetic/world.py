"""Everything that is true of one shop before its first day."""

from __future__ import annotations

from dataclasses import dataclass

from features.sources.synthetic.campaigns import Campaign, draw_campaigns, draw_spend
from features.sources.synthetic.identities import Consents, Devices, draw_consents, draw_devices
from features.sources.synthetic.items import Items, draw_items
from features.sources.synthetic.prices import Prices, draw_prices
from features.sources.synthetic.settings import Ints, Size
from features.sources.synthetic.users import Users, draw_users


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """The drawn truths.

    Args:
        size: the arguments.
        items, users, prices, devices, consents: see their types.
        campaigns: in order of their day.
        spend: by paid channel and day, minor units, int64 ``[2, D]``.
    """

    size: Size
    items: Items
    users: Users
    prices: Prices
    devices: Devices
    consents: Consents
    campaigns: list[Campaign]
    spend: Ints


def draw_world(size: Size) -> World:
    """Draw each part from its own stream of randomness."""
    items = draw_items(size)
    users = draw_users(size, items)
    return World(
        size=size,
        items=items,
        users=users,
        prices=draw_prices(size, items),
        devices=draw_devices(size),
        consents=draw_consents(size, users),
        campaigns=draw_campaigns(size, items),
        spend=draw_spend(size),
    )
