"""The shop, day after day."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from features import columns as c
from features.sources.synthetic import calendar, campaigns, choice
from features.sources.synthetic.baskets import Baskets, fill_baskets
from features.sources.synthetic.browsing import Browsing, browse
from features.sources.synthetic.campaigns import Assignment, Campaign
from features.sources.synthetic.events import NONE, EventBook
from features.sources.synthetic.journal import DayWriter, write_messages
from features.sources.synthetic.settings import MECHANICS, Floats, Ints
from features.sources.synthetic.state import State
from features.sources.synthetic.visits import Visits, draw_visits
from features.sources.synthetic.world import World

NO_NEED = 100_000  # a day that does not come

log = logging.getLogger(__name__)

Columns = dict[str, Any]  # arrays of one length
# Called with the day, the state at its opening, and what came of it; must change nothing.
Observer = Callable[[int, State, Visits, Browsing, Baskets], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """What happened, and what was expected to.

    Args:
        events: columns of ``events.COLUMNS``, oldest first.
        exposures, sessions, purchases, coupons: columns of the same length.
        assignments: one a campaign.
        stock: units on the shelf at opening, int64 ``[D, I]``.
        sales: recent units a day at opening, the day after the last included, float32 ``[D + 1, I]``.
        rate: units expected to be wanted given the day's sessions, float32 ``[D, I]``.
        visits, expected_visits: ``[D]``.
    """

    events: dict[str, Ints]
    exposures: Columns
    sessions: Columns
    purchases: Columns
    coupons: Columns
    assignments: list[Assignment]
    stock: Ints
    sales: Floats
    rate: Floats
    visits: Ints
    expected_visits: Floats


class Simulation:
    """Runs a world once; ``observe`` may look at each day before it is carried over."""

    def __init__(self, world: World, observe: Observer | None = None) -> None:
        self._world = world
        self._observe = observe
        self._state = State.on_first_day(world.size, world.items, world.users)
        self._book = EventBook()
        self._assignments: list[Assignment] = []
        self._num_sessions = 0
        self._tables: dict[str, list[Columns]] = {"exposures": [], "sessions": [], "purchases": [], "coupons": []}
        shape = (world.size.num_days, world.items.num_items)
        self._stock = np.zeros(shape, np.int64)
        self._rate = np.zeros(shape, np.float32)
        self._sales = np.zeros((shape[0] + 1, shape[1]), np.float32)
        self._visits = np.zeros((2, shape[0]))

    def run(self) -> History:
        """Simulate every day."""
        for day in range(self._world.size.num_days):
            self._run_day(day)
        self._sales[-1] = self._state.sales
        self._refund()
        log.info("simulated %d days: %d sessions", self._world.size.num_days, self._num_sessions)
        return History(
            events=self._book.sorted(),
            **{name: _joined(blocks) for name, blocks in self._tables.items()},
            assignments=self._assignments,
            stock=self._stock,
            sales=self._sales,
            rate=self._rate,
            visits=self._visits[0].astype(np.int64),
            expected_visits=self._visits[1],
        )

    def _run_day(self, day: int) -> None:
        world, state = self._world, self._state
        rng = world.size.random(f"day {day}")
        state.stock = state.stock + state.arriving[day]
        self._stock[day], self._sales[day] = state.stock, state.sales
        in_stock = state.stock > 0
        found = choice.visibility(world.items, world.prices, day=day, sales=state.sales, in_stock=in_stock)
        for row, campaign in enumerate(world.campaigns):
            if campaign.day == day:
                self._send(row, campaign)
        active = [a for a in self._assignments if day < a.campaign.day + MECHANICS.message_days]
        visits = draw_visits(world, state, active, day=day, first=self._num_sessions, found=found, rng=rng)
        browsing = browse(world, state, visits, day=day, found=found, in_stock=in_stock, rng=rng)
        baskets = fill_baskets(world, state, visits, browsing, day=day, rng=rng)
        if self._observe:
            self._observe(day, state, visits, browsing, baskets)
        coupon = self._use_coupons(visits, baskets, day)
        DayWriter(self._book, world, visits, day).write(browsing, baskets, coupon, rng)
        self._note(day, visits, browsing, baskets)
        self._remember(day, visits, baskets, rng)

    def _send(self, row: int, campaign: Campaign) -> None:
        world, state, rng = self._world, self._state, self._world.size.random(f"campaign {row}")
        here = world.users.arrival_day < campaign.day
        reachable = here & world.consents.may_be_addressed(campaign.day) & ~state.unsubscribed
        assignment = campaigns.assign(campaign, world.users, world.items, reachable, rng)
        self._assignments.append(assignment)
        state.unsubscribed[write_messages(self._book, assignment, row, rng)] = True
        if campaign.coupon_value:
            state.coupon[assignment.reached] = row
            state.coupon_until[assignment.reached] = campaign.day + campaigns.COUPON_DAYS - 1
            self._tables["coupons"].append(
                {"user": assignment.reached, "campaign": np.full(len(assignment.reached), row)}
            )

    def _use_coupons(self, visits: Visits, baskets: Baskets, day: int) -> Ints:
        """Spend held coupons on the day's orders; return the campaign row by visit, ``NONE`` without."""
        state, used = self._state, np.full(visits.num_visits, NONE)
        orders = np.unique(baskets.visit[baskets.bought])
        user = visits.user[orders]
        held = state.coupon_until[user] >= day
        used[orders[held]] = state.coupon[user[held]]
        state.coupon_until[user[held]] = NONE
        return used

    def _note(self, day: int, visits: Visits, browsing: Browsing, baskets: Baskets) -> None:
        """Write down the day's tables and truths."""
        named = np.where(visits.anonymous, self._world.users.num_users + visits.device, visits.user)
        shown = browsing.shown_visit
        bought = baskets.bought
        self._rate[day] = baskets.rate
        self._visits[:, day] = visits.num_visits, visits.expected
        self._tables["exposures"].append(
            {
                "user": named[shown],
                "item": browsing.shown_item,
                "slot": browsing.shown_slot,
                "ts": calendar.instants_us(day, visits.start[shown] + 2),
                "propensity": browsing.shown_propensity,
            }
        )
        self._tables["sessions"].append(
            {
                "session": visits.number,
                "user": visits.user,
                "day": np.full(visits.num_visits, day),
                "focal": visits.focal,
                "touch": visits.touch,
                "anonymous": visits.anonymous,
            }
        )
        self._tables["purchases"].append(
            {
                "session": visits.number[baskets.visit[bought]],
                "user": visits.user[baskets.visit[bought]],
                "item": baskets.item[bought],
                "day": np.full(bought.sum(), day),
                "units": baskets.units[bought],
                "kind": baskets.kind[bought],
            }
        )

    def _remember(self, day: int, visits: Visits, baskets: Baskets, rng: np.random.Generator) -> None:
        """Carry the day over into the state."""
        world, state = self._world, self._state
        item, user = baskets.item[baskets.bought], visits.user[baskets.visit[baskets.bought]]
        used_up = world.items.is_consumable[item]
        wait = world.items.cycle_days[item] * np.exp(MECHANICS.cycle_noise * rng.standard_normal(len(item)))
        needed = np.where(rng.random(len(item)) < MECHANICS.habit, day + np.maximum(1, np.round(wait)), NO_NEED)
        state.needs.put(users=user[used_up], items=item[used_up], days=needed[used_up].astype(np.int64))
        durable = ~used_up
        state.owned.put(users=user[durable], items=item[durable], days=np.full(durable.sum(), day))
        state.last_focal[visits.user] = visits.focal
        units = np.bincount(item, weights=baskets.units[baskets.bought], minlength=world.items.num_items)
        state.close_day(day, world.items, units.astype(np.int64))
        self._num_sessions += visits.num_visits

    def _refund(self) -> None:
        """Send some durable items back, 5 to 15 days after they were bought."""
        world, rng = self._world, self._world.size.random("refunds")
        bought = _joined(self._tables["purchases"])
        day = bought["day"] + rng.integers(5, 16, len(bought["day"]))
        back = (rng.random(len(day)) < MECHANICS.refund) & ~world.items.is_consumable[bought["item"]]
        for when in np.unique(day[back & (day < world.size.num_days)]):
            rows = np.flatnonzero(back & (day == when))
            item, paid_on = bought["item"][rows], bought["day"][rows]
            self._book.add(
                c.REFUND,
                user=bought["user"][rows],
                ts=calendar.instants_us(when, 9 * 3600 + np.floor(rng.random(len(rows)) * 8 * 3600)),
                item=item,
                quantity=bought["units"][rows],
                price=world.prices.price[paid_on, item],
                order=bought["session"][rows],
            )


def _joined(blocks: list[Columns]) -> Columns:
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]} if blocks else {}
