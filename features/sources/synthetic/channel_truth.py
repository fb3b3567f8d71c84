"""What each channel truly brings a simulated shop: the same world run again without it.

Visits come from causes that the generator states: own accord, each paid channel, each message. Taking a channel away
takes its cause away (spend of 0, or messages that bring nobody and hold no coupon); its visits are lost unless another
cause would have brought the customer on that day, and what is bought, needed again or owned later changes with them. Both
worlds draw from the same streams. Visits are exact for the messages that were sent; orders are what the sessions that came
were expected to order, averaged over several runs.

Direct, organic search and referral are ways in which customers come of their own accord. No cause of the generator is
taken away with them: their contribution is 0, and that of own accord is all that is left.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd

from features import columns as c
from features.errors import ConfigError, did_you_mean
from features.sources.synthetic import baskets as b
from features.sources.synthetic import campaigns
from features.sources.synthetic.browsing import Browsing
from features.sources.synthetic.choice import on_sale
from features.sources.synthetic.settings import MECHANICS, Floats
from features.sources.synthetic.simulation import Simulation
from features.sources.synthetic.state import State
from features.sources.synthetic.visits import Visits
from features.sources.synthetic.world import World

PAID_CHANNELS: Final = tuple(campaigns.CHANNEL_NAMES[row] for row in campaigns.PAID)
CAUSES: Final = (*PAID_CHANNELS, *campaigns.MEDIA)
MEASURES: Final = ("visits", "orders", "revenue")


def without_channel(world: World, channel: str) -> World:
    """Return the world in which a channel brings nobody.

    Args:
        world: as it was drawn.
        channel: of ``CAUSES``.

    Raises:
        ConfigError: it is no cause of visits.
    """
    if channel not in CAUSES:
        raise ConfigError(
            f"channel: expected one of {', '.join(CAUSES)}, found {channel!r}.{did_you_mean(channel, CAUSES)}"
        )
    if channel in PAID_CHANNELS:
        spend = world.spend.copy()
        spend[PAID_CHANNELS.index(channel)] = 0
        return dataclasses.replace(world, spend=spend)
    medium = campaigns.MEDIA.index(channel)
    silent = [
        dataclasses.replace(one, strength=0.0, coupon_value=0) if one.medium == medium else one
        for one in world.campaigns
    ]
    return dataclasses.replace(world, campaigns=silent)


def expected_totals(world: World) -> Floats:
    """Return visits, orders and revenue (minor units, wanted with what was on the shelf) of one run, ``[3]``."""
    watch = _Watch(world=world)
    history = Simulation(world, observe=watch).run()
    price = world.prices.price[: world.size.num_days]
    return np.array([history.expected_visits.sum(), watch.orders, (history.rate * price).sum()])


def true_contributions(world: World, *, num_runs: int) -> pd.DataFrame:
    """Return what the shop would lose without each channel, as a mean over runs of the same world.

    Args:
        world: its customers, items, prices, spend and campaigns stay; days and audiences are drawn anew in each run.
        num_runs: at least 2.

    Returns:
        One row a cause, and ``own accord`` for what is left: channel, then visits, orders, revenue, each with _error,
        the standard error of the mean over runs.
    """
    lost = np.zeros((num_runs, len(CAUSES) + 1, len(MEASURES)))
    for run in range(num_runs):
        again = dataclasses.replace(world, size=dataclasses.replace(world.size, seed=world.size.seed + 1_000_000 * run))
        whole = expected_totals(again)
        for row, channel in enumerate(CAUSES):
            lost[run, row] = whole - expected_totals(without_channel(again, channel))
        lost[run, -1] = whole - lost[run, :-1].sum(axis=0)
    columns: dict[str, object] = {c.CHANNEL: [*CAUSES, "own accord"]}
    for column, measure in enumerate(MEASURES):
        columns[measure] = lost[:, :, column].mean(axis=0)
        columns[f"{measure}_error"] = lost[:, :, column].std(axis=0, ddof=1) / np.sqrt(num_runs)
    return pd.DataFrame(columns)


@dataclass(kw_only=True, eq=False)
class _Watch:
    """Adds up, day by day, the chances that sessions end in an order."""

    world: World
    orders: float = field(default=0.0)

    def __call__(self, day: int, state: State, visits: Visits, browsing: Browsing, _: b.Baskets) -> None:
        key = browsing.visit * self.world.items.num_items + browsing.item
        first = np.unique(key, return_index=True)[1]  # the first view of an item decides
        missed = np.log1p(-MECHANICS.buy_given_cart * browsing.cart_chance[first])
        none = np.bincount(browsing.visit[first], weights=missed, minlength=visits.num_visits)
        due_visit, due_item = b.due_needs(state, visits, day)
        can_buy = on_sale(self.world.items, day) & (state.stock > 0)
        due = np.bincount(due_visit[can_buy[due_item]], minlength=visits.num_visits)
        self.orders += float((1 - np.exp(none) * (1 - MECHANICS.buy_again) ** due).sum())
