"""What rules may name: fields of an event and its item, sizes of an order, and which comparison suits which kind."""

from __future__ import annotations

from typing import Final, Literal

from features import columns as c
from features.contract.tables import EVENTS, ITEMS
from features.rules.conditions import Operator

Nature = Literal["text", "path", "words", "texts", "number", "money", "day", "flag"]

_NATURES: Final[dict[str, Nature]] = {
    "id": "text",
    "text": "text",
    "count": "number",
    "whole": "number",
    "integer": "number",
    "hour": "number",
    "real": "number",
    "share": "number",
    "money": "money",
    "day": "day",
    "flag": "flag",
    "texts": "texts",
}
_NO_FIELDS: Final = (c.USER_ID, c.EVENT_TYPE, c.TS, c.EVENT_ID)

ITEM_FIELDS: Final[dict[str, Nature]] = {c.CATEGORY: "path", c.BRAND: "text", c.TITLE: "text", c.LABELS: "words"}
EVENT_FIELDS: Final[dict[str, Nature]] = {
    **{column.name: _NATURES[column.kind] for column in EVENTS.columns if column.name not in _NO_FIELDS},
    c.LOCAL_HOUR: "number",
    **ITEM_FIELDS,
}
ORDER_FIELDS: Final[dict[str, Nature]] = {"amount": "money", "units": "number", "lines": "number"}

_COMPARED: Final[tuple[Operator, ...]] = ("is", "is_not", "at_least", "at_most", "above", "below", "missing")
_NAMED: Final[tuple[Operator, ...]] = ("is", "is_not", "one_of", "none_of", "missing")
ALLOWED: Final[dict[Nature, tuple[Operator, ...]]] = {
    "text": _NAMED,
    "path": _NAMED,
    "words": (*_NAMED, "contains"),
    "texts": ("contains", "missing"),
    "number": (*_COMPARED, "one_of", "none_of"),
    "money": _COMPARED,
    "day": ("within_days", "missing"),
    "flag": ("is", "is_not", "missing"),
}
assert all(name in ITEMS.column_names for name in ITEM_FIELDS)


def nature_of(kind: str, unit: str = "") -> Nature | None:
    """Return how values of a contract's or customer table's kind are compared; nothing for lists of numbers."""
    return "money" if unit == "minor units" else _NATURES.get(kind)
