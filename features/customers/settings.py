"""When a customer grows, falls silent or is lost, and what a customer is worth: sections of ``shop.yaml``."""

from __future__ import annotations

from dataclasses import dataclass

from features.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class GrowthSettings:
    """The boundaries of growth stages, in days before ``as_of`` and in days with a purchase.

    Args:
        lost_days: no purchase for longer: lost.
        silent_days: no purchase for longer: silent.
        newcomer_days: first purchase at most this many days ago.
        trend_days: length of the two windows that are compared: the latest, and the one before.
        falling_percent: fewer purchases in the latest window than so many percent of the one before: silent.
        loyal_purchases: at least so many in both windows together: loyal.
    """

    lost_days: int = 180
    silent_days: int = 60
    newcomer_days: int = 30
    trend_days: int = 90
    falling_percent: int = 50
    loyal_purchases: int = 5

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            _whole(f"growth.{name}", value, least=1)
        if self.silent_days > self.lost_days:
            raise ConfigError(
                f"growth: expected silent_days up to lost_days, found {self.silent_days} and {self.lost_days}."
            )


@dataclass(frozen=True, kw_only=True)
class ValueSettings:
    """How far ahead purchases, churn and value are expected.

    Args:
        horizon_days: of expected purchases and of churn risk.
        lifetime_days: over which purchases count for the lifetime value.
        discount_percent: that money a year from now counts less.
        tier_percents: shares of buyers, rising, that make the value tiers.
    """

    horizon_days: int = 90
    lifetime_days: int = 365
    discount_percent: int = 10
    tier_percents: tuple[int, ...] = (1, 5, 20)

    def __post_init__(self) -> None:
        _whole("value.horizon_days", self.horizon_days, least=1)
        _whole("value.lifetime_days", self.lifetime_days, least=1)
        _whole("value.discount_percent", self.discount_percent, least=0)
        shares = self.tier_percents
        for share in shares:
            _whole("value.tier_percents", share, least=1)
        if not shares or list(shares) != sorted(set(shares)) or shares[-1] >= 100:
            raise ConfigError(
                f"value.tier_percents: expected rising shares below 100 such as 1, 5, 20, found {shares}."
            )


def _whole(name: str, value: object, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name}: expected a whole number of {least} or more, found {value!r}.")
