"""Comparisons as Narwhals expressions, and in plain Python; a missing value passes only what is said of missing ones."""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

import narwhals as nw

from features.rules.conditions import FieldTest, Test
from features.rules.known_fields import EVENT_FIELDS, ORDER_FIELDS, Nature
from features.tables.expressions import day_number, marks

_COMPARED: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "at_least": operator.ge,
    "at_most": operator.le,
    "above": operator.gt,
    "below": operator.lt,
}


def fields_pass(where: Sequence[FieldTest]) -> nw.Expr:
    """Return whether all comparisons of an event's or order's fields pass."""
    known = EVENT_FIELDS | ORDER_FIELDS
    passed = nw.lit(1)
    for field in where:
        for test in field.tests:
            passed = passed * passes(field.field, test, known[field.field])
    return passed == 1


def passes(name: str, test: Test, nature: Nature | None, *, as_of: dt.date | None = None) -> nw.Expr:
    """Return 1 where a column passes a comparison, else 0; never null.

    Args:
        name: of the column.
        test: the comparison.
        nature: of the column; nothing where it is compared as it is.
        as_of: the local day that ``within_days`` counts back from.
    """
    column, value = nw.col(name), test.value
    match test.operator:
        case "missing":
            found = marks(column.is_null())
            return found if value else 1 - found
        case "is_not" | "none_of":
            values = value if isinstance(value, tuple) else (value,)
            return 1 - marks(_is_one_of(column, values, nature))
        case "is" | "one_of":
            return marks(_is_one_of(column, value if isinstance(value, tuple) else (value,), nature))
        case "contains":
            return marks(_contains(column, str(value), nature))
        case "within_days":
            assert as_of is not None
            return marks(nw.lit(as_of.toordinal()) - day_number(name) <= value)
        case _:
            return marks(_COMPARED[test.operator](column, value))


def value_passes(value: Any, test: Test, nature: Nature | None, *, as_of: dt.date | None = None) -> bool:
    """Return what ``passes`` says of one value in Python; ``None`` is missing."""
    if test.operator == "missing":
        return (value is None) == test.value
    if test.operator in ("is_not", "none_of"):
        return value is None or not _is_any(value, test, nature)
    return value is not None and _known_passes(value, test, nature, as_of)


def _known_passes(value: Any, test: Test, nature: Nature | None, as_of: dt.date | None) -> bool:
    if test.operator in ("is", "one_of"):
        return _is_any(value, test, nature)
    if test.operator == "contains":
        return str(test.value) in (value.split("|") if isinstance(value, str) else list(value))
    if test.operator == "within_days":
        assert as_of is not None
        return (as_of - value).days <= test.value
    return bool(_COMPARED[test.operator](value, test.value))


def _is_any(value: Any, test: Test, nature: Nature | None) -> bool:
    values = test.value if isinstance(test.value, tuple) else (test.value,)
    return any(_is_value(value, one, nature) for one in values)


def _is_value(value: Any, wanted: Any, nature: Nature | None) -> bool:
    return value == wanted or (nature == "path" and str(value).startswith(f"{wanted}/"))


def _is_one_of(column: nw.Expr, values: Sequence[Any], nature: Nature | None) -> nw.Expr:
    found = column.is_in(list(values)) if len(values) > 1 else column == values[0]
    if nature == "path":
        for value in values:
            found = found | column.str.starts_with(f"{value}/")
    return found


def _contains(column: nw.Expr, value: str, nature: Nature | None) -> nw.Expr:
    if nature == "texts":
        return column.list.contains(value)
    framed = nw.concat_str([nw.lit("|"), column, nw.lit("|")])
    return framed.str.contains(f"|{value}|", literal=True)
