"""The list that stands in for a late answer: favourites, as rules and stock leave them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from serving.api.schemas import Filters, RecommendRequest
from serving.merchandising.house import Merchandising
from serving.merchandising.rules import Ban, Filter, ItemMatch, Rule, RuleSet, When
from serving.merchandising.stock import LiveStock, StockRow
from serving.release.state import ReleaseState
from tests.serving.asking import engine_over, ids
from tests.serving.tiny_release import AS_OF_US, TinyRelease


def test_favourites_when_items_are_banned_or_sold_out_then_the_list_that_stands_in_lacks_them(
    tiny_state: ReleaseState, tiny: TinyRelease, tmp_path: Path
) -> None:
    rules = RuleSet()
    stock = LiveStock(tmp_path / "stock.jsonl")
    house = Merchandising(rules=lambda: rules, stock=stock, pool=100)
    engine = engine_over(tiny_state, tiny, tmp_path, merchandising=house)
    asked = RecommendRequest(k=5, user_id="user-1")
    first = ids(engine.favourites(asked))
    assert first == [tiny_state.item_ids[code] for code in tiny_state.favourites.item[:5]]
    stock.add([StockRow(first[0], 0, "", AS_OF_US)])
    assert ids(engine.favourites(asked))[:4] == first[1:]
    ban = Rule(name="ban", effect=Ban(items=ItemMatch(items=(first[1],))), when=When())
    rules = RuleSet(rules=(ban,), version="1")
    assert ids(engine.favourites(asked))[:3] == first[2:]
    food = Rule(name="food", effect=Filter(items=ItemMatch(category=("food",))), when=When())
    rules = RuleSet(rules=(ban, food), version="2")
    found = ids(engine.favourites(RecommendRequest(k=200, filters=Filters(min_price=1))))
    assert {tiny.catalog.category[tiny_state.item_codes[name]].split("/")[0] for name in found} <= {"food"}
    assert engine.favourites(asked).degraded is True


def test_favourites_when_asked_for_then_they_cost_little(
    tiny_state: ReleaseState, tiny: TinyRelease, tmp_path: Path
) -> None:
    engine = engine_over(tiny_state, tiny, tmp_path)
    asked = RecommendRequest(k=20)
    engine.favourites(asked)
    started = time.perf_counter()
    for _ in range(200):
        engine.favourites(asked)
    assert (time.perf_counter() - started) / 200 == pytest.approx(0, abs=5e-3)
