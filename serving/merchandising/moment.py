"""The present as rules see it: an instant, and the weekday and hour of the shop's zone."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from serving.history.stored import to_instant
from serving.merchandising.rules import Edge, When

QUARTER_US: Final = 15 * 60 * 1_000_000  # zones are whole quarters of an hour apart
FOREVER: Final = 1 << 62


@dataclass(frozen=True, kw_only=True)
class Moment:
    """An instant in the shop's zone.

    Args:
        now_us: UTC microseconds.
        weekday: 0 is Monday.
        hour: 0 to 23.
    """

    now_us: int
    weekday: int
    hour: int


class ShopClock:
    """Reads weekdays and hours; those of the last quarter of an hour are kept.

    Args:
        zone: the shop's.
    """

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        self._quarter = -1
        self._local = (0, 0)

    def at(self, now_us: int) -> Moment:
        """Return the moment of an instant."""
        quarter = now_us // QUARTER_US
        if quarter != self._quarter:
            local = (to_instant(now_us) or dt.datetime.fromtimestamp(0, dt.UTC)).astimezone(self.zone)
            self._local, self._quarter = (local.weekday(), local.hour), quarter
        weekday, hour = self._local
        return Moment(now_us=now_us, weekday=weekday, hour=hour)

    def span_us(self, when: When) -> tuple[int, int]:
        """Return from which instant on, and before which, a condition may hold; its last day counts."""
        begin = 0 if when.since is None else self._edge_us(when.since, days=0)
        end = FOREVER if when.until is None else self._edge_us(when.until, days=1)
        return begin, end

    def _edge_us(self, edge: Edge, *, days: int) -> int:
        if not isinstance(edge, dt.datetime):
            edge = dt.datetime.combine(edge + dt.timedelta(days=days), dt.time(), tzinfo=self.zone)
        return (edge - dt.datetime.fromtimestamp(0, dt.UTC)) // dt.timedelta(microseconds=1)
