"""Consent at lookup: what the book and the live changes allow, and what they keep back."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.columns import ANALYTICS, PERSONALISATION, PURPOSES
from features.identity.graph import ID_COLUMNS
from features.identity.map import IdentityMap
from features.privacy.consents import ConsentBook
from features.vocabulary import Vocabulary
from serving.api.customer_schemas import SegmentsRequest
from serving.api.errors import RequestError
from serving.api.rights_schemas import ConsentRequest, ExportRequest
from serving.api.schemas import CustomersRequest, EventsRequest, RecommendRequest
from serving.engine import Engine
from serving.history.stored import to_instant
from serving.live.store import ConsentChange
from serving.release.state import ReleaseState
from tests.serving.asking import ask, engine_over, ids, live_store
from tests.serving.tiny_release import AS_OF_US, DAY_US, START_US, TinyRelease


def book(changes: dict[tuple[str, str], list[tuple[int, bool]]]) -> ConsentBook:
    """A book of changes by user and purpose, at days after the start of the data."""
    users = sorted({user for user, _ in changes})
    empty = ConsentBook.of_default(granted=False)
    instants = []
    for user in users:
        row: list[int] = []
        for purpose in PURPOSES:
            rows = [(START_US + day * DAY_US, granted) for day, granted in changes.get((user, purpose), [])]
            consent = empty.of(user, purpose).after(rows)
            row += [consent.withdrawn_us, consent.from_us, consent.last_us]
        instants.append(row)
    return ConsentBook(users=Vocabulary.from_ids(users), instants=np.array(instants, np.int64), otherwise=False)


@pytest.fixture
def consented(tiny_state: ReleaseState, tiny: TinyRelease, tmp_path: Path) -> Engine:
    """user-1 grants both, user-2 personalisation alone, user-3 analytics alone, user-4 withdrew; nobody else spoke."""
    both = [(-1, True)]
    said = {
        **{("user-1", purpose): both for purpose in PURPOSES},
        ("user-2", PERSONALISATION): both,
        ("user-3", ANALYTICS): both,
        **{("user-4", purpose): [*both, (59, False)] for purpose in PURPOSES},
    }
    state = dataclasses.replace(tiny_state, consents=book(said))
    return engine_over(state, tiny, tmp_path)


def say(engine: Engine, user_id: str, purpose: str, granted: bool, *, at_us: int | None = None) -> None:
    at = None if at_us is None else to_instant(at_us)
    engine.add_consent(ConsentRequest(user_id=user_id, purpose=purpose, granted=granted, at=at))


def send(engine: Engine, user_id: str, item_id: str, **more: object) -> tuple[int, int]:
    at = dt.datetime.fromtimestamp(AS_OF_US / 1e6, dt.UTC).isoformat()
    row = {"user_id": user_id, "event_type": "view", "item_id": item_id, "ts": at} | more
    answer = engine.add_events(EventsRequest(events=(row,)))
    return answer.accepted, answer.without_consent


def test_recommend_when_personalisation_is_not_consented_to_then_the_list_is_everyones(consented: Engine) -> None:
    shop = ask(consented, k=10)
    inline = ({"event_type": "view", "item_id": "item-5"},)
    for user in ("user-3", "user-4", "nobody"):
        answer = consented.recommend([_request(user, inline), RecommendRequest(user_id=user, k=10)])
        for one in answer:
            assert not isinstance(one, RequestError)
            assert ids(one) == ids(shop)
            assert (one.strategy, one.personalised) == ("favourites", False)
    mine = ask(consented, user_id="user-1", k=10)
    assert (mine.strategy, mine.personalised) == ("history", True)
    assert ask(consented, user_id="user-2", k=10).strategy == "history"
    assert ids(ask(consented, user_id="user-4", surface="buy_it_again")) == []


def _request(user: str, events: tuple[dict[str, str], ...]) -> RecommendRequest:
    return msgspec.convert({"user_id": user, "events": list(events), "k": 10}, RecommendRequest)


def test_profile_when_analytics_is_not_consented_to_then_refused_with_the_reason(consented: Engine) -> None:
    assert consented.customer("user-1").profile is not None
    for user in ("user-2", "user-4", "user-9"):
        with pytest.raises(RequestError, match="has not consented to analytics") as refused:
            consented.customer(user)
        assert (refused.value.status, refused.value.code) == (403, "no_consent")
    with pytest.raises(RequestError, match="No customer has this id"):
        consented.customer("nobody")
    answer = consented.segments(SegmentsRequest(user_ids=("user-1", "user-4", "user-3")))
    assert sorted(answer.segments) == ["user-1", "user-3"]
    assert (answer.unknown, answer.without_consent) == ([], ["user-4"])
    assert consented.customer("user-3").history == []  # kept for personalisation, which was never granted
    assert set(consented.customers(CustomersRequest()).user_ids) <= {"user-1", "user-3"}


def test_event_when_no_purpose_may_use_it_then_it_is_not_kept(consented: Engine) -> None:
    assert send(consented, "user-1", "item-5") == (1, 0)
    assert send(consented, "user-4", "item-5") == (0, 1)
    assert send(consented, "nobody", "item-5") == (0, 1)
    assert send(consented, "user-3", "item-7") == (1, 0)  # for analytics alone
    assert ask(consented, user_id="user-3").strategy == "favourites"
    assert [(event.item_id, event.live) for event in consented.customer("user-3").history] == [("item-7", True)]


def test_withdrawal_when_sent_then_it_wins_at_once_and_deletes_what_nothing_may_use(consented: Engine) -> None:
    send(consented, "user-1", "item-5")
    say(consented, "user-1", PERSONALISATION, False)
    assert ask(consented, user_id="user-1").personalised is False
    assert consented.customer("user-1").history[0].item_id == "item-5"  # analytics still may
    answer = consented.add_consent(ConsentRequest(user_id="user-1", purpose=ANALYTICS, granted=False))
    assert answer.live_events_deleted == 1
    assert not any(one.holds for one in answer.consents.values())
    with pytest.raises(RequestError, match="has not consented"):
        consented.customer("user-1")


def test_grant_when_sent_then_what_follows_counts_and_what_was_withdrawn_does_not(consented: Engine) -> None:
    say(consented, "user-4", PERSONALISATION, True, at_us=AS_OF_US - 1)
    answer = ask(consented, user_id="user-4")
    assert (answer.strategy, answer.personalised) == ("favourites", True)  # the old history stays withdrawn
    assert send(consented, "user-4", "item-8") == (1, 0)
    assert ask(consented, user_id="user-4").strategy == "session"


def test_consent_when_said_under_a_linked_id_then_it_holds_for_the_customer(
    tiny_state: ReleaseState, tiny: TinyRelease, tmp_path: Path
) -> None:
    rows = {"id": ["user-1", "phone"], "id_type": ["user_id", "device_id"], "customer_id": "user-1"}
    links = IdentityMap(frame=pd.DataFrame(rows).reindex(columns=list(ID_COLUMNS)))
    engine = engine_over(dataclasses.replace(tiny_state, links=links), tiny, tmp_path)
    say(engine, "phone", PERSONALISATION, False)
    assert ask(engine, user_id="user-1").personalised is False
    say(engine, "user-1", ANALYTICS, False)
    answer = engine.segments(SegmentsRequest(user_ids=("phone", "user-2")))
    assert (sorted(answer.segments), answer.without_consent) == (["user-2"], ["phone"])
    found = engine.export("phone", ExportRequest(why="asked"))
    assert found.ids == ["phone", "user-1"]
    assert found.profile is not None
    assert [(one.user_id, one.granted) for one in found.live_consents] == [("phone", False), ("user-1", False)]
    assert engine.erase("phone").ids == 2
    for user in ("user-1", "phone"):
        with pytest.raises(RequestError, match="No customer has this id"):
            engine.customer(user)
        with pytest.raises(RequestError, match="Nothing is stored under this id"):
            engine.export(user, ExportRequest())
        with pytest.raises(RequestError, match="this customer was erased"):
            say(engine, user, ANALYTICS, True)


def test_consent_when_its_instant_lies_ahead_then_refused(consented: Engine) -> None:
    with pytest.raises(RequestError, match="at: expected an instant that has passed"):
        say(consented, "user-1", ANALYTICS, True, at_us=AS_OF_US + 2 * DAY_US)


def test_live_consents_when_sent_twice_then_counted_once_and_deleted_wholly(tmp_path: Path) -> None:
    held = live_store(tmp_path / "live.sqlite")
    change = ConsentChange("ann-unmistakable", ANALYTICS, True, 5)
    held.add_consent(change)
    held.add_consent(change)
    found = live_store(tmp_path / "live.sqlite").read(["ann-unmistakable", "bob"])
    assert {user_id: user.consents for user_id, user in found.items()} == {"ann-unmistakable": [change]}
    held.delete_user("ann-unmistakable")
    assert not [path for path in tmp_path.iterdir() if b"ann-unmistakable" in path.read_bytes()]


@settings(max_examples=50, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=4))
def test_book_when_read_for_many_at_once_then_as_one_by_one(changes: list[tuple[int, bool]]) -> None:
    found = book({("ann", ANALYTICS): changes, ("bob", ANALYTICS): [(1, True)]})
    at = START_US + 40 * DAY_US
    users = ["bob", "cid", "ann"]
    assert found.holding(users, ANALYTICS, at).tolist() == [found.allows(user, ANALYTICS, at) for user in users]
