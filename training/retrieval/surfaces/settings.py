"""What decides which items count as bought together and which as trending."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class BoughtTogetherSettings:
    """How complements are learned from baskets.

    Args:
        max_neighbours: the longest list of an item.
        fill_to: a shorter list is filled up to here with the complements of the item's category.
        min_support: baskets that must hold both items.
        min_evidence: G² above the null; 3.84 is passed by chance in 1 pair of 20, 6.63 in 1 of 100.
        prior_baskets: the category's habits weigh as much as so many baskets of the item's own; likewise the
            shop's habits beside the category's.
        max_basket: baskets of more distinct items say little about any two of them, and are left out.
        max_visit: the same for what is viewed in one session.
    """

    max_neighbours: int = 50
    fill_to: int = 10
    min_support: int = 2
    min_evidence: float = 3.84
    prior_baskets: float = 20.0
    max_basket: int = 200
    max_visit: int = 50


@dataclass(frozen=True, kw_only=True)
class TrendingSettings:
    """What counts as recent, and against what.

    Args:
        recent_days: half-life of what counts as recent.
        usual_days: half-life of an item's own longer-run rate.
        prior_visitors: an item's growth is drawn towards none as by so many recent visitors without growth.
        max_items: the longest list of a top-level category.
    """

    recent_days: float = 7.0
    usual_days: float = 56.0
    prior_visitors: float = 5.0
    max_items: int = 200


DEFAULT_TOGETHER: Final = BoughtTogetherSettings()
DEFAULT_TREND: Final = TrendingSettings()
