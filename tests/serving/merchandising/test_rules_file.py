"""Files of rules: what they mean, and what is said of those that mean nothing."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from features.errors import ConfigError
from serving.commands.rules import check
from serving.merchandising.parse import read_rule_set
from serving.merchandising.rules import Ban, Boost, Cap, Diversity, Filter, Freshness, ItemMatch, Pin, RuleSet, When
from tests.serving.tiny_release import TinyRelease

WHOLE = """
rules:
  fruit:
    title: Fruit on summer mornings
    when:
      surface: [for_you, trending]
      since: 2026-06-01
      until: 2026-08-31T20:00:00+02:00
      weekday: [sat, sun]
      hours: [22, 1]
      region: north
      tag: even
      stage: [new, active]
      audience: evens
      customer: {column: lifecycle, is: active}
    boost: {category: food/fruit/, min_price: 1.5, by: 0.2}
  less: {bury: {brand: [acme, zenith], by: 0.3}}
  gone: {ban: {items: item-3}}
  only: {filter: {category: food, in_stock: true, region: north, not_purchased_days: 14}}
  top: {pin: {item-7: 1, item-8: 3}}
  fresh: {freshness: {by: 0.1, half_life_days: 7}}
  mixed: {diversity: 0.3}
  few: {cap: {of: category, level: 1, most: 3, first: 10}}
"""


def written(directory: Path, text: str) -> Path:
    path = directory / "merchandising.yaml"
    path.write_text(text)
    return path


def read(directory: Path, rule: str) -> RuleSet:
    return read_rule_set(written(directory, f"rules:\n  one: {rule}\n"))


def test_read_rule_set_when_every_effect_stands_in_it_then_each_is_typed(tmp_path: Path) -> None:
    found = read_rule_set(written(tmp_path, WHOLE))
    first, *others = found.rules
    assert first.when == When(
        surfaces=("for_you", "trending"),
        since=dt.date(2026, 6, 1),
        until=dt.datetime(2026, 8, 31, 20, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        weekdays=(5, 6),
        hours=(0, 22, 23),
        regions=("north",),
        tags=("even",),
        stages=("new", "active"),
        audiences=("evens",),
        customer={"column": "lifecycle", "is": "active"},
    )
    assert first.effect == Boost(items=ItemMatch(category=("food/fruit",), min_price=1.5), by=0.2)
    assert [rule.effect for rule in others] == [
        Boost(items=ItemMatch(brand=("acme", "zenith")), by=-0.3),
        Ban(items=ItemMatch(items=("item-3",))),
        Filter(items=ItemMatch(category=("food",)), in_stock=True, region="north", not_purchased_days=14),
        Pin(places={"item-7": 1, "item-8": 3}),
        Freshness(by=0.1, half_life_days=7),
        Diversity(strength=0.3),
        Cap(of="category", level=1, most=3, first=10),
    ]
    assert len(found.version) == 12
    assert read_rule_set(written(tmp_path, "")).rules == ()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("{pinn: {i: 1}}", "expected a key that is known here, found 'pinn'. Did you mean 'pin'?"),
        ("{when: {surface: home}, diversity: 0.1}", "when.surface: expected one of for_you, similar"),
        ("{diversity: 0.1, ban: {brand: a}}", "expected one effect of filter, ban, pin"),
        ("{diversity: 2}", "diversity: expected a number from 0 to 1, found 2"),
        ("{ban: {}}", "ban: expected items by one or more of items, category"),
        ("{boost: {brand: a}}", "boost: expected 'by', the share"),
        ("{boost: {brnd: a, by: 1}}", "expected a key that is known here, found 'brnd'. Did you mean 'brand'?"),
        ("{pin: {a: 1, b: 1}}", "pin: expected one item a place"),
        ("{pin: {a: 0}}", "pin.a: expected a whole number from 1 to 1000, found 0"),
        ("{cap: {of: price, most: 1}}", "cap.of: expected category or brand, found 'price'"),
        ("{cap: {of: brand, most: 5, first: 5}}", "expected most to be less than first"),
        ("{when: {since: 2026-12-02, until: 2026-12-01}, diversity: 0.1}", "It would never hold"),
        ("{when: {since: '2026-12-02T10:00:00'}, diversity: 0.1}", "when.since: expected an offset"),
        ("{when: {hours: [7]}, diversity: 0.1}", "when.hours: expected two hours"),
        ("{when: {customer: {events: view, at_least: 3}}, diversity: 0.1}", "Make a tag of them"),
        ("{when: {customer: {colum: x, is: y}}, diversity: 0.1}", "Did you mean 'column'?"),
        ("{filter: {min_price: 5, max_price: 4}}", "expected min_price to be at most max_price"),
    ],
)
def test_read_rule_set_when_a_rule_is_none_then_the_error_says_where_and_what_to_do(
    tmp_path: Path, rule: str, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, rule)
    assert message in str(error.value)
    assert "merchandising.yaml: rule 'one'" in str(error.value)


def test_check_when_rules_clash_or_name_what_is_not_there_then_each_is_listed(
    tmp_path: Path, tiny: TinyRelease
) -> None:
    path = written(
        tmp_path,
        """
rules:
  typo: {boost: {category: food/fruti, by: 0.2}}
  one: {pin: {item-3: 1, item-4: 2}, when: {tag: even}}
  two: {pin: {item-5: 1, item-4: 3}, when: {tag: third}}
  apart: {pin: {item-6: 9}, when: {surface: trending}}
  also_apart: {pin: {item-7: 9}, when: {surface: for_you, until: 2026-01-01}}
  nobody: {diversity: 0.1, when: {customer: {column: lifecycle, is: sleepy}}}
  strange: {diversity: 0.1, when: {customer: {column: lifecycl, is: new}}}
  ghost: {ban: {items: item-9999}}
""",
    )
    with pytest.raises(ConfigError) as error:
        check(path, store=tiny.store.root)
    text = str(error.value)
    for part in (
        "rule 'typo', category: the release knows no 'food/fruti'. Did you mean 'food/fruit'?",
        "rules 'one' and 'two': expected one item at place 1 where both hold, found 'item-3' and 'item-5'",
        "rules 'one' and 'two': expected one place for 'item-4'",
        "rule 'also_apart': it never holds again, since 2026-01-01",
        "rule 'nobody': it holds for none of the 30 customers",
        "rule 'strange', when: column",
        "Did you mean 'lifecycle'?",
        "rule 'ghost', items: the release knows no 'item-9999'",
    ):
        assert part in text, part
    assert "'apart'" not in text
    assert check(written(tmp_path, WHOLE))["rules"][0] == "fruit"
