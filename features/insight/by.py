"""What rows are counted by: the shop as a whole, top-level categories, or items."""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

from features import columns as c
from features.errors import ConfigError

By = Literal["shop", "category", "item"]
BYS: Final[tuple[By, ...]] = get_args(By)
TOP_CATEGORY: Final = f"regexp_replace({c.CATEGORY}, '/.*', '')"


def value_sql(by: By) -> str:
    """Return SQL of what a row of ``rows_sql`` counts for: text, blank for the shop."""
    return {"shop": "''", "category": TOP_CATEGORY, "item": c.ITEM_ID}[by]


def rows_sql(by: By, condition: str) -> str:
    """Return SQL of ``FROM ... WHERE ...`` over ``{events}``, and ``{items}`` where categories are told apart.

    Rows that have no item, or an item of no category, count for the shop alone.
    """
    if by == "shop":
        return f"FROM {{events}} WHERE {condition}"
    if by == "item":
        return f"FROM {{events}} WHERE {c.ITEM_ID} IS NOT NULL AND {condition}"
    known = f"SELECT {c.ITEM_ID}, {c.CATEGORY} FROM {{items}} WHERE {c.CATEGORY} <> ''"
    return f"FROM {{events}} JOIN ({known}) AS known USING ({c.ITEM_ID}) WHERE {condition}"


def frames_for(by: By, events: Any, items: Any) -> dict[str, Any]:
    """Return the frames that the SQL of ``rows_sql`` reads.

    Raises:
        ConfigError: categories are asked for without the items that have them.
    """
    if by != "category":
        return {"events": events}
    if items is None:
        raise ConfigError("items: expected a frame of item_id and category to tell categories apart, found none.")
    return {"events": events, "items": items}
