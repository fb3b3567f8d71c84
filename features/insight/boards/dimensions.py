"""What figures may be cut by: columns of the log, of items and of customers, and times."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from features import columns as c
from features.errors import ConfigError, did_you_mean
from features.insight.cuts import CUTS
from features.tables.sql import run

_DAYS: Final = "CAST(floor(unix_micros(CAST(e.local_day AS TIMESTAMP)) / 86400000000) AS BIGINT)"
# 1970-01-01 was a Thursday.
TIMES: Final = {
    "day": "CAST(e.local_day AS DATE)",
    "week": "CAST(date_trunc('week', e.local_day) AS DATE)",
    "month": "CAST(date_trunc('month', e.local_day) AS DATE)",
    "weekday": f"({_DAYS} + 3) % 7 + 1",
    "hour": "CAST(e.local_hour AS BIGINT)",
}
OF_ITEMS: Final = {c.CATEGORY: "split_part(i.category, '/', 1)", c.BRAND: "i.brand"}
# Segments of the customer table; what customers were tagged with from outside is theirs to cut by too.
SEGMENTS: Final = ("growth_stage", "lifecycle", "rfm_segment", "value_tier", "membership", "favourite_category",
                   "best_medium", "best_theme", "best_promotion", "last_region")  # fmt: skip
TAG: Final = "tag_"


@dataclass(frozen=True, kw_only=True)
class Dimensions:
    """The cuts that a shop's tables offer.

    Args:
        of_events: columns of the log.
        of_customers: columns of the customer table that hold a segment.
    """

    of_events: Collection[str]
    of_customers: Collection[str] = ()

    @classmethod
    def of(cls, log_columns: Collection[str], customer_columns: Collection[str] = ()) -> Dimensions:
        """Return what columns offer."""
        segments = [name for name in customer_columns if name in SEGMENTS or name.startswith(TAG)]
        return cls(of_events=[name for name in CUTS if name in log_columns], of_customers=segments)

    @property
    def names(self) -> list[str]:
        """All of them."""
        return list(dict.fromkeys([*TIMES, *OF_ITEMS, *self.of_events, *self.of_customers]))

    def check(self, name: object, *, where: str) -> str:
        """Return ``name``, which can be cut by.

        Raises:
            ConfigError: it cannot.
        """
        if not isinstance(name, str) or name not in self.names:
            hint = did_you_mean(str(name), self.names)
            raise ConfigError(f"{where}: expected a column to cut by ({', '.join(self.names)}), found {name!r}.{hint}")
        return name

    def attach(self, rows: Any, by: Sequence[str], *, items: Any = None, customers: Any = None) -> Any:
        """Return the rows with one column ``by_N`` for each dimension.

        Args:
            rows: of the log.
            by: names that ``check`` let through.
            items: the contract's items; where a dimension is of them.
            customers: the customer table; where a dimension is of it.
        """
        frames = {"events": rows}
        joins = ""
        if any(name in OF_ITEMS for name in by):
            frames["items"] = items
            joins += " LEFT JOIN {items} i ON e.item_id = i.item_id"
        if any(self._is_of_customers(name) for name in by):
            frames["customers"] = customers
            joins += " LEFT JOIN {customers} u ON e.user_id = u.user_id"
        columns = "".join(f", {self._expression(name)} AS by_{place}" for place, name in enumerate(by))
        return run(f"SELECT e.*{columns} FROM {{events}} e{joins}", **frames)

    def _expression(self, name: str) -> str:
        known = TIMES | OF_ITEMS
        return known[name] if name in known else f"{'u' if self._is_of_customers(name) else 'e'}.{name}"

    def _is_of_customers(self, name: str) -> bool:
        return name in self.of_customers and name not in self.of_events and name not in TIMES | OF_ITEMS
