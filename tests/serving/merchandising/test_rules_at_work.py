"""Rules at work on the tiny release, beside the slow, obvious way."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.surfaces import DAY_US
from features.vocabulary import FIRST
from serving.api.schemas import Filters, RecommendAnswer, RuleTouch, Surface
from serving.engine import Engine
from serving.merchandising.house import Merchandising
from serving.merchandising.rules import (
    Ban,
    Boost,
    Cap,
    Diversity,
    Effect,
    Filter,
    Freshness,
    ItemMatch,
    Pin,
    Rule,
    RuleSet,
    When,
)
from serving.merchandising.stock import LiveStock, StockRow
from serving.release.state import ReleaseState
from tests.serving.asking import PURCHASE, ask, engine_over, ids
from tests.serving.merchandising.slow_rules import shown
from tests.serving.tiny_release import AS_OF_US, TinyRelease

CATEGORIES = ("food", "food/fruit", "home", "home/lamps", "toys")
BRANDS = tuple(f"brand-{number}" for number in range(7))
ITEMS = tuple(f"item-{number}" for number in range(0, 200, 9))


class Shop:
    """An engine whose rules and stock a test changes."""

    def __init__(self, state: ReleaseState, tiny: TinyRelease, directory: Path, *, pool: int = 1000) -> None:
        self.rules = RuleSet()
        self.stock = LiveStock(directory / "stock.jsonl")
        house = Merchandising(rules=lambda: self.rules, stock=self.stock, pool=pool)
        self.engine: Engine = engine_over(state, tiny, directory, merchandising=house)

    def sell_by(self, *effects: Effect, when: When | None = None) -> None:
        rules = tuple(Rule(name=f"r{n}", effect=effect, when=when or When()) for n, effect in enumerate(effects))
        self.rules = RuleSet(rules=rules, version=repr(rules))

    def tell(self, at: int = 0, region: str = "", **stock: int) -> None:
        rows = [StockRow(name.replace("_", "-"), number, region, AS_OF_US + at) for name, number in stock.items()]
        self.stock.add(rows)


@pytest.fixture
def shop(tiny_state: ReleaseState, tiny: TinyRelease, tmp_path: Path) -> Shop:
    return Shop(tiny_state, tiny, tmp_path)


matches = st.one_of(
    st.sampled_from(CATEGORIES).map(lambda path: ItemMatch(category=(path,))),
    st.lists(st.sampled_from(BRANDS), min_size=1, max_size=3).map(lambda names: ItemMatch(brand=tuple(names))),
    st.lists(st.sampled_from(ITEMS), min_size=1, max_size=4).map(lambda names: ItemMatch(items=tuple(names))),
    st.builds(ItemMatch, min_price=st.integers(0, 10).map(float), max_price=st.integers(10, 20).map(float)),
    st.builds(ItemMatch, category=st.just(("food",)), max_age_days=st.sampled_from([5.0, 30.0])),
)
effects = st.one_of(
    matches.map(lambda match: Ban(items=match)),
    matches.map(lambda match: Filter(items=match)),
    st.builds(Boost, items=matches, by=st.sampled_from([-1.0, -0.3, 0.05, 0.2, 1.0])),
    st.builds(Freshness, by=st.sampled_from([0.1, 0.5]), half_life_days=st.sampled_from([3.0, 30.0])),
    st.dictionaries(st.sampled_from(ITEMS), st.integers(1, 25), min_size=1, max_size=3).map(
        lambda places: Pin(places={item: at for at, item in {at: item for item, at in places.items()}.items()})
    ),
    st.sampled_from([0.1, 0.4, 0.9]).map(lambda strength: Diversity(strength=strength)),
    st.builds(Cap, of=st.just("category"), most=st.integers(1, 3), level=st.integers(0, 2), first=st.sampled_from([0, 5, 10])),
    st.builds(Cap, of=st.just("brand"), most=st.integers(1, 3), first=st.sampled_from([0, 8])),
)  # fmt: skip


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    user=st.integers(0, 27),
    k=st.sampled_from([1, 7, 20, 60]),
    chosen=st.lists(effects, min_size=1, max_size=6),
    out=st.sets(st.sampled_from(ITEMS), max_size=5),
)
def test_recommend_under_any_rules_then_it_is_as_applied_one_by_one(
    shop: Shop, tiny: TinyRelease, *, user: int, k: int, chosen: list[Effect], out: set[str]
) -> None:
    shop.sell_by()
    shop.tell(**{item.replace("-", "_"): 1 for item in ITEMS})
    ranking = ids(ask(shop.engine, user_id=f"user-{user}", k=1000))
    shop.sell_by(*chosen)
    shop.tell(**{item.replace("-", "_"): 0 for item in out})
    answer = ask(shop.engine, user_id=f"user-{user}", k=k, explain=True)
    assert ids(answer) == shown(tiny, ranking, shop.rules.rules, k=k, out=out), (user, k, chosen, out)


# What boosts and diversity come to depends on how many items are ranked; what may stand at which place does not.
places_only = st.one_of(
    st.builds(Cap, of=st.just("brand"), most=st.just(1), first=st.sampled_from([0, 4])),
    st.builds(Cap, of=st.just("category"), most=st.just(1), level=st.just(2), first=st.sampled_from([0, 8])),
    effects.filter(lambda effect: not isinstance(effect, Boost | Freshness | Diversity)),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    user=st.integers(0, 27),
    k=st.sampled_from([2, 5, 9, 30]),
    pool=st.integers(10, 20),
    chosen=st.lists(places_only, min_size=1, max_size=6),
    out=st.sets(st.sampled_from(ITEMS), max_size=5),
)
def test_recommend_when_few_items_are_ranked_at_first_then_the_same_may_stand(
    shop: Shop, tiny: TinyRelease, *, user: int, k: int, pool: int, chosen: list[Effect], out: set[str]
) -> None:
    shop.sell_by()
    shop.tell(**{item.replace("-", "_"): 1 for item in ITEMS})
    ranking = ids(ask(shop.engine, user_id=f"user-{user}", k=1000))
    shop.sell_by(*chosen)
    shop.tell(**{item.replace("-", "_"): 0 for item in out})
    shop.engine.merchandiser._pool = pool
    answer = ask(shop.engine, user_id=f"user-{user}", k=k)
    assert set(ids(answer)) == set(shown(tiny, ranking, shop.rules.rules, k=k, out=out)), (user, k, pool, chosen, out)


@pytest.mark.parametrize("surface", ["for_you", "trending"])
def test_recommend_when_nearly_all_items_are_of_one_brand_then_a_cap_leaves_a_full_list(
    tiny: TinyRelease, tiny_state: ReleaseState, tmp_path: Path, surface: Surface
) -> None:
    """Eight of 200 items are of a brand of their own, the others of one."""
    brand = tiny.catalog.brand.copy()
    brand[FIRST:] = "large"
    rare = np.random.default_rng(0).choice(np.flatnonzero(tiny.catalog.available[FIRST:]) + FIRST, 8, replace=False)
    brand[rare] = [f"small-{number}" for number in range(8)]
    state = replace(tiny_state, catalog=replace(tiny.catalog, brand=brand))
    shop = Shop(state, tiny, tmp_path, pool=10)
    shop.sell_by(Cap(of="brand", most=1))
    for user in range(0, 28, 4):
        found = tiny.vocabulary.encode(ids(ask(shop.engine, user_id=f"user-{user}", surface=surface, k=6)))
        assert len(set(brand[found])) == 6
        assert len(ask(shop.engine, user_id=f"user-{user}", surface=surface, k=60).items) == 9


def test_recommend_when_a_pinned_item_is_banned_filtered_or_out_of_stock_then_it_is_not_shown(
    shop: Shop, tiny: TinyRelease
) -> None:
    pin = Pin(places={"item-3": 1})
    shop.sell_by(pin)
    assert ids(ask(shop.engine, user_id="user-4", k=5))[0] == "item-3"
    own = ItemMatch(items=("item-3",))
    shop.sell_by(pin, Ban(items=own))
    assert "item-3" not in ids(ask(shop.engine, user_id="user-4", k=200))
    shop.sell_by(pin, Filter(items=ItemMatch(category=("food",))))
    assert "item-3" not in ids(ask(shop.engine, user_id="user-4", k=200))
    shop.sell_by(pin)
    shop.tell(item_3=0)
    assert "item-3" not in ids(ask(shop.engine, user_id="user-4", k=200))
    assert "item-3" not in ids(ask(shop.engine, surface="similar", item_id="item-4", k=200))


def test_stock_when_an_item_sells_out_then_the_next_answer_of_every_engine_lacks_it(
    shop: Shop, tiny_state: ReleaseState, tiny: TinyRelease, tmp_path: Path
) -> None:
    other = engine_over(
        tiny_state, tiny, tmp_path, merchandising=Merchandising(stock=LiveStock(tmp_path / "stock.jsonl"))
    )
    first = ids(ask(shop.engine, user_id="user-4", k=10))
    shop.tell(**{first[0].replace("-", "_"): 0})
    for engine in (shop.engine, other):
        assert ids(ask(engine, user_id="user-4", k=9)) == first[1:]
    shop.tell(at=-5, **{first[0].replace("-", "_"): 7})
    assert ids(ask(other, user_id="user-4", k=1)) == first[1:2], "an older word changes nothing"
    shop.tell(at=5, **{first[0].replace("-", "_"): 7})
    assert ids(ask(other, user_id="user-4", k=10)) == first


def test_stock_when_it_is_told_of_a_region_then_only_there(shop: Shop) -> None:
    first = ids(ask(shop.engine, user_id="user-4", k=1))[0]
    shop.tell(region="north", **{first.replace("-", "_"): 0})
    assert ids(ask(shop.engine, user_id="user-4", k=1)) == [first]
    assert ids(ask(shop.engine, user_id="user-4", k=1, filters=Filters(region="south"))) == [first]
    assert ids(ask(shop.engine, user_id="user-4", k=1, filters=Filters(region="north"))) != [first]
    assert ids(ask(shop.engine, user_id="user-4", k=5, filters=Filters(in_stock=True))) == []
    shop.tell(item_8=3)
    assert ids(ask(shop.engine, user_id="user-4", k=5, filters=Filters(in_stock=True))) == ["item-8"]


def test_stock_when_workers_share_a_number_then_what_one_is_told_the_other_knows_at_once(tmp_path: Path) -> None:
    word = memoryview(bytearray(8)).cast("Q")
    one, two = (LiveStock(tmp_path / "stock.jsonl", word=word) for _ in range(2))
    for number in range(1, 20):
        one.add([StockRow("item-3", number, "", number)])
        two.refresh()
        assert two.rows()["item-3", ""].stock == number
        one, two = two, one


def test_stock_when_the_log_is_long_or_damaged_then_what_it_says_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "stock.jsonl"
    one, two = LiveStock(path), LiveStock(path)
    for number in range(12):
        one.add([StockRow(f"item-{row}", number, "", number) for row in range(1000)])
    assert path.read_bytes().count(b"\n") <= 12_000
    with path.open("ab") as file:
        file.write(b'not stock\n{"item_id": "torn"')
    two.refresh()
    assert two.rows() == one.rows()
    one.add([StockRow("item-3", 0, "", 99)])
    two.refresh()
    assert two.rows()["item-3", ""].stock == 0
    assert LiveStock(path).refresh() > 0


@pytest.mark.parametrize(
    ("when", "now", "holds"),
    [
        (When(since=dt.date(2026, 11, 22)), "2026-11-21T22:59:59", False),  # the shop is in Paris, an hour ahead
        (When(since=dt.date(2026, 11, 22)), "2026-11-21T23:00:00", True),
        (When(until=dt.date(2026, 11, 22)), "2026-11-22T22:59:59", True),
        (When(until=dt.date(2026, 11, 22)), "2026-11-22T23:00:00", False),
        (When(weekdays=(6,)), "2026-11-21T23:30:00", True),  # Sunday has begun in Paris
        (When(weekdays=(6,)), "2026-11-21T22:30:00", False),
        (When(hours=(8, 9)), "2026-11-22T07:30:00", True),
        (When(hours=(8, 9)), "2026-11-22T09:00:00", False),
        (When(surfaces=("trending",)), "2026-11-22T09:00:00", False),
        (When(tags=("even",)), "2026-11-22T09:00:00", True),
        (When(tags=("third",)), "2026-11-22T09:00:00", False),
        (When(stages=("active",)), "2026-11-22T09:00:00", True),
        (When(stages=("new", "dormant")), "2026-11-22T09:00:00", False),
        (When(audiences=("evens",)), "2026-11-22T09:00:00", True),
        (When(customer={"column": "monetary", "at_least": 5}), "2026-11-22T09:00:00", False),
        (When(customer={"not": {"column": "lifecycle", "is": "new"}}), "2026-11-22T09:00:00", True),
        (When(regions=("north",)), "2026-11-22T09:00:00", False),
    ],
)
def test_recommend_when_a_rule_has_a_condition_then_it_holds_by_it(
    tiny_state: ReleaseState, tiny: TinyRelease, tmp_path: Path, *, when: When, now: str, holds: bool
) -> None:
    """User 4 is even, active, and no third; its monetary value is missing."""
    now_us = int(dt.datetime.fromisoformat(f"{now}+00:00").timestamp() * 1e6)
    rules = RuleSet(rules=(Rule(name="pin", effect=Pin(places={"item-3": 1}), when=when),), version="1")
    house = Merchandising(rules=lambda: rules)
    engine = engine_over(tiny_state, tiny, tmp_path, merchandising=house, wall=lambda: now_us)
    assert (ids(ask(engine, user_id="user-4", k=1)) == ["item-3"]) == holds


def test_recommend_when_a_list_is_short_then_fallbacks_fill_it_and_say_so(shop: Shop, tiny: TinyRelease) -> None:
    shop.sell_by(Cap(of="brand", most=2, first=0))
    answer = ask(shop.engine, surface="bought_together", item_id="item-10", k=14)
    brands = [tiny.catalog.brand[tiny.vocabulary.code_of(item)] for item in ids(answer)]
    assert len(brands) == 14
    assert max(brands.count(name) for name in BRANDS) == 2
    shop.sell_by(Filter(items=ItemMatch(items=("item-1", "item-2"))))
    found = ask(shop.engine, surface="trending", k=5)
    assert sorted(ids(found)) == ["item-1", "item-2"]
    only = ask(shop.engine, user_id="user-29", k=5, filters=Filters(category="toys", min_price=1900), explain=True)
    codes = tiny.vocabulary.encode(ids(only))
    assert set(tiny.catalog.category[codes]) <= {"toys"}


def test_recommend_when_recently_bought_or_seen_is_left_out_then_nothing_else_is(shop: Shop, tiny: TinyRelease) -> None:
    everything = ids(ask(shop.engine, user_id="user-4", k=1000))
    row = tiny.users.code_of("user-4") - FIRST
    span = slice(tiny.histories.offsets[row], tiny.histories.offsets[row + 1])
    item, kind, ts = (getattr(tiny.histories, name)[span] for name in ("item", "event_type", "ts"))
    lately = ts > AS_OF_US - 30 * DAY_US
    seen = set(tiny.vocabulary.decode(item[lately]))
    bought = set(tiny.vocabulary.decode(item[lately & (kind == PURCHASE)]))
    for filters, gone in ((Filters(not_seen_days=30), seen), (Filters(not_purchased_days=30), bought)):
        found = ids(ask(shop.engine, user_id="user-4", k=1000, filters=filters))
        assert found == [one for one in everything if one not in gone]
    shop.sell_by(Filter(not_purchased_days=30))
    assert ids(ask(shop.engine, user_id="user-4", k=20)) == [one for one in everything if one not in bought][:20]


def test_recommend_when_asked_to_explain_then_history_rules_and_strategy_are_named(
    shop: Shop, tiny: TinyRelease
) -> None:
    plain = ask(shop.engine, user_id="user-4", k=6)
    assert all(not item.rules and not item.because for item in plain.items)
    assert b"rules" not in msgspec.json.encode(plain)
    shop.sell_by(Pin(places={"item-3": 2}), Boost(items=ItemMatch(category=("food",)), by=0.3), Diversity(strength=0.2))
    answer = ask(shop.engine, user_id="user-4", k=6, explain=True)
    assert answer.items[1].item_id == "item-3"
    assert answer.items[1].rules == (RuleTouch(rule="r0", effect="pin"),)
    lifted = {item.item_id for item in answer.items if RuleTouch(rule="r1", effect="boost") in item.rules}
    food = {one for one in ids(answer) if tiny.catalog.category[tiny.vocabulary.code_of(one)].startswith("food")}
    assert lifted == food - {"item-3"}
    history = set(tiny.vocabulary.decode(tiny.history_of("user-4")))
    assert all(set(item.because) <= history and item.because for item in answer.items)
    beside = ask(shop.engine, surface="similar", item_id="item-9", k=3, explain=True)
    assert {item.because for item in beside.items if not item.rules or item.strategy != "pinned"} >= {("item-9",)}


def test_recommend_when_diversity_is_asked_for_then_items_have_less_in_common(shop: Shop, tiny: TinyRelease) -> None:
    def alike(answer: RecommendAnswer) -> float:
        vectors = tiny.vectors[tiny.vocabulary.encode(ids(answer))]
        return float((vectors @ vectors.T)[np.triu_indices(len(vectors), 1)].mean())

    found = [alike(ask(shop.engine, user_id="user-4", k=10, diversity=share)) for share in (0.0, 0.3, 1.0)]
    assert found[0] > found[1] > found[2]
