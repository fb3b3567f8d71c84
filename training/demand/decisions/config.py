"""Settings of what follows from a forecast: stock decisions and alerts."""

from __future__ import annotations

from dataclasses import dataclass

from features.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class DecisionConfig:
    """How forecasts become decisions. Shares rank the shop's own items, so that none is fitted to one shop.

    Args:
        service_level: share of lead times that alerts want stock to cover; its columns are always written.
        review_days: days between two orders of an item; an order has to last the lead time and these.
        holding_share: what a unit that is left over loses, as a share of its cost: interest, storage, markdown
            (cost less salvage value). The newsvendor's critical ratio is (price - cost) / (price - cost + this x cost).
        max_stock_age_days: a count of stock older than this at the end of the log counts as unknown.
        bestseller_share: share of items, by expected units, that ``protect`` alerts watch over.
        protect_risk: ``protect`` is raised where stock runs out before a delivery ordered now with at least this chance.
        slow_share: share of items, by expected units, that may be marked down or delisted.
        riser_share: share of items, by expected gain in units, that may be called risers.
        riser_chance: a riser sells more than its recent rate with at least this chance.
        max_alerts: most alerts of each kind, the most urgent first.
        what_if: whether the part holds the network and its inputs, so that the service can answer for another plan.
    """

    service_level: float = 0.95
    review_days: int = 7
    holding_share: float = 0.25
    max_stock_age_days: int = 7
    bestseller_share: float = 0.1
    protect_risk: float = 0.5
    slow_share: float = 0.1
    riser_share: float = 0.1
    riser_chance: float = 0.9
    max_alerts: int = 200
    what_if: bool = True

    def __post_init__(self) -> None:
        for name in ("service_level", "protect_risk", "riser_chance"):
            self._expect(0 < getattr(self, name) < 1, name, "a share in (0, 1)")
        for name in ("bestseller_share", "slow_share", "riser_share"):
            self._expect(0 <= getattr(self, name) <= 1, name, "a share in [0, 1]")
        self._expect(self.review_days >= 0, "review_days", "0 or more")
        self._expect(self.holding_share > 0, "holding_share", "more than 0")
        self._expect(self.max_stock_age_days >= 0, "max_stock_age_days", "0 or more")
        self._expect(self.max_alerts >= 1, "max_alerts", "1 or more")

    def _expect(self, holds: bool, name: str, expected: str) -> None:
        if not holds:
            raise ConfigError(f"decisions.{name}: expected {expected}, found {getattr(self, name)!r}.")
