"""The comparisons of one field or column: ``active``, ``[a, b]``, ``{at_least: 10}``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from features.errors import did_you_mean
from features.rules.conditions import OPERATORS, Operator, Test, Value
from features.rules.known_fields import ALLOWED, Nature
from features.rules.place import Place

if TYPE_CHECKING:
    from features.rules.parse import RuleParser

_LISTS: Final = ("one_of", "none_of")
_NUMBERS: Final = ("at_least", "at_most", "above", "below")


def parse_tests(values: Any, nature: Nature | None, place: Place, parser: RuleParser) -> tuple[Test, ...]:
    """Parse what a value is compared with.

    A plain value is short for ``is``, or ``contains`` where the value is a list or words; a list for ``one_of``.

    Args:
        values: as in the file.
        nature: of what is compared; nothing where it is not known.
        place: for errors.
        parser: knows the parameters and the currency.
    """
    values = parser.given(values, place)
    if not isinstance(values, dict):
        holds_words = nature in ("words", "texts")
        values = {"one_of" if isinstance(values, list) else "contains" if holds_words else "is": values}
    if not values:
        raise place.error(f"a comparison ({', '.join(OPERATORS)})", "none")
    return tuple(_test(operator, value, nature, place.at(str(operator)), parser) for operator, value in values.items())


def _test(operator: Any, value: Any, nature: Nature | None, place: Place, parser: RuleParser) -> Test:
    if operator not in OPERATORS:
        raise place.error(f"one of {', '.join(OPERATORS)}", operator, did_you_mean(str(operator), OPERATORS))
    if nature is not None and operator not in ALLOWED[nature]:
        raise place.error(f"a comparison that suits {nature} ({', '.join(ALLOWED[nature])})", operator)
    if operator in _LISTS:
        if not isinstance(value, list) or not value:
            raise place.error("a list of one or more values", value)
        return Test(operator=operator, value=tuple(_value(operator, one, nature, place, parser) for one in value))
    return Test(operator=operator, value=_value(operator, value, nature, place, parser))


def _value(operator: Operator, value: Any, nature: Nature | None, place: Place, parser: RuleParser) -> Any:
    value = parser.given(value, place)
    if operator == "missing":
        return _of_type(value, bool, "true or false", place)
    if operator == "within_days" or operator in _NUMBERS or nature in ("number", "money"):
        return _number(value, parser.minor_units if nature == "money" else 1, place)
    if nature == "flag":
        return _of_type(value, bool, "true or false", place)
    if nature is not None or operator == "contains":
        return _of_type(value, str, "a text (put it in quotes)", place)
    return _of_type(value, (str, int, float, bool), "a text, a number, true or false", place)


def _number(value: Any, scale: int, place: Place) -> Value:
    if isinstance(value, str):  # a parameter from the command line
        try:
            value = float(value)
        except ValueError:
            raise place.error("a number", value) from None
    number = _of_type(value, (int, float), "a number", place)
    scaled = round(number * scale, 9)
    return int(scaled) if scaled == int(scaled) else scaled


def _of_type(value: Any, kind: Any, expected: str, place: Place) -> Any:
    is_wrong_flag = (
        isinstance(value, bool) and kind is not bool and bool not in (kind if isinstance(kind, tuple) else ())
    )
    if not isinstance(value, kind) or is_wrong_flag:
        raise place.error(expected, value)
    return value
