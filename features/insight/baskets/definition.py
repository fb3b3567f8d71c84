"""What counts as bought together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from features.insight.definitions import check_choice, check_whole, parsed

Of = Literal["item", "category", "brand"]
OFS: Final[tuple[Of, ...]] = get_args(Of)


@dataclass(frozen=True, kw_only=True)
class BasketDefinition:
    """What is paired.

    Args:
        of: items, the categories of items (the whole path), or brands.
        min_orders: a pair or bundle that is in fewer orders is left out.
        max_things: so many of the things that are in most orders are paired at most.
        max_order: orders of more things than this are left out: they pair everything with everything.
        false_share: rules are listed so that, of those listed, this share in percent is chance at most.
    """

    of: Of = "item"
    min_orders: int = 10
    max_things: int = 2_000
    max_order: int = 100
    false_share: int = 5

    def __post_init__(self) -> None:
        check_choice("of", self.of, OFS)
        check_whole("min_orders", self.min_orders, least=2)
        check_whole("max_things", self.max_things, least=2)
        check_whole("max_order", self.max_order, least=2)
        check_whole("false_share", self.false_share, least=1, most=50)

    @classmethod
    def parse(cls, mapping: Any, *, where: str) -> BasketDefinition:
        """Return the definition of a YAML mapping.

        Raises:
            ConfigError: a name is unknown, or a value does not fit.
        """
        return parsed(cls, mapping, where=where)
