"""A table of effects: what a report shows and a file holds."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one kind of promotion multiplies units by.

    Args:
        name: ``promotion`` for any kind; else the plan's column, with its depth where prices are cut.
        category: of the items it is about; ``None`` for the whole shop.
        uplift: units with it over units without, on the same item-days; ``None`` where it cannot be told.
        low, high: bounds of its 95% interval.
        num_item_days: item-days with it that took part.
        num_items: items of these.
        note: what to know before relying on it; empty where there is nothing.
    """

    name: str
    category: str | None
    uplift: float | None
    low: float | None
    high: float | None
    num_item_days: int
    num_items: int
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class EffectTable:
    """Effects of promotions on units.

    Args:
        rows: the whole shop first, then kinds of promotion, then categories.
        note: what holds for all of them.
    """

    rows: tuple[Effect, ...]
    note: str = ""

    def of(self, name: str, category: str | None = None) -> Effect | None:
        """Return the row of that name and category, ``None`` where there is none."""
        return next((row for row in self.rows if (row.name, row.category) == (name, category)), None)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values: ``{"note": ..., "rows": [{"name": ..., "uplift": ..., ...}, ...]}``."""
        return {"note": self.note, "rows": [dataclasses.asdict(row) for row in self.rows]}
