"""The rules of a loyalty scheme, from ``loyalty.yaml`` of the data directory.

points_per_unit: 1          points for one whole unit of the currency (100 cents of a dollar)
categories: {drinks: 2}     multipliers by category path; the longest path that an item lies in holds
events: {login: 5}          points for an event of a type, once a local day
bonuses:                    multipliers of purchases on local days, the last one included; the largest holds
  - {from: 2024-12-01, until: 2024-12-24, times: 3, name: advent}
steps:                      what can be redeemed: a purchase with the coupon spends the points
  - {points: 500, coupon: five-off, name: 5 euros off}
expire_days: 365            points lapse so many days after the day on which they were earned; 0 is never
expiring_days: 30           what counts as soon
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import yaml

from features import columns as c
from features.errors import ConfigError, did_you_mean

LOYALTY_FILE: Final = "loyalty.yaml"


@dataclass(frozen=True, kw_only=True)
class Bonus:
    """Purchases from one local day to another, both included, earn ``times`` as much."""

    start: dt.date
    until: dt.date
    times: Fraction
    name: str = "bonus"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A balance at which something can be redeemed, and the coupon whose use redeems it."""

    points: int
    coupon: str | None = None
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class LoyaltyRules:
    """How points are earned, spent and lost; amounts are exact fractions.

    Args:
        points_per_unit: points for one whole unit of the currency.
        categories: multipliers by category path.
        events: points by event type, once a local day.
        bonuses: multipliers by local day.
        steps: in order of their points.
        expire_days: points lapse so many days after the day on which they were earned; 0 is never.
        expiring_days: points that lapse within so many days are expiring soon.
    """

    points_per_unit: Fraction = Fraction(1)
    categories: Mapping[str, Fraction] = field(default_factory=dict)
    events: Mapping[str, int] = field(default_factory=dict)
    bonuses: tuple[Bonus, ...] = ()
    steps: tuple[Step, ...] = ()
    expire_days: int = 0
    expiring_days: int = 30

    @classmethod
    def load(cls, path: Path) -> LoyaltyRules:
        """Read the YAML table.

        Raises:
            ConfigError: it is no YAML, a key is unknown or a value does not fit.
        """
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: expected YAML, found something else ({error}).") from None
        _refuse_others(values, [f.name for f in dataclasses.fields(cls)], where=str(path))
        return cls.from_values(values, where=path.name)

    @classmethod
    def from_values(cls, values: Mapping[str, Any], *, where: str = LOYALTY_FILE) -> LoyaltyRules:
        """Return the rules that plain values describe, as the file has them."""
        steps = sorted((_step(value, where) for value in values.get("steps") or ()), key=lambda step: step.points)
        events = {str(key): _count(x, f"{where}: events.{key}") for key, x in (values.get("events") or {}).items()}
        for event_type in events:
            if event_type not in c.EVENT_TYPES or event_type in (c.PURCHASE, c.REFUND):
                hint = did_you_mean(event_type, c.EVENT_TYPES)
                raise ConfigError(
                    f"{where}: events: expected event types other than purchase, found {event_type!r}.{hint}"
                )
        categories = values.get("categories") or {}
        return cls(
            points_per_unit=_fraction(values.get("points_per_unit", 1), f"{where}: points_per_unit"),
            categories={str(key): _fraction(x, f"{where}: categories.{key}") for key, x in categories.items()},
            events=events,
            bonuses=tuple(_bonus(value, where) for value in values.get("bonuses") or ()),
            steps=tuple(steps),
            expire_days=_count(values.get("expire_days", 0), f"{where}: expire_days"),
            expiring_days=_count(values.get("expiring_days", 30), f"{where}: expiring_days"),
        )

    def multiplier(self, category: str | None, day: dt.date) -> Fraction:
        """Return what a purchase of an item of ``category`` on a local day is multiplied by."""
        found, path = Fraction(1), category or ""
        while path:
            if path in self.categories:
                found = self.categories[path]
                break
            path = path.rpartition("/")[0]
        times = [bonus.times for bonus in self.bonuses if bonus.start <= day <= bonus.until]
        return found * max(times, default=Fraction(1))

    def next_step(self, balance: int) -> Step | None:
        """Return the first step above a balance."""
        return next((step for step in self.steps if step.points > balance), None)


def _bonus(value: Any, where: str) -> Bonus:
    _refuse_others(value, ["from", "until", "times", "name"], where=f"{where}: bonuses")
    days = [value.get("from"), value.get("until")]
    if not all(isinstance(day, dt.date) for day in days) or days[0] > days[1]:
        raise ConfigError(f"{where}: bonuses: expected days with from <= until, found {days[0]} and {days[1]}.")
    times = _fraction(value.get("times"), f"{where}: bonuses.times")
    return Bonus(start=days[0], until=days[1], times=times, name=str(value.get("name", "bonus")))


def _step(value: Any, where: str) -> Step:
    _refuse_others(value, ["points", "coupon", "name"], where=f"{where}: steps")
    points = _count(value.get("points"), f"{where}: steps.points")
    if points == 0:
        raise ConfigError(f"{where}: steps.points: expected at least 1, found 0.")
    coupon = value.get("coupon")
    return Step(points=points, coupon=None if coupon is None else str(coupon), name=str(value.get("name", "")))


def _fraction(value: Any, where: str) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ConfigError(f"{where}: expected a number of 0 or more, found {value!r}.")
    return Fraction(str(value))


def _count(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"{where}: expected a whole number of 0 or more, found {value!r}.")
    return value


def _refuse_others(values: Any, known: list[str], *, where: str) -> None:
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected a mapping, found {type(values).__name__}.")
    for key in values:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}.{did_you_mean(str(key), known)}")
