"""One customer's points: earned in lots, spent oldest first, lapsing with their lot."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(kw_only=True)
class Lot:
    """Points that were earned together.

    Args:
        day: local day on which they were earned.
        earned: points of the units that were not sent back.
        left: neither spent, taken back nor lapsed.
        lapsed: points of ``earned`` that expired.
        units: units bought that were not sent back; 0 where no purchase earned the points.
        per_unit: points a unit earned, before rounding down.
    """

    day: dt.date
    earned: int
    left: int
    lapsed: int = 0
    units: int = 0
    per_unit: Fraction = Fraction(0)


@dataclass(kw_only=True)
class Account:
    """A customer's lots, oldest first, and what it owes.

    Args:
        expire_days: a lot lapses so many days after its day; 0 is never.
        balance: points that can be spent; below 0 where more was spent than is left after refunds.
        lots: all lots, spent ones included.
    """

    expire_days: int = 0
    balance: int = 0
    lots: list[Lot] = field(default_factory=list)
    _first: int = 0  # no lot before this one has points left
    _purchases: dict[str, list[tuple[str | None, Lot]]] = field(default_factory=dict)

    def earn(self, day: dt.date, points: int) -> Lot:
        """Add a lot; what is owed is paid off first."""
        owed = max(0, -self.balance)
        lot = Lot(day=day, earned=points, left=max(0, points - owed))
        self.lots.append(lot)
        self.balance += points
        return lot

    def buy(self, day: dt.date, order: str | None, item: str, *, units: int, per_unit: Fraction) -> int:
        """Earn the points of a purchase, rounded down; return them."""
        lot = self.earn(day, int(per_unit * units))
        lot.units, lot.per_unit = units, per_unit
        self._purchases.setdefault(item, []).append((order, lot))
        return lot.earned

    def refund(self, order: str | None, item: str, units: int) -> int:
        """Take back what the latest units of an order and item earned; return the points taken.

        Points that lapsed are gone already and are not taken twice. Units that no purchase is found for take nothing.
        A refund without an order goes with any order of the item.
        """
        back = 0
        for bought_in, lot in reversed(self._purchases.get(item, [])):
            if order is not None and bought_in != order:
                continue
            sent = min(units, lot.units)
            lot.units, units = lot.units - sent, units - sent
            back += self._take_back(lot, lot.earned - int(lot.per_unit * lot.units))
        return back

    def spend(self, points: int) -> bool:
        """Take points for a reward, oldest first; ``False`` and nothing where the balance does not suffice."""
        if self.balance < points:
            return False
        self._take(points)
        return True

    def lapse(self, day: dt.date) -> list[tuple[dt.date, int]]:
        """Let the lots lapse whose time has come by the opening of ``day``; return days and points, oldest first."""
        gone = []
        while (lot := self._oldest()) and (end := self.lapses_on(lot)) and end <= day:
            gone.append((end, lot.left))
            self.balance -= lot.left
            lot.lapsed, lot.left = lot.left, 0
        return gone

    def lapses_on(self, lot: Lot) -> dt.date | None:
        """Return the local day at whose opening a lot lapses, if ever."""
        return lot.day + dt.timedelta(days=self.expire_days) if self.expire_days else None

    def expiring_by(self, day: dt.date) -> int:
        """Return the points that lapse by the opening of ``day`` if nothing is spent."""
        lots = self.lots[self._first :]
        return sum(lot.left for lot in lots if (end := self.lapses_on(lot)) and end <= day)

    def _take_back(self, lot: Lot, lost: int) -> int:
        lot.earned -= lost
        gone = min(lost, lot.lapsed)
        lot.lapsed -= gone
        own = min(lost - gone, lot.left)
        lot.left, self.balance = lot.left - own, self.balance - own
        self._take(lost - gone - own)
        return lost - gone

    def _take(self, points: int) -> None:
        """Take from the oldest lots; what they do not cover is owed."""
        self.balance -= points
        while points and (lot := self._oldest()):
            taken = min(points, lot.left)
            lot.left, points = lot.left - taken, points - taken

    def _oldest(self) -> Lot | None:
        while self._first < len(self.lots) and self.lots[self._first].left == 0:
            self._first += 1
        return self.lots[self._first] if self._first < len(self.lots) else None
