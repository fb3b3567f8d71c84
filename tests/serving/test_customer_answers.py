"""Tags, triggers, audiences and counted rules over the tiny release, without HTTP."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from features.rules.comparisons import value_passes
from features.rules.parse import RuleParser
from features.rules.place import Place
from serving.api.customer_schemas import MembersRequest, PreviewRequest, SegmentsRequest
from serving.api.errors import RequestError
from serving.api.rights_schemas import ConsentRequest
from serving.api.schemas import EventsRequest
from serving.engine import Engine
from serving.release.state import ReleaseState
from tests.serving.tiny_release import AS_OF_US, DAY_US, TinyRelease


def instant(at_us: int) -> str:
    return dt.datetime.fromtimestamp(at_us / 1e6, dt.UTC).isoformat()


def event(user_id: str, kind: str, item_id: str, at_us: int) -> dict[str, object]:
    return {"user_id": user_id, "event_type": kind, "item_id": item_id, "ts": instant(at_us)}


def preview(engine: Engine, rule: dict[str, object]) -> tuple[int | None, int]:
    answer = engine.preview(PreviewRequest(rule=rule))
    return answer.size, answer.of


def test_customer_when_tagged_then_tags_come_with_since_and_evidence_and_lapsed_ones_do_not(engine: Engine) -> None:
    answer = engine.customer("user-6")
    assert [(tag.tag, tag.title, tag.evidence) for tag in answer.tags] == [
        ("even", "T", [{"what": "number % 2", "value": 6}]),
        ("third", "T", [{"what": "number % 3", "value": 6}]),
    ]
    assert answer.tags[0].since == dt.datetime.fromtimestamp((AS_OF_US - 3 * DAY_US) / 1e6, dt.UTC)
    assert answer.segments == {"lifecycle": "new", "favourite_category": "food", "tag_vip": True}
    assert answer.age_seconds == 0
    assert [tag.tag for tag in engine.customer("user-7").tags] == []


def test_customer_when_a_cart_is_left_here_then_its_trigger_opens_and_a_purchase_closes_it(engine: Engine) -> None:
    put = AS_OF_US - 2 * DAY_US
    engine.add_events(EventsRequest(events=(event("stranger", "cart", "item-4", put),)))
    (found,) = engine.customer("stranger").open_triggers
    assert (found.trigger, found.item_id, found.best_hour, found.held_back) == ("cart_left", "item-4", 10, "")
    assert found.reason == "Thing number 4 has been in the cart for 2 days and was not bought."
    assert found.why.startswith("cart not followed by purchase/remove_from_cart of the same item for 24 hours")
    assert found.why.endswith("and 1 sent here since")
    assert found.due_at == dt.datetime.fromtimestamp((put + DAY_US) / 1e6, dt.UTC)
    assert [(one.item_id, one.live) for one in engine.customer("stranger").cart] == [("item-4", True)]

    engine.add_events(EventsRequest(events=(event("stranger", "purchase", "item-4", put + 1),)))
    answer = engine.customer("stranger")
    assert [one.trigger for one in answer.open_triggers] == ["after_first_order"]
    assert answer.cart == []


def test_customer_when_consent_to_personalisation_is_withdrawn_then_nothing_leads_to_messages(engine: Engine) -> None:
    engine.add_events(EventsRequest(events=(event("user-3", "cart", "item-4", AS_OF_US - 2 * DAY_US),)))
    assert engine.customer("user-3").open_triggers
    engine.add_consent(ConsentRequest(user_id="user-3", purpose="personalisation", granted=False))
    answer = engine.customer("user-3")
    assert (answer.personalised, answer.open_triggers, answer.cart) == (False, [], [])
    assert answer.profile is not None


def test_segments_when_many_are_asked_then_each_is_answered_as_alone(engine: Engine, tiny: TinyRelease) -> None:
    asked = (*tiny.users.ids, "nobody", "user-1")
    answer = engine.segments(SegmentsRequest(user_ids=asked))
    assert answer.unknown == ["nobody"]
    for user in tiny.users.ids:
        alone = engine.customer(user)
        assert answer.segments[user] == alone.segments | {"tags": [tag.tag for tag in alone.tags]}


def test_audience_when_read_page_by_page_then_each_member_comes_once_in_order(engine: Engine) -> None:
    engine.erase("user-4")
    engine.add_consent(ConsentRequest(user_id="user-6", purpose="personalisation", granted=False))
    pages: list[list[str]] = []
    after: str | None = None
    while True:
        page = engine.audience("evens", MembersRequest(limit=4, after=after))
        pages.append(page.user_ids)
        after = page.next_after
        if after is None:
            break
    found = [user for page in pages for user in page]
    assert found == sorted(f"user-{n}" for n in range(0, 30, 2) if n not in (4, 6))
    assert [len(page) for page in pages[:-1]] == [4] * (len(pages) - 1)


def test_audience_when_few_or_open_or_unknown_then_it_says_so(engine: Engine) -> None:
    by_name = {one.name: one for one in engine.audiences().audiences}
    assert by_name["evens"].size == 15
    assert (by_name["few"].size, by_name["few"].note) == (None, "fewer than 10 customers (privacy.minimum_group)")
    assert by_name["of_item"].parameters == ["item"]
    assert engine.audience("few", MembersRequest()).user_ids == ["user-1", "user-10"]  # the first's rule has lapsed
    with pytest.raises(RequestError, match=r"No audience is called 'even'\. Did you mean 'evens'"):
        engine.audience("even", MembersRequest())
    with pytest.raises(RequestError, match="of_item: It asks for item"):
        engine.audience("of_item", MembersRequest())


# Money is said in major units: the table holds minor ones.
RULES = (
    {"column": "lifecycle", "is": "active"},
    {"column": "lifecycle", "one_of": ["active", "new"]},
    {"column": "lifecycle", "is_not": "active"},
    {"column": "average_basket", "at_least": 53.3146},
    {"column": "favourite_category", "missing": True},
    {"column": "tag_vip", "is": True},
    {"column": "monetary", "above": 8},
)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rule_when_counted_then_it_means_whom_plain_python_means(
    tiny_state: ReleaseState, tiny: TinyRelease, rule: dict[str, object]
) -> None:
    rules, book = tiny_state.rules, tiny_state.customers
    assert rules is not None
    assert book is not None
    test = RuleParser(minor_units=100, columns=rules.columns).condition(rule, Place(file="test"))
    rows = [book.row(user) for user in tiny.users.ids]
    expected = [
        all(value_passes(row[test.column], one, rules.columns[test.column]) for one in test.tests) for row in rows
    ]
    assert 0 < sum(expected) < len(rows)
    np.testing.assert_array_equal(rules.counter.mask(test, now_us=AS_OF_US), expected)


def test_preview_when_rules_are_joined_then_sets_are_and_small_ones_are_hidden(engine: Engine) -> None:
    even, third = ({"column": "tags", "contains": name} for name in ("even", "third"))
    assert preview(engine, even) == (15, 30)
    assert preview(engine, {"any": [even, third]}) == (20, 30)
    assert preview(engine, {"all": [even, third]}) == (None, 30)  # five
    assert preview(engine, {"not": {"all": [even, third]}}) == (None, 30)  # all but five would give them away
    assert preview(engine, {"column": "tags", "missing": True}) == (10, 30)
    engine.erase("user-2")
    engine.add_consent(ConsentRequest(user_id="user-4", purpose="analytics", granted=False))
    assert preview(engine, even) == (13, 28)


@pytest.mark.parametrize(
    ("rule", "code", "said"),
    [
        ({"column": "lifecycl", "is": "new"}, "invalid_rule", "Did you mean 'lifecycle'?"),
        ({"columns": "x"}, "invalid_rule", "expected one of all, any, not, column, events, orders"),
        ({"events": "view", "at_least": 3}, "events_not_at_hand", "audiences.yaml"),
        ({"not": {"orders": "any"}}, "events_not_at_hand", "audiences.yaml"),
        ({"column": "tags", "contains": "evn"}, "unknown_tag", "Did you mean 'even'?"),
        ({"any": [{"column": "lifecycle", "is": "new"}] * 101}, "invalid_rule", "at most 100 conditions, found 101"),
    ],
)
def test_preview_when_a_rule_cannot_be_counted_then_it_says_why(
    engine: Engine, rule: dict[str, object], code: str, said: str
) -> None:
    with pytest.raises(RequestError) as wrong:
        engine.preview(PreviewRequest(rule=rule))
    assert (wrong.value.status, wrong.value.code) == (422, code)
    assert said in str(wrong.value)
