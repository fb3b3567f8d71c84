"""A day's sessions and messages written down as events."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from features import columns as c
from features.sources.synthetic import baskets as b
from features.sources.synthetic import calendar, campaigns
from features.sources.synthetic.browsing import Browsing
from features.sources.synthetic.campaigns import Assignment
from features.sources.synthetic.choice import sigmoid
from features.sources.synthetic.events import NONE, EventBook
from features.sources.synthetic.settings import MECHANICS, Bools, Floats, Ints
from features.sources.synthetic.visits import Visits
from features.sources.synthetic.world import World

SEARCHES, SECTIONS, LOGINS, REMOVES, CHINESE_QUERIES, OPENS = 0.25, 0.35, 0.3, 0.15, 0.15, 0.22
FAVORITE_BASE, FAVORITE_TASTE = -4.5, 3.0


class DayWriter:
    """Writes one day into the book; everything in a session carries its user, device and source."""

    def __init__(self, book: EventBook, world: World, visits: Visits, day: int) -> None:
        self._book, self._world, self._visits, self._day = book, world, visits, day
        self._user = np.where(visits.anonymous, world.users.num_users + visits.device, visits.user)

    def write(self, browsing: Browsing, baskets: b.Baskets, coupon: Ints, rng: np.random.Generator) -> None:
        """Write a day's sessions.

        Args:
            browsing: the views.
            baskets: the cart lines.
            coupon: campaign row of the coupon used, ``NONE`` without, by visit ``[S]``.
            rng: the day's randomness.
        """
        self._openings(rng)
        self._views(browsing, baskets, rng)
        self._carts(baskets, rng)
        self._orders(baskets, coupon)

    def _add(self, event_type: str, visit: Ints, second: Floats, **columns: npt.ArrayLike) -> None:
        v = self._visits
        touch = v.touch[visit]
        self._book.add(
            event_type,
            user=self._user[visit],
            ts=calendar.instants_us(self._day, np.floor(second * 1000) / 1000),
            session=v.number[visit],
            device=v.device[visit],
            touch=touch,
            term=np.where(touch == campaigns.PAID_SEARCH, v.focal[visit], NONE),
            campaign=np.where(v.from_message[visit], touch - campaigns.FIRST_MESSAGE_CHANNEL, NONE),
            **columns,
        )

    def _openings(self, rng: np.random.Generator) -> None:
        v = self._visits
        came = np.flatnonzero(v.from_message)
        self._add("message_opened", came, v.start[came])
        self._add("message_clicked", came, v.start[came] + 1)
        draw = rng.random((4, v.num_visits))
        login = np.flatnonzero((draw[0] < LOGINS) & ~v.anonymous)
        self._add("login", login, v.start[login] + 3)
        search = np.flatnonzero(draw[1] < SEARCHES)
        chinese = draw[3][search] < CHINESE_QUERIES
        self._add(
            "search",
            search,
            v.start[search] + 6,
            query=v.focal[search] + np.where(chinese, self._world.items.num_leaves, 0),
        )
        section = np.flatnonzero(draw[2] < SECTIONS)
        self._add("view_section", section, v.start[section] + 9, section=v.focal[section])

    def _views(self, browsing: Browsing, baskets: b.Baskets, rng: np.random.Generator) -> None:
        price = self._world.prices.price[self._day]
        self._add(
            c.VIEW,
            browsing.visit,
            baskets.viewed_at,
            item=browsing.item,
            price=price[browsing.item],
            dwell_ms=(baskets.dwell * 1000).astype(np.int64),
            slot=browsing.slot,
        )
        likes = rng.random(len(browsing.item)) < sigmoid(FAVORITE_BASE + FAVORITE_TASTE * browsing.match)
        rows = np.flatnonzero(likes & ~self._visits.anonymous[browsing.visit])
        at = baskets.viewed_at[rows] + 0.5 * baskets.dwell[rows]
        self._add(c.FAVORITE, browsing.visit[rows], at, item=browsing.item[rows], price=price[browsing.item[rows]])

    def _carts(self, baskets: b.Baskets, rng: np.random.Generator) -> None:
        price = self._world.prices.price[self._day]
        along = np.flatnonzero(baskets.kind == b.TOGETHER)
        visit, item = baskets.visit[along], baskets.item[along]
        seen_at = baskets.ends_at[visit] + b.TOGETHER_S
        self._add(c.VIEW, visit, seen_at, item=item, price=price[item], dwell_ms=3000, slot=baskets.slot[along])
        self._line(c.CART, baskets, np.arange(len(baskets.item)), baskets.carted_at)
        removed = np.flatnonzero(~baskets.wanted & (rng.random(len(baskets.item)) < REMOVES))
        self._line(c.REMOVE_FROM_CART, baskets, removed, baskets.ends_at[baskets.visit[removed]] + b.REMOVE_S)

    def _orders(self, baskets: b.Baskets, coupon: Ints) -> None:
        visit = np.unique(baskets.visit[baskets.wanted])
        self._add(c.CHECKOUT, visit, baskets.ends_at[visit] + b.CHECKOUT_S, order=self._visits.number[visit])
        bought = np.flatnonzero(baskets.bought)
        visit = baskets.visit[bought]
        order, used = self._visits.number[visit], coupon[visit]
        self._line(c.PURCHASE, baskets, bought, baskets.ends_at[visit] + b.PAY_S, order=order, coupon=used)

    def _line(self, event_type: str, baskets: b.Baskets, rows: Ints, second: Floats, **columns: Ints) -> None:
        item = baskets.item[rows]
        self._add(
            event_type,
            baskets.visit[rows],
            second,
            item=item,
            price=self._world.prices.price[self._day, item],
            quantity=baskets.units[rows],
            slot=baskets.slot[rows],
            **columns,
        )


def write_messages(book: EventBook, assignment: Assignment, row: int, rng: np.random.Generator) -> Ints:
    """Write what becomes of a campaign's messages from the evening on; return who unsubscribes.

    Args:
        book: where to.
        assignment: who was written to.
        row: of the campaign.
        rng: the day's randomness.
    """
    day, touch = assignment.campaign.day - 1, campaigns.FIRST_MESSAGE_CHANNEL + row
    sent_at = campaigns.SEND_HOUR * 3600.0

    def add(event_type: str, user: Ints, second: Floats) -> None:
        book.add(event_type, user=user, ts=calendar.instants_us(day, second), touch=touch, campaign=row)

    def some(user: Ints, share: float) -> Ints:
        return user[_share(len(user), share, rng)]

    sent, reached = assignment.audience[assignment.treated], assignment.reached
    bounced = assignment.audience[assignment.treated & assignment.bounced]
    add("message_sent", sent, np.full(len(sent), sent_at))
    add("message_bounced", bounced, np.full(len(bounced), sent_at + 40))
    add("message_delivered", reached, np.full(len(reached), sent_at + 60))
    opened = some(reached, OPENS)
    add("message_opened", opened, sent_at + 600 + np.floor(rng.exponential(4 * 3600, len(opened))).clip(0, 15 * 3600))
    leaves = some(reached, MECHANICS.unsubscribe)
    add("message_unsubscribed", leaves, np.full(len(leaves), sent_at + 17 * 3600))
    return leaves


def _share(count: int, share: float, rng: np.random.Generator) -> Bools:
    return rng.random(count) < share
