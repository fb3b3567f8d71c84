"""Conditions in words, for evidence, previews and pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from features.rules.conditions import (
    AllOf,
    AnyOf,
    ColumnTest,
    Condition,
    EventTest,
    FieldTest,
    Leaf,
    Not,
    OpenTest,
    OrderTest,
    Test,
)

_OPERATORS: Final = {
    "is": "is",
    "is_not": "is not",
    "one_of": "is one of",
    "none_of": "is none of",
    "at_least": "at least",
    "at_most": "at most",
    "above": "above",
    "below": "below",
    "contains": "has",
    "within_days": "within days",
}


def in_words(condition: Condition) -> str:
    """Return a condition as a phrase; money as in the rule, in minor units.

    >>> in_words(EventTest(events=("view",), at_least=3, within_days=14.0))
    'view at least 3 within 14 days'
    """
    if isinstance(condition, AllOf | AnyOf):
        joint = " and " if isinstance(condition, AllOf) else " or "
        return "(" + joint.join(in_words(part) for part in condition.parts) + ")"
    return f"not {in_words(condition.part)}" if isinstance(condition, Not) else _leaf(condition)


def _leaf(leaf: Leaf) -> str:
    if isinstance(leaf, ColumnTest):
        return f"{leaf.column} {_tests(leaf.tests)}"
    parts = []
    if isinstance(leaf, OrderTest):
        parts += ["orders", *([f"({_fields(leaf.tests)})"] if leaf.tests else [])]
    else:
        parts += ["/".join(leaf.events), *([f"({_fields(leaf.where)})"] if leaf.where else [])]
    if isinstance(leaf, OpenTest):
        parts.append(f"not followed by {'/'.join(leaf.not_followed_by)}")
        parts += [f"of the same {leaf.of_same}"] if leaf.of_same else []
        parts += [f"for {leaf.for_hours:g} hours"] if leaf.for_hours else []
    if isinstance(leaf, EventTest):
        parts += [f"distinct {leaf.distinct}"] if leaf.distinct else []
        parts += [leaf.sum_of] if leaf.sum_of else []
        parts += [f"share at least {leaf.share_at_least / 100:g}%"] if leaf.share_at_least is not None else []
    parts += [f"at least {leaf.at_least}"] if leaf.at_least is not None else []
    parts += [f"at most {leaf.at_most}"] if leaf.at_most is not None else []
    parts += [f"within {leaf.within_days:g} days"] if leaf.within_days is not None else []
    return " ".join(parts)


def _fields(where: Sequence[FieldTest]) -> str:
    return ", ".join(f"{field.field} {_tests(field.tests)}" for field in where)


def _tests(tests: Sequence[Test]) -> str:
    return " and ".join(_test(test) for test in tests)


def _test(test: Test) -> str:
    if test.operator == "missing":
        return "is missing" if test.value else "is known"
    value = ", ".join(map(str, test.value)) if isinstance(test.value, tuple) else str(test.value)
    return f"{_OPERATORS[test.operator]} {value}"
