"""A release that serves no more is gone at once: its files may hold somebody who asked to be forgotten."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.api.item_schemas import ItemSearch
from serving.api.schemas import Filters, RecommendRequest
from serving.kept import kept
from serving.release.state import ReleaseState
from tests.serving.asking import engine_over
from tests.serving.tiny_release import TinyRelease, build


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No collector of cycles comes by meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_release_when_nobody_holds_it_any_more_then_it_goes_without_the_collector_of_cycles(
    tmp_path: Path, uncollected: None
) -> None:
    tiny = build(tmp_path / "store", index="IVF4,Flat")
    engine = engine_over(ReleaseState.load(tiny.store), tiny, tmp_path)
    _ask_everything(engine)
    held = {name: weakref.ref(getattr(engine.state, name)) for name in ("catalog", "index", "histories", "customers")}
    held |= {
        name: weakref.ref(getattr(engine.state, name)) for name in ("rules", "filters", "links", "demand", "tower")
    }
    held |= {"state": weakref.ref(engine.state), "engine": weakref.ref(engine)}
    del engine
    assert [name for name, one in held.items() if one() is not None] == []


def _ask_everything(engine) -> None:  # type: ignore[no-untyped-def]
    for surface in ("for_you", "similar", "bought_together", "trending", "new_arrivals", "buy_it_again", "upgrade"):
        for filters in (None, Filters(category="food"), Filters(brand="brand-1"), Filters(max_price=1900)):
            ask = {"user_id": "user-3", "surface": surface, "item_id": "item-5", "filters": filters, "explain": True}
            engine.recommend([RecommendRequest(**ask), RecommendRequest(**ask | {"user_id": "new"})])
    engine.customer("user-3")
    engine.audiences()
    engine.search_items(ItemSearch(search="thing"))


def test_kept_when_its_object_goes_then_it_goes_too_and_answers_are_kept_until_then(uncollected: None) -> None:
    class Counting:
        def __init__(self) -> None:
            self.asked = 0
            self.double = kept(self._double, maxsize=2)

        def _double(self, number: int) -> int:
            self.asked += 1
            return 2 * number

    one = Counting()
    assert [one.double(3), one.double(3), one.double(4)] == [6, 6, 8]
    assert one.asked == 2
    weak = weakref.ref(one)
    del one
    assert weak() is None


def test_reuse_when_a_part_is_the_same_then_it_is_held_once(tiny: TinyRelease) -> None:
    first = ReleaseState.load(tiny.store)
    parts = dict(tiny.release.parts)
    del parts["demand"]
    release = tiny.store.create(parts)
    second = ReleaseState.load(tiny.store, release.release_id, reuse=[first])
    assert (second.release_id, second.demand) == (release.release_id, None)
    for name in ("catalog", "index", "tower", "item_codes", "filters", "rules"):
        assert getattr(second, name) is getattr(first, name), name
    assert second.customers is not None
    assert first.customers is not None
    assert second.customers.rows is first.customers.rows
    # After a rollback, or beside a release of an experiment, what serves is not the one that holds it.
    third = ReleaseState.load(tiny.store, tiny.release.release_id, reuse=[second, first])
    assert (third.demand, third.index) == (first.demand, first.index)
