"""Rules at work on the tiny release, beside the slow, obvious way."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
from tests.serving.asking import ask, engine_over, ids
from tests.serving.merchandising.slow_rules import shown
from tests.serving.tiny_release import AS_OF_US, TinyRelease

CATEGORIES = ("food", "food/fruit", "home", "home/lamps", "toys")
BRANDS = tuple(f"brand-{number}" for number in range(7))
ITEMS = tuple(f"item-{number}" for number in range(0, 200, 9))


class Shop:
    """An engine whose rules and stock a test changes."""

    def __init__(self, state: ReleaseState, tiny: TinyRelease, directory: Path) -> None:
        self.rules = RuleSet()
        self.stock = LiveStock(directory / "stock.jsonl")
        house = Merchandising(rules=lambda: self.rules, stock=self.stock, pool=1000)
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
    assert ids(answer) == shown(tiny, ranking, shop.rules.rules, k=k, out=out)
