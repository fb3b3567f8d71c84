"""Tags of hand-worked logs: who, since, until, why, and what they say of the next period."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.customers.basics import BASICS
from features.customers.table import CustomerTable
from features.errors import ConfigError, DataError
from features.event_log import EventLog
from features.rules.conditions import Rule
from features.rules.parse import RuleParser
from features.rules.place import Place
from features.rules.session import RuleSession, columns_at_hand
from features.settings import EngineSettings, ShopSettings
from features.tags.build import TAG_COLUMNS, build_tags, tag_rules
from features.tags.lifts import clustered_ratio, false_discovery_rates, ratio_of_rates
from features.tags.validate import ValidationSettings, as_json, cut_offs, validate_tags
from tests.features.tiny_shop import event, utc, write_shop

ENGINE = EngineSettings(memory_limit="500MB", threads=1)
SHOP = ShopSettings(time_zone="UTC")
DAY = dt.timedelta(days=1)
START = utc("2024-01-01 12:00")


def rule(name: str, **when: Any) -> Rule:
    return RuleParser().rule(name, {"when": when}, Place(file="here"))


def shop(directory: Path, events: list[dict[str, Any]]) -> tuple[EventLog, Path]:
    data = write_shop(directory, shop=SHOP, events=events, items=[{"item_id": "i1", "category": "a/b"}])
    return EventLog.build(data, directory / "log.parquet", shop=SHOP, engine=ENGINE), data / "items.parquet"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[tuple[RuleSession, CustomerTable]]:
    events = [
        event("ann", "cart", "2024-05-01 10:00", "i1"),
        event("ann", "view", "2024-05-02 09:00", "i1"),
        event("bob", "cart", "2024-05-01 10:00", "i1"),
        event("bob", "purchase", "2024-05-03 10:00", "i1", price=120_000),
        event("cem", "cart", "2024-05-04 01:00", "i1"),
    ]
    log, items = shop(tmp_path, events)
    customers = CustomerTable.build(log, items, shop=SHOP, engine=ENGINE, parts=BASICS)
    with RuleSession.open(log, items, customers, shop=SHOP, engine=ENGINE) as opened:
        yield opened, customers


def test_tags_when_worked_by_hand_then_who_since_until_and_why(session: tuple[RuleSession, CustomerTable]) -> None:
    """As of the end of 4 May: ann's cart waits since 2 May 10:00 and counts for 14 days; cem's is 23 hours old."""
    opened, customers = session
    rules = {one.name: one for one in tag_rules(SHOP, columns_at_hand(customers.frame))}
    tags = build_tags(opened, [rules["cart_left"], rules["large_order"], rules["active_customer"]], customers)
    assert tuple(tags) == TAG_COLUMNS
    assert list(zip(tags["user_id"], tags["tag"], strict=True)) == [
        ("ann", "cart_left"), ("bob", "active_customer"), ("bob", "large_order")
    ]  # fmt: skip
    left, active, large = tags.itertuples(index=False)
    assert (left.since, left.until) == (pd.Timestamp("2024-05-02 10:00Z"), pd.Timestamp("2024-05-15 10:00Z"))
    (why,) = json.loads(left.evidence)
    assert (why["found"], why["last_at"], why["last_item_id"]) == (1, "2024-05-01T10:00:00Z", "i1")
    assert large.since == pd.Timestamp("2024-05-03 10:00Z")
    assert large.until == pd.Timestamp("2024-05-03 10:00Z") + 365 * DAY
    assert json.loads(active.evidence) == [{"what": "lifecycle is one of new, active", "value": "new"}]
    assert pd.isna(active.until)
    assert active.since == pd.Timestamp("2024-05-04 23:59:59.999999Z")  # known to hold as of this instant only
    assert left.version == rules["cart_left"].version


def test_tags_when_held_the_day_before_then_since_is_kept(session: tuple[RuleSession, CustomerTable]) -> None:
    opened, customers = session
    customers = CustomerTable(
        as_of=customers.as_of, lifecycle=customers.lifecycle, frame=customers.frame.assign(tag_vip=["gold", None, None])
    )
    rules = [rule("buyer", column="lifecycle", **{"is": "new"})]
    tags = build_tags(opened, rules, customers)
    assert tags[["user_id", "tag", "source"]].to_numpy().tolist() == [
        ["ann", "vip", "users.tag_vip"], ["bob", "buyer", "rule"]
    ]  # fmt: skip
    earlier = tags.assign(since=tags["since"] - 3 * DAY)
    assert build_tags(opened, rules, customers, previous=earlier)["since"].tolist() == earlier["since"].tolist()
    changed = [rule("buyer", column="lifecycle", one_of=["new", "active"])]
    again = build_tags(opened, changed, customers, previous=earlier)
    assert again["since"].tolist() == [earlier["since"][0], tags["since"][1]]  # another rule starts anew


def test_own_tags_when_named_as_ready_ones_then_they_replace_them(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text("tags:\n  cart_left: {when: {events: cart}}\n")
    rules = tag_rules(SHOP, {"lifecycle": "text"}, own=own)
    assert [one.name for one in rules].count("cart_left") == 1
    assert "champion" not in [one.name for one in rules]  # no recency_score at hand
    own.write_text("tags:\n  mine: {when: {column: lifecicle, is: new}}\n")
    with pytest.raises(ConfigError, match="Did you mean 'lifecycle'"):
        tag_rules(SHOP, {"lifecycle": "text"}, own=own)


def world(rng: np.random.Generator) -> list[dict[str, Any]]:
    """30 customers: ten view on day 20 and eight of them buy on day 40; the others view on day 1, two buy."""
    events = [event("zoe", "login", START + 56 * DAY)]
    for n in range(30):
        keen = n < 10
        events.append(event(f"u{n:02}", "view", START + (20 if keen else 1) * DAY, "i1"))
        if n < 8 or n in (10, 11):
            events.append(event(f"u{n:02}", "purchase", START + 40 * DAY, "i1", price=int(rng.integers(100, 200))))
    return events


def test_validation_when_the_next_period_is_known_then_rates_are_exact(tmp_path: Path) -> None:
    log, items = shop(tmp_path, world(np.random.default_rng(1)))
    options = ValidationSettings(num_cut_offs=1)
    assert cut_offs(log, options) == (dt.date(2024, 1, 29),)  # day 28
    rules = [
        rule("looked", events="view", within_days=14),
        rule("bought", events="purchase"),
        rule("gold", column="tier", missing=False),
    ]
    table = validate_tags(log, items, rules, shop=SHOP, settings=options, engine=ENGINE, parts=BASICS)
    looked = table.set_index("tag").loc["looked"]
    assert (looked["num_tagged"], looked["num_untagged"]) == (10, 20)
    assert looked["rate_tagged"] == pytest.approx(8 / 10)
    assert looked["rate_untagged"] == pytest.approx(2 / 20)
    assert looked["rate_lift"] == pytest.approx(8.0)
    assert 1 < looked["rate_low"] < 8 < looked["rate_high"]
    bought = table.set_index("tag").loc["bought"]
    assert bought["num_tagged"] == 0  # nobody had bought by day 28: what comes later is not looked at
    assert pd.isna(bought["rate_lift"])
    said = as_json(table, cut_offs(log, options), options, rules)
    assert said["left_out"] == ["gold"]  # no customer table of that day has such a column
    assert json.dumps(said, allow_nan=False)


def test_validation_when_the_log_is_short_then_refused(tmp_path: Path) -> None:
    log, _ = shop(tmp_path, [event("ann", "view", "2024-01-01 10:00", "i1")])
    with pytest.raises(DataError, match="expected a log of 56 days or more to judge tags, found 1"):
        cut_offs(log, ValidationSettings())


def test_ratio_when_groups_are_large_then_the_interval_is_katz() -> None:
    """1/30 - 1/100 + 1/10 - 1/100 = .11333; exp(ln 3 -+ 1.96 x .33665) = 1.551 .. 5.804."""
    found = ratio_of_rates(30, 100, 10, 100)
    assert (found.value, found.low, found.high) == pytest.approx((3.0, 1.551, 5.804), abs=2e-3)
    assert ratio_of_rates(3, 10, 0, 10).value is None


def test_clustered_ratio_when_customers_are_in_one_group_only_then_close_to_katz() -> None:
    inside, outside = np.repeat([1.0, 0.0], 100), np.repeat([0.0, 1.0], 100)
    hits = np.zeros(200)
    hits[:30], hits[100:110] = 1, 1
    found = clustered_ratio(hits * inside, hits * outside, inside, outside)
    assert found.value == pytest.approx(3.0)
    assert found.low == pytest.approx(1.55, abs=0.25)
    assert found.high == pytest.approx(5.80, abs=0.9)


def test_clustered_ratio_when_a_group_is_tiny_then_no_interval() -> None:
    inside, outside = np.repeat([1.0, 0.0], [3, 50]), np.repeat([0.0, 1.0], [3, 50])
    hits = np.concatenate([np.ones(3), np.repeat([1.0, 0.0], 25)])
    found = clustered_ratio(hits * inside, hits * outside, inside, outside)
    assert (found.value, found.low, found.high, found.p) == (2.0, None, None, 1.0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_false_discovery_rates_when_worked_by_definition_then_equal(p: list[float]) -> None:
    """The least m p / rank among those with as large a p-value."""
    ordered = sorted(p)
    expected = [min([1.0, *(len(p) * o / (k + 1) for k, o in enumerate(ordered) if o >= one)]) for one in p]
    np.testing.assert_allclose(false_discovery_rates(np.array(p)), expected, rtol=1e-12, atol=1e-300)
