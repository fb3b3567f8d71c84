"""What rule files say, and what is said of them where they are wrong."""

# ruff: noqa: E501 (one case a line)

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from features.errors import ConfigError
from features.rules.conditions import (
    AllOf,
    AnyOf,
    ColumnTest,
    EventTest,
    FieldTest,
    Not,
    OpenTest,
    OrderTest,
    Rule,
    Test,
    columns_of,
    is_behavioural,
    negations_inside,
)
from features.rules.parse import RuleParser
from features.rules.place import Place, read_yaml

COLUMNS = {
    "lifecycle": "text", "monetary": "money", "recency_days": "number", "last_day": "day", "plus": "flag",
    "brands": "texts", "weights": None,
}  # fmt: skip
PLACE = Place(file="rules.yaml")


def rule(when: str, **more: Any) -> Rule:
    parser = RuleParser(columns=COLUMNS, **more)
    return parser.rule("mine", {"when": yaml.safe_load(when)}, PLACE)


def test_condition_when_each_kind_is_written_then_typed() -> None:
    found = rule("""
        all:
          - {column: lifecycle, is: active}
          - any:
              - {events: view, where: {category: a, price: {at_least: 9.99}}, at_least: 3, within_days: 14}
              - {events: [cart], not_followed_by: purchase, of_same: item, for_hours: 24}
          - not: {orders: {amount: {above: 1000}}, within_days: 90}
    """)
    price = FieldTest(field="price", tests=(Test(operator="at_least", value=999),))
    category = FieldTest(field="category", tests=(Test(operator="is", value="a"),))
    assert found.when == AllOf(
        parts=(
            ColumnTest(column="lifecycle", tests=(Test(operator="is", value="active"),)),
            AnyOf(
                parts=(
                    EventTest(events=("view",), where=(category, price), at_least=3, within_days=14.0),
                    OpenTest(events=("cart",), not_followed_by=("purchase",), of_same="item", for_hours=24.0),
                )
            ),
            Not(
                part=OrderTest(
                    tests=(FieldTest(field="amount", tests=(Test(operator="above", value=100_000),)),), within_days=90.0
                )
            ),
        )
    )
    assert columns_of(found.when) == ("lifecycle",)
    assert is_behavioural(found.when)


def test_money_when_the_currency_has_no_minor_units_then_kept() -> None:
    assert rule("{column: monetary, at_least: 1000}", minor_units=1).when == ColumnTest(
        column="monetary", tests=(Test(operator="at_least", value=1000),)
    )
    assert rule("{events: purchase, sum_of: amount, at_least: 12.5}").when == EventTest(
        events=("purchase",), sum_of="amount", at_least=1250
    )


def test_parameter_when_given_then_it_stands_for_its_value() -> None:
    found = rule("{events: view, where: {item_id: $item}}", parameters={"item": "i7"})
    assert found.when == EventTest(
        events=("view",), where=(FieldTest(field="item_id", tests=(Test(operator="is", value="i7"),)),)
    )


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("{colum: lifecycle, is: x}", "rule 'mine', when: expected one of all, any, not, column, events, orders, found ['colum', 'is']. Did you mean 'column'?"),
        ("{column: lifecycl, is: x}", "when.column: expected a column of the customer table, found 'lifecycl'. Did you mean 'lifecycle'?"),
        ("{column: weights, at_least: 1}", "when.column: expected a column with one value to compare, found 'weights'"),
        ("{column: lifecycle, at_least: 1}", "when.at_least: expected a comparison that suits text (is, is_not, one_of, none_of, missing), found 'at_least'"),
        ("{column: lifecycle, is: 3}", "when.is: expected a text (put it in quotes), found 3"),
        ("{column: monetary, at_least: much}", "when.at_least: expected a number, found 'much'"),
        ("{column: plus, is: yes please}", "when.is: expected true or false, found 'yes please'"),
        ("{column: lifecycle}", "when: expected a comparison"),
        ("{column: lifecycle, iss: x}", "found 'iss'. Did you mean 'is'?"),
        ("{column: lifecycle, one_of: x}", "when.one_of: expected a list of one or more values, found 'x'"),
        ("{events: purchse}", "when.events: expected an event type of the contract, found 'purchse'. Did you mean 'purchase'?"),
        ("{events: []}", "when.events: expected at least one event type, found []"),
        ("{events: view, were: {}}", "when: expected a key that is known here, found 'were'. Did you mean 'where'?"),
        ("{events: view, where: {categry: a}}", "when.where: expected a field that is known here, found 'categry'. Did you mean 'category'?"),
        ("{events: view, within_days: 0}", "when.within_days: expected a number above 0, found 0"),
        ("{events: view, at_least: 1.5}", "when.at_least: expected a whole number, found 1.5"),
        ("{events: view, at_least: 3, at_most: 2}", "expected at_least to be at most at_most, found '3 and 2'"),
        ("{events: view, sum_of: amount, distinct: item}", "expected sum_of or distinct, found 'both'. Write two conditions."),
        ("{events: view, share_at_least: 0.5}", "expected share_at_least with where"),
        ("{events: view, where: {brand: x}, share_at_least: 50}", "when.share_at_least: expected a number from 0 to 1, found 50"),
        ("{events: cart, not_followed_by: purchase, of_same: itm}", "when.of_same: expected one of item, session, order, found 'itm'. Did you mean 'item'?"),
        ("{orders: {amont: 3}}", "when.orders: expected a field that is known here, found 'amont'. Did you mean 'amount'?"),
        ("{all: []}", "when.all: expected a list of one or more conditions, found []"),
        ("{all: [{column: lifecycle, is: a}, {any: [{events: vie}]}]}", "when.all[1].any[0].events: expected an event type"),
        ("{events: view, where: {item_id: $item}}", "expected a value for the parameter 'item', found 'none'. Give --parameters"),
        ("{events: purchase, sum_of: amount, at_least: 0.001}", "expected money with at most 100 minor units to one, found 0.001"),
        ("just text", "when: expected a mapping of names to values, found 'just text'"),
    ],
)  # fmt: skip
def test_rule_when_wrong_then_the_error_says_where_and_what_to_do(when: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rule(when)
    assert str(caught.value).startswith("rules.yaml: rule 'mine', when")
    assert said in str(caught.value)


def test_rule_when_it_has_no_condition_then_refused() -> None:
    with pytest.raises(ConfigError, match="rule 'mine': expected a condition under 'when', found 'none'"):
        RuleParser().rule("mine", {"title": "x"}, PLACE)


def test_file_when_a_rule_stands_twice_then_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("tags:\n  a: {when: 1}\n  a: {when: 2}\n")
    with pytest.raises(ConfigError, match="the key 'a' stands twice"):
        read_yaml(path)
    with pytest.raises(ConfigError, match="expected a YAML file of rules here, found none"):
        read_yaml(tmp_path / "other.yaml")


def test_version_when_only_words_change_then_the_same() -> None:
    one = rule("{events: view, at_least: 3}")
    assert (
        one.version
        == RuleParser().rule("other", {"when": {"events": "view", "at_least": 3}, "title": "T"}, PLACE).version
    )
    assert one.version != rule("{events: view, at_least: 4}").version
    assert len(one.version) == 12


def test_negation_when_moved_inside_then_only_leaves_are_negated() -> None:
    a, b = (EventTest(events=(kind,)) for kind in ("view", "cart"))
    assert negations_inside(Not(part=AllOf(parts=(a, Not(part=b))))) == AnyOf(parts=(Not(part=a), b))
