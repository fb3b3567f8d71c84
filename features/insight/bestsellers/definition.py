"""Which items, and what is looked for in the visits that look at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from features.insight.definitions import check_whole, parsed


@dataclass(frozen=True, kw_only=True)
class BestsellerDefinition:
    """Which items, and what counts.

    Args:
        top: so many items that were in most orders.
        gap_minutes: a longer pause than this ends a visit that has no id.
        discount_percent: a price so far below the item's median price, or further, is low.
        min_visits: a sign that fewer visits show, or lack, is left out.
        false_share: signs are listed so that, of those listed, this share in percent is chance at most.
    """

    top: int = 20
    gap_minutes: int = 30
    discount_percent: int = 5
    min_visits: int = 30
    false_share: int = 5

    def __post_init__(self) -> None:
        check_whole("top", self.top, least=1)
        check_whole("gap_minutes", self.gap_minutes, least=1)
        check_whole("discount_percent", self.discount_percent, least=1, most=99)
        check_whole("min_visits", self.min_visits, least=1)
        check_whole("false_share", self.false_share, least=1, most=50)

    @classmethod
    def parse(cls, mapping: Any, *, where: str) -> BestsellerDefinition:
        """Return the definition of a YAML mapping.

        Raises:
            ConfigError: a name is unknown, or a value does not fit.
        """
        return parsed(cls, mapping, where=where)
