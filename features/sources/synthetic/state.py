"""What a day leaves to the next: stock, needs, recent sales, coupons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.sources.synthetic.choice import on_sale
from features.sources.synthetic.items import Items
from features.sources.synthetic.settings import MECHANICS, Bools, Floats, Ints, Size
from features.sources.synthetic.users import Users

EXPECTED_UNITS_PER_VISIT = 0.5  # only to fill the shelves on the first day
ROOM_DAYS = 7  # an order fills the shelf for about this many days after it arrives


class Ledger:
    """A sorted map from (user, item) to a day.

    Example::

        ledger.put(users=[3], items=[7], days=[12])
        ledger.find(users=[3, 4], items=[7, 7])     # [12, -1]
    """

    def __init__(self, num_items: int) -> None:
        self._num_items = num_items
        self._keys = np.zeros(0, np.int64)
        self._days = np.zeros(0, np.int64)

    def put(self, *, users: Ints, items: Ints, days: Ints) -> None:
        """Set days; a pair may come once only."""
        keys = np.asarray(users, np.int64) * self._num_items + items
        order = np.argsort(keys)
        keys, days = keys[order], np.asarray(days, np.int64)[order]
        at, known = self._search(keys)
        self._days[at[known]] = days[known]
        self._keys = np.insert(self._keys, at[~known], keys[~known])
        self._days = np.insert(self._days, at[~known], days[~known])

    def find(self, *, users: Ints, items: Ints) -> Ints:
        """Return the day of each pair, -1 where there is none."""
        at, known = self._search(np.asarray(users, np.int64) * self._num_items + items)
        found = np.full(len(at), -1)
        found[known] = self._days[at[known]]
        return found

    def due(self, day: int, visiting: Bools) -> tuple[Ints, Ints]:
        """Return users and items of pairs whose day has come, among the visiting users ``[U]``."""
        users = self._keys // self._num_items
        rows = np.flatnonzero((self._days <= day) & visiting[users])
        return users[rows], self._keys[rows] % self._num_items

    def _search(self, keys: Ints) -> tuple[Ints, Bools]:
        at = np.searchsorted(self._keys, keys)
        inside = at < len(self._keys)
        known = np.zeros(len(keys), bool)
        known[inside] = self._keys[at[inside]] == keys[inside]
        return at, known


@dataclass(kw_only=True, eq=False)
class State:
    """The shop between two days.

    Args:
        stock: units on the shelf, int64 ``[I]``.
        arriving: units that arrive on each day to come, int64 ``[T, I]``.
        sales: recent units a day, float64 ``[I]``.
        needs: day on which each customer needs a consumable again.
        owned: day on which each customer bought a durable item.
        last_focal: leaf category of each customer's last session, -1 before the first, int64 ``[U]``.
        coupon: campaign row of the coupon that each customer holds, -1 without, int64 ``[U]``.
        coupon_until: last day on which it counts, int64 ``[U]``.
        unsubscribed: bool ``[U]``.
    """

    stock: Ints
    arriving: Ints
    sales: Floats
    needs: Ledger
    owned: Ledger
    last_focal: Ints
    coupon: Ints
    coupon_until: Ints
    unsubscribed: Bools

    @classmethod
    def on_first_day(cls, size: Size, items: Items, users: Users) -> State:
        """Fill the shelves by base popularity."""
        weight = np.exp(items.appeal.astype(np.float64))
        units = EXPECTED_UNITS_PER_VISIT * float(users.own_rate(0).sum())
        sales = weight / weight.sum() * units
        filled = np.ceil(sales * (items.lead_time_days + ROOM_DAYS)).astype(np.int64) + 4
        nobody = np.full(size.num_users, -1)
        return cls(
            stock=filled,
            arriving=np.zeros((size.num_days + 40, size.num_items), np.int64),
            sales=sales,
            needs=Ledger(size.num_items),
            owned=Ledger(size.num_items),
            last_focal=nobody.copy(),
            coupon=nobody.copy(),
            coupon_until=nobody.copy(),
            unsubscribed=np.zeros(size.num_users, bool),
        )

    def close_day(self, day: int, items: Items, sold: Ints) -> None:
        """Take what was sold off the shelf, remember it, and order what runs low.

        An order is placed when stock plus what is on its way falls to the units of the lead time and three days.
        """
        self.stock = self.stock - sold
        self.sales = MECHANICS.sales_memory * self.sales + (1 - MECHANICS.sales_memory) * sold
        coming = self.arriving[day + 1 :].sum(axis=0)
        reorder = np.ceil(self.sales * (items.lead_time_days + 3)) + 2
        low = (self.stock + coming <= reorder) & on_sale(items, day)
        order = reorder + np.ceil(self.sales * ROOM_DAYS) + 2 - self.stock - coming
        rows = np.flatnonzero(low)
        self.arriving[day + 1 + items.lead_time_days[rows], rows] += order[rows].astype(np.int64)


def within_stock(item: Ints, units: Ints, at: Floats | Ints, stock: Ints) -> npt.NDArray[np.bool_]:
    """Return which lines can be served, first come first served.

    A line that would overdraw the shelf is refused; a later, smaller one is then refused too.

    >>> one = np.ones(3, int)
    >>> within_stock(np.array([0, 0, 0]), one, np.array([30, 10, 20]), np.array([2])).tolist()
    [False, True, True]
    """
    order = np.lexsort((np.arange(len(item)), at, item))
    ordered, counted = item[order], np.cumsum(units[order])
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    before = np.repeat(counted[starts] - units[order][starts], np.diff(np.append(starts, len(ordered))))
    served = np.zeros(len(item), bool)
    served[order] = counted - before <= stock[ordered]
    return served
