"""Recommendations over a loaded release, beside brute force in numpy."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.columns import EVENT_TYPE_CODES
from features.sequences import Sequences
from features.vocabulary import FIRST
from serving.api.customer_schemas import SegmentsRequest
from serving.api.demand_schemas import DemandRequest
from serving.api.errors import RequestError
from serving.api.schemas import (
    CustomersRequest,
    EventsRequest,
    Filters,
    InlineEvent,
    RecommendAnswer,
    RecommendRequest,
)
from serving.engine import Engine
from tests.serving.tiny_release import TinyRelease


def ask(engine: Engine, **request: object) -> RecommendAnswer:
    answer = engine.recommend([RecommendRequest(**request)])[0]
    if isinstance(answer, RequestError):
        raise answer
    return answer


def ids(answer: RecommendAnswer) -> list[str]:
    return [item.item_id for item in answer.items]


def stored_vector(tiny: TinyRelease, user_id: str) -> np.ndarray:
    row = tiny.users.code_of(user_id) - FIRST
    span = slice(tiny.histories.offsets[row], tiny.histories.offsets[row + 1])
    one = Sequences.from_arrays(
        offsets=[0, span.stop - span.start],
        **{name: getattr(tiny.histories, name)[span] for name in ("item", "event_type", "ts", "price_band")},
    )
    return tiny.user_vec(one)[0]


def brute_force(tiny: TinyRelease, vector: np.ndarray, k: int, keep: np.ndarray) -> list[str]:
    codes = np.flatnonzero(keep & tiny.catalog.available)
    best = codes[np.argsort(-(tiny.vectors[codes] @ vector), kind="stable")][:k]
    return list(tiny.vocabulary.decode(best))


def test_recommend_when_a_user_has_a_history_then_it_ranks_by_the_tower(engine: Engine, tiny: TinyRelease) -> None:
    answer = ask(engine, user_id="user-4", k=10)
    everything = np.ones(len(tiny.vocabulary), bool)
    assert ids(answer) == brute_force(tiny, stored_vector(tiny, "user-4"), 10, everything)
    assert answer.strategy == "history"
    assert answer.release_id == tiny.release.release_id
    assert all(better.score >= worse.score for better, worse in pairwise(answer.items))


def passes(tiny: TinyRelease, code: int, filters: Filters) -> bool:
    category, price = tiny.catalog.category[code], tiny.catalog.price[code]
    return (
        code >= FIRST
        and (filters.category is None or f"{category}/".startswith(f"{filters.category}/"))
        and filters.brand in (None, tiny.catalog.brand[code])
        and (filters.min_price is None or price >= filters.min_price)
        and (filters.max_price is None or price <= filters.max_price)
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    user=st.integers(0, 27),
    k=st.integers(1, 250),
    exclude_seen=st.booleans(),
    filters=st.builds(
        Filters,
        category=st.sampled_from([None, "food", "food/fruit", "home/lamps", "toys"]),
        brand=st.sampled_from([None, "brand-0", "brand-6"]),
        min_price=st.none() | st.integers(0, 2100),
        max_price=st.none() | st.integers(0, 2100),
    ),
)
def test_recommend_when_filters_and_seen_items_cut_then_it_equals_brute_force(  # noqa: PLR0917 - hypothesis gives them
    engine: Engine, tiny: TinyRelease, user: int, k: int, exclude_seen: bool, filters: Filters
) -> None:
    user_id = f"user-{user}"
    keep = np.array([passes(tiny, code, filters) for code in range(len(tiny.catalog))])
    if exclude_seen:
        keep[tiny.history_of(user_id)] = False
    answer = ask(engine, user_id=user_id, k=k, exclude_seen=exclude_seen, filters=filters)
    assert ids(answer) == brute_force(tiny, stored_vector(tiny, user_id), k, keep)


def test_recommend_when_seen_items_are_excluded_then_the_list_keeps_its_length(
    engine: Engine, tiny: TinyRelease
) -> None:
    for user in range(28):
        answer = ask(engine, user_id=f"user-{user}", k=20, exclude_seen=True)
        seen = set(tiny.vocabulary.decode(tiny.history_of(f"user-{user}")))
        assert len(answer.items) == 20
        assert not seen & set(ids(answer))


def test_recommend_when_batched_then_each_answer_is_that_of_one_by_one(engine: Engine) -> None:
    requests = [RecommendRequest(user_id=f"user-{n}", k=5 + n, exclude_seen=n % 2 == 0) for n in range(30)]
    requests.append(RecommendRequest(k=3, filters=Filters(brand="no such brand")))
    together = engine.recommend(requests)
    for request, answer in zip(requests, together, strict=True):
        alone = engine.recommend([request])[0]
        if isinstance(answer, RequestError):
            assert isinstance(alone, RequestError)
        else:
            assert ids(answer) == ids(alone)


def test_recommend_when_events_come_inline_then_it_ranks_by_the_session(engine: Engine, tiny: TinyRelease) -> None:
    instant = dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC)
    later, sooner = instant + dt.timedelta(minutes=1), instant
    events = (
        InlineEvent(event_type="cart", item_id="item-8", ts=later),
        InlineEvent(event_type="view", item_id="item-5", ts=sooner),
        InlineEvent(event_type="view", item_id="brand-new", ts=later),
    )
    codes = tiny.vocabulary.encode(["item-5", "item-8"])
    expected = tiny.user_vec(
        Sequences.from_arrays(
            offsets=[0, 2],
            item=codes,
            event_type=[EVENT_TYPE_CODES["view"], EVENT_TYPE_CODES["cart"]],
            ts=[int(sooner.timestamp()) * 1_000_000, int(later.timestamp()) * 1_000_000],
            price_band=tiny.catalog.price_band[codes],
        )
    )[0]
    answer = ask(engine, events=events, k=7)
    assert ids(answer) == brute_force(tiny, expected, 7, np.ones(len(tiny.vocabulary), bool))
    assert answer.strategy == "session"
    assert answer.unknown_items == ["brand-new"]


def test_recommend_when_nothing_is_known_then_favourites_answer(engine: Engine, tiny: TinyRelease) -> None:
    favourites = [f"item-{n}" for n in range(100) if n % 29 != 7]  # those that may be shown, best first
    assert ids(ask(engine, k=20)) == favourites[:20]
    assert ask(engine, user_id="nobody", k=20).strategy == "favourites"


def test_recommend_when_a_customer_has_no_history_then_customers_alike_answer(engine: Engine) -> None:
    assert ask(engine, user_id="user-28", k=4).strategy == "segment"
    # user-29 has a row that names no category, so those of the same stage answer.
    assert ask(engine, user_id="user-29").strategy == "stage"
    engine.erase("user-28")
    assert ask(engine, user_id="user-28").strategy == "favourites"


def test_answers_when_the_model_does_not_read_an_event_type_then_they_name_it(engine: Engine) -> None:
    inline = (InlineEvent(event_type="impression", item_id="item-1"), InlineEvent(event_type="view", item_id="item-2"))
    found = ask(engine, events=inline)
    assert found.unread_event_types == ["impression"]
    kept = engine.add_events(EventsRequest(events=(event("a", "item-1", event_type="impression"),)))
    assert (kept.accepted, kept.unread_event_types) == (1, ["impression"])


def test_recommend_when_no_inline_item_is_known_then_it_says_which(engine: Engine) -> None:
    events = (InlineEvent(event_type="view", item_id="nonsense"),)
    with pytest.raises(RequestError, match="expected at least one item of the release, found none, such as 'nonsense'"):
        ask(engine, events=events)
    assert ask(engine, user_id="user-0", events=events).unknown_items == ["nonsense"]


def test_recommend_when_asked_why_then_it_names_the_nearest_item_of_the_history(
    engine: Engine, tiny: TinyRelease
) -> None:
    answer = ask(engine, events=(InlineEvent(event_type="view", item_id="item-1"),), k=2, explain=True)
    assert [item.reason for item in answer.items] == ["Viewed today", "Close to Thing number 1"]


def test_recommend_when_a_category_is_misspelt_then_it_suggests_one(engine: Engine) -> None:
    with pytest.raises(RequestError, match=r"knows no category 'home/lamp'. Did you mean 'home/lamps'\?"):
        ask(engine, filters=Filters(category="home/lamp"))


def test_filters_when_items_may_not_be_shown_then_they_do_not_count_as_left(engine: Engine, tiny: TinyRelease) -> None:
    left = engine.state.filters.codes(Filters(category="food"))
    of_category = np.flatnonzero([str(path).startswith("food/") for path in tiny.catalog.category])
    assert left is not None
    assert left.tolist() == of_category[tiny.catalog.available[of_category]].tolist()
    assert len(left) < len(of_category)


def test_filters_when_no_attribute_is_asked_for_then_the_catalogue_is_not_gone_through(engine: Engine) -> None:
    codes = engine.state.filters.codes
    assert codes(Filters(in_stock=True, region="north", not_seen_days=7)) is None
    assert codes(Filters(brand="brand-1", not_seen_days=7)) is codes(Filters(brand="brand-1", region="north"))


def event(user_id: str, item_id: str, **more: object) -> dict[str, object]:
    return {"user_id": user_id, "item_id": item_id, "event_type": "view"} | more


def test_events_when_added_then_the_next_answer_sees_them(engine: Engine, tiny: TinyRelease) -> None:
    for number in range(30):
        item = f"item-{number * 6}"
        if not tiny.catalog.available[tiny.vocabulary.code_of(item)]:
            continue
        engine.add_events(EventsRequest(events=(event(f"new-{number}", item),)))
        answer = ask(engine, user_id=f"new-{number}", k=1)
        assert ids(answer) == [item]  # a history of one item is nearest to that item
        assert answer.strategy == "session"


def test_events_when_rows_are_wrong_then_each_is_refused_with_its_reason(engine: Engine) -> None:
    tomorrow = (dt.datetime.now(dt.UTC) + dt.timedelta(days=3)).isoformat()
    engine.erase("gone")
    rows = (
        event("a", "item-1", event_id="1"),
        event("a", "item-1", event_id="1"),
        event("a", "nonsense"),
        {"user_id": "a", "event_type": "purchase"},
        event("a", "item-1", event_type="purchse"),
        event("a", "item-1", ts=tomorrow),
        event("a", "item-1", ts="yesterday"),
        "not an object",
        {"user_id": "a", "event_type": "login"},
        event("gone", "item-1"),
        event("a", "item-1", ts="0001-01-01T00:00:00+01:00"),  # in UTC, before the first year there is
        event("a", "item-1", ts="1970-01-01T00:00:00Z"),
    )
    answer = engine.add_events(EventsRequest(events=rows))
    assert (answer.accepted, answer.duplicates) == (3, 1)
    assert answer.unknown_items == ["nonsense"]
    reasons = {refused.row: refused.reason for refused in answer.rejected}
    assert list(reasons) == [3, 4, 5, 6, 7, 9, 10, 11]
    assert reasons[3] == "item_id: expected one with event_type 'purchase', found none"
    assert reasons[4].endswith("Did you mean 'purchase'?")
    assert reasons[5].startswith("ts: expected an instant that has passed, found ")
    assert "erased" in reasons[9]
    assert reasons[10] == "ts: expected an instant after 1970, found 0001-01-01T00:00:00+01:00"
    assert reasons[11].startswith("ts: expected an instant after 1970, found ")
    assert len(engine.customer("a").history) == 1


def test_events_when_no_row_can_be_kept_then_it_is_the_callers_error(engine: Engine) -> None:
    with pytest.raises(RequestError, match="No row could be kept; row 0: item_id: expected one with event_type"):
        engine.add_events(EventsRequest(events=({"user_id": "a", "event_type": "view"},)))


def test_erase_when_a_user_is_known_then_nothing_of_them_is_left(engine: Engine) -> None:
    engine.add_events(EventsRequest(events=(event("user-3", "item-1"),)))
    assert engine.erase("user-3").live_events_deleted == 1
    assert ask(engine, user_id="user-3").strategy == "favourites"
    assert engine.segments(SegmentsRequest(user_ids=("user-3", "user-4"))).unknown == ["user-3"]
    assert "user-3" not in engine.customers(CustomersRequest()).user_ids
    with pytest.raises(RequestError, match="No customer has this id"):
        engine.customer("user-3")


def test_customer_when_known_then_profile_and_history_are_answered(engine: Engine, tiny: TinyRelease) -> None:
    engine.add_events(EventsRequest(events=(event("user-4", "item-9"),)))
    answer = engine.customer("user-4")
    assert answer.profile is not None
    assert answer.profile["lifecycle"] == "active"  # 4 % 3 == 1
    assert answer.profile["monetary"] is None  # 4 % 4 == 0: NaN in the table
    newest_first = ["item-9", *tiny.vocabulary.decode(tiny.history_of("user-4"))[::-1]]
    assert [one.item_id for one in answer.history] == newest_first[:50]
    assert [one.live for one in answer.history][:2] == [True, False]


def test_demand_when_asked_for_days_then_that_many_are_answered(engine: Engine) -> None:
    answer = engine.demand(DemandRequest(item_ids=("item-2", "x", "item-0"), days=3))
    assert [one.item_id for one in answer.items] == ["item-2", "item-0"]
    assert answer.unknown == ["x"]
    days = [period.day for period in answer.items[0].forecast]
    assert days == [dt.date(2026, 11, 21), dt.date(2026, 11, 22), dt.date(2026, 11, 23)]
    levels = list(answer.items[0].forecast[0].quantiles.values())
    assert levels == sorted(levels)
    assert answer.items[0].decision is not None
    assert answer.items[0].decision["reorder_point_90"] == 17.0
    with pytest.raises(RequestError, match="no forecast for any of them, such as 'x'"):
        engine.demand(DemandRequest(item_ids=("x",)))
