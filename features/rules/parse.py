"""From YAML to typed rules, with errors that say where, what was expected, what was found and what to do.

    file.yaml                                      Rule(name="browsed_a", when=AllOf(parts=(EventTest(...), ...)))
    tags:
      browsed_a:                          ->
        when:
          all:
            - {events: view, where: {category: a}, at_least: 3, within_days: 14}
            - {events: purchase, where: {category: a}, at_most: 0, within_days: 14}

A text ``$item`` stands for a parameter that is given when the rule is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from features.errors import did_you_mean
from features.rules.conditions import (
    DISTINCTS,
    SAME_OF,
    SUMMED,
    AllOf,
    AnyOf,
    ColumnTest,
    Condition,
    EventTest,
    FieldTest,
    Not,
    OpenTest,
    OrderTest,
    Rule,
)
from features.rules.known_fields import EVENT_FIELDS, ORDER_FIELDS, Nature
from features.rules.parse_values import parse_tests
from features.rules.place import Place, choice, event_types, mapping, number, only, text, whole

Columns = Mapping[str, Nature | None]  # nothing: a column that rules cannot compare

_HEADS: Final = ("all", "any", "not", "column", "events", "orders")
_BOUNDS: Final = ("at_least", "at_most", "within_days")
_EVENT_KEYS: Final = ("events", "where", *_BOUNDS, "distinct", "sum_of", "share_at_least")
_OPEN_KEYS: Final = ("events", "where", *_BOUNDS, "not_followed_by", "of_same", "for_hours")
_ORDER_KEYS: Final = ("orders", *_BOUNDS)
_RULE_KEYS: Final = ("title", "description", "when")
_PARAMETER: Final = re.compile(r"\$(\w+)")
SHARE_PARTS: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class RuleParser:
    """Parses the conditions of one file.

    Args:
        minor_units: minor units in one major unit of the shop's currency.
        columns: of the customer table at hand, by name; nothing leaves them unchecked and of no money.
        parameters: what ``$name`` stands for.
    """

    minor_units: int = 100
    columns: Columns | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)

    def rules(self, values: Any, place: Place, *, more_keys: Sequence[str] = ()) -> tuple[Rule, ...]:
        """Parse a mapping of name -> {title, description, when}.

        Raises:
            ConfigError: something is not as the language has it.
        """
        return tuple(
            self.rule(str(name), one, place, more_keys=more_keys) for name, one in mapping(values, place).items()
        )

    def rule(self, name: str, values: Any, place: Place, *, more_keys: Sequence[str] = ()) -> Rule:
        """Parse one named rule; keys in ``more_keys`` are left to the caller."""
        place = Place(file=place.file, rule=name)
        only(mapping(values, place), (*_RULE_KEYS, *more_keys), place)
        if "when" not in values:
            raise place.error("a condition under 'when'", "none", " Say when the rule holds.")
        texts = {key: text(values.get(key, ""), place.at(key)) for key in ("title", "description")}
        return Rule(name=name, when=self.condition(values["when"], place.at("when")), **texts)

    def condition(self, values: Any, place: Place) -> Condition:
        """Parse one condition."""
        keys = mapping(values, place)
        heads = [key for key in _HEADS if key in keys]
        if len(heads) != 1:
            hint = "" if heads or not keys else did_you_mean(str(next(iter(keys))), _HEADS)
            raise place.error(f"one of {', '.join(_HEADS)}", heads or list(keys), hint)
        return getattr(self, f"_{heads[0]}")(keys, place)

    def _all(self, keys: dict[str, Any], place: Place) -> Condition:
        return AllOf(parts=self._parts(keys, "all", place))

    def _any(self, keys: dict[str, Any], place: Place) -> Condition:
        return AnyOf(parts=self._parts(keys, "any", place))

    def _not(self, keys: dict[str, Any], place: Place) -> Condition:
        only(keys, ("not",), place)
        return Not(part=self.condition(keys["not"], place.at("not")))

    def _parts(self, keys: dict[str, Any], head: str, place: Place) -> tuple[Condition, ...]:
        only(keys, (head,), place)
        place = place.at(head)
        if not isinstance(keys[head], list) or not keys[head]:
            raise place.error("a list of one or more conditions", keys[head])
        return tuple(self.condition(part, place.at(n)) for n, part in enumerate(keys[head]))

    def _column(self, keys: dict[str, Any], place: Place) -> ColumnTest:
        name = text(keys["column"], place.at("column"))
        nature = self._nature(name, place.at("column"))
        tests = parse_tests(
            {key: value for key, value in keys.items() if key != "column"}, nature, place, self
        )  # fmt: skip
        return ColumnTest(column=name, tests=tests)

    def _nature(self, name: str, place: Place) -> Nature | None:
        if self.columns is None:
            return None
        if name not in self.columns:
            hint = did_you_mean(name, self.columns) or f" It has {', '.join(self.columns)}."
            raise place.error("a column of the customer table", name, hint)
        if self.columns[name] is None:
            raise place.error("a column with one value to compare", name, " Lists of numbers cannot be compared.")
        return self.columns[name]

    def _events(self, keys: dict[str, Any], place: Place) -> Condition:
        if "not_followed_by" in keys:
            return self._open(keys, place)
        only(keys, _EVENT_KEYS, place)
        summed = choice(keys.get("sum_of"), SUMMED, place.at("sum_of"))
        distinct = choice(keys.get("distinct"), DISTINCTS, place.at("distinct"))
        if summed and distinct:
            raise place.error("sum_of or distinct", "both", " Write two conditions.")
        scale = self.minor_units if summed == "amount" else 1
        share = keys.get("share_at_least")
        if share is not None:
            share = round(number(share, place.at("share_at_least"), least=0, most=1) * SHARE_PARTS)
            if not keys.get("where") or summed or distinct:
                raise place.error("share_at_least with where, of events that are counted", keys)
        return EventTest(
            events=event_types(keys["events"], place.at("events")),
            where=self._where(keys.get("where"), place.at("where")),
            **self._bounds(keys, place, scale),
            distinct=distinct,
            sum_of=summed,
            share_at_least=share,
        )

    def _open(self, keys: dict[str, Any], place: Place) -> OpenTest:
        only(keys, _OPEN_KEYS, place)
        return OpenTest(
            events=event_types(keys["events"], place.at("events")),
            not_followed_by=event_types(keys["not_followed_by"], place.at("not_followed_by")),
            where=self._where(keys.get("where"), place.at("where")),
            of_same=choice(keys.get("of_same"), SAME_OF, place.at("of_same")),
            for_hours=number(keys.get("for_hours", 0), place.at("for_hours"), least=0),
            **self._bounds(keys, place),
        )

    def _orders(self, keys: dict[str, Any], place: Place) -> OrderTest:
        only(keys, _ORDER_KEYS, place)
        sizes = keys["orders"]
        tests = () if sizes == "any" else self.fields(sizes, ORDER_FIELDS, place.at("orders"))
        return OrderTest(tests=tests, **self._bounds(keys, place))

    def _where(self, values: Any, place: Place) -> tuple[FieldTest, ...]:
        return () if values is None else self.fields(values, EVENT_FIELDS, place)

    def fields(self, values: Any, known: Mapping[str, Nature], place: Place) -> tuple[FieldTest, ...]:
        """Parse comparisons of fields, of which only ``known`` ones may stand there."""
        found = []
        for name, tests in mapping(values, place).items():
            if name not in known:
                hint = did_you_mean(str(name), known) or f" Known are {', '.join(known)}."
                raise place.error("a field that is known here", name, hint)
            found.append(FieldTest(field=name, tests=parse_tests(tests, known[name], place.at(name), self)))
        return tuple(found)

    def _bounds(self, keys: dict[str, Any], place: Place, scale: int = 1) -> dict[str, Any]:
        """Return at_least, at_most (of one event where nothing is said) and within_days."""
        bounds = {
            key: None if keys.get(key) is None else whole(keys[key], scale, place.at(key))
            for key in ("at_least", "at_most")
        }
        if bounds["at_least"] is None and bounds["at_most"] is None:
            bounds["at_least"] = 1
        low, high = bounds["at_least"], bounds["at_most"]
        if low is not None and high is not None and low > high:
            raise place.error("at_least to be at most at_most", f"{low} and {high}")
        days = keys.get("within_days")
        if days is not None:
            days = number(days, place.at("within_days"), least=0, above=True)
        return {**bounds, "within_days": days}

    def given(self, value: Any, place: Place) -> Any:
        """Return a value, or what its parameter stands for."""
        found = _PARAMETER.fullmatch(value) if isinstance(value, str) else None
        if not found:
            return value
        if found[1] not in self.parameters:
            raise place.error(
                f"a value for the parameter {found[1]!r}",
                "none",
                " Give --parameters '{NAME: VALUE}'.",
            )
        return self.parameters[found[1]]
