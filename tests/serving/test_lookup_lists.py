"""Ids of customers and items as people pick them."""

from __future__ import annotations

import pytest

from serving.api.errors import RequestError
from serving.api.item_schemas import ItemSearch, ItemsRequest
from serving.api.rights_schemas import ConsentRequest
from serving.api.schemas import CustomersRequest, EventsRequest
from serving.engine import Engine
from serving.release.state import ReleaseState
from tests.serving.asking import engine_over
from tests.serving.tiny_release import TinyRelease, build


def listed(engine: Engine, **request: object) -> list[str]:
    return engine.customers(CustomersRequest(**request)).user_ids


def found(engine: Engine, text: str, **request: object) -> list[str]:
    return [item.item_id for item in engine.search_items(ItemSearch(search=text, **request)).items]


def test_customers_when_asked_by_prefix_then_those_sent_here_come_too_and_none_erased(engine: Engine) -> None:
    engine.add_events(EventsRequest(events=({"user_id": "user-1x", "event_type": "view", "item_id": "item-1"},)))
    engine.erase("user-12")
    engine.add_consent(ConsentRequest(user_id="user-13", purpose="analytics", granted=False))
    expected = ["user-1", *(f"user-1{number}" for number in (0, 1, 4, 5, 6, 7, 8, 9)), "user-1x"]
    assert listed(engine, prefix="user-1", limit=100) == expected
    assert listed(engine, prefix="user-1", limit=3) == expected[:3]
    assert listed(engine, prefix="nobody") == []


def test_customers_when_asked_without_prefix_then_they_are_spread_over_those_with_a_history(engine: Engine) -> None:
    # 28 of 30 have a history; 4 of them from first to last are rows 0, 9, 18 and 27.
    assert listed(engine, limit=4) == ["user-0", "user-9", "user-18", "user-27"]


def test_search_when_words_match_then_those_that_begin_with_the_text_come_first(engine: Engine) -> None:
    assert found(engine, "ITEM-19", limit=3) == ["item-19", "item-190", "item-191"]
    assert found(engine, "number 7 thing", limit=2) == ["item-7", "item-17"]
    assert found(engine, "no such words") == []
    assert len(found(engine, "", limit=7)) == 7


def test_items_when_looked_up_then_what_is_known_is_told_and_unknown_ones_are_listed(
    engine: Engine, tiny: TinyRelease
) -> None:
    answer = engine.items(ItemsRequest(item_ids=("item-7", "nope", "item-3", "item-7")))
    assert [item.item_id for item in answer.items] == ["item-7", "item-3"]
    assert answer.unknown == ["nope"]
    assert (answer.currency, answer.minor_units) == ("EUR", 100)
    first, second = answer.items
    code = tiny.vocabulary.code_of("item-7")
    assert (first.title, first.category, first.brand) == ("Thing number 7", "home/lamps", "brand-0")
    assert first.price == tiny.catalog.price[code]
    assert (first.available, second.available) == (False, True)  # the 7th of every 29 is not active
    assert first.stock is None  # the shop does not say


def test_items_when_the_release_has_no_customers_then_the_catalogue_answers_alone(tmp_path) -> None:
    tiny = build(tmp_path / "store", kinds=("retrieval",), num_items=20, num_users=3)
    engine = engine_over(ReleaseState.load(tiny.store), tiny, tmp_path)
    answer = engine.items(ItemsRequest(item_ids=("item-1",)))
    assert (answer.items[0].title, answer.currency, answer.minor_units) == ("Thing number 1", None, 1)
    with pytest.raises(RequestError, match="no customers part"):
        listed(engine)
