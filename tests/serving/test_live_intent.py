"""Purchase intent of the visit under way over the tiny release, without HTTP."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from pathlib import Path

import pytest

from features.intent.fit import PurchaseIntent
from serving.api.customer_schemas import PurchaseIntentNow
from serving.api.rights_schemas import ConsentRequest
from serving.api.schemas import EventsRequest
from serving.engine import Engine
from serving.release.state import ReleaseState
from tests.serving.asking import engine_over
from tests.serving.tiny_release import AS_OF_US, TinyRelease

SECOND_US, MINUTE_US = 1_000_000, 60_000_000


def at(ago_us: int) -> dt.datetime:
    return dt.datetime.fromtimestamp((AS_OF_US - ago_us) / 1e6, dt.UTC)


def send(engine: Engine, user_id: str, *events: tuple[str, str, int]) -> PurchaseIntentNow:
    """Send (type, item, microseconds ago), and ask."""
    rows = tuple(
        {"user_id": user_id, "event_type": kind, "item_id": item, "ts": at(ago).isoformat()}
        for kind, item, ago in events
    )
    engine.add_events(EventsRequest(events=rows))
    return engine.customer(user_id).purchase_intent


def chance(log_odds: float) -> float:
    return round(1 / (1 + math.exp(-log_odds)), 4)


def test_intent_when_events_are_sent_then_the_next_lookup_follows_them(engine: Engine) -> None:
    # Log odds of -2, 2 more with one item in the cart; see tiny_rules.
    seen = send(engine, "new", ("view", "item-1", 5 * MINUTE_US), ("view", "item-2", 0))
    assert (seen.probability, seen.session_started_at, seen.last_event_at) == (chance(-2), at(5 * MINUTE_US), at(0))
    assert seen.as_of == at(0)
    put = send(engine, "new", ("cart", "item-2", 0))
    assert put.probability == chance(0)
    assert [(one.reason, one.odds_factor) for one in put.because] == [
        ("1 item in the cart", pytest.approx(math.exp(2), abs=0.01))
    ]
    taken = send(engine, "new", ("remove_from_cart", "item-2", 0))
    assert taken.probability == chance(-2)
    assert engine.customer("new").cart == []


def test_intent_when_nothing_happens_then_it_falls_and_ends_with_the_gap(engine: Engine) -> None:
    found = [
        send(engine, f"at-{ago}", ("view", "item-1", ago * SECOND_US)) for ago in (0, 60, 600, 1_799, 1_800, 1_801)
    ]
    chances = [one.probability for one in found[:5]]
    assert None not in chances
    assert chances == sorted(chances, reverse=True)
    assert chances[3] < chances[0] / 4
    assert (found[5].probability, found[5].session_started_at) == (None, None)
    assert found[5].note == "no visit is under way: no event in the last 30 minutes"
    assert found[5].because == ()


def test_intent_when_earlier_visits_bought_then_it_is_higher_and_says_so(engine: Engine) -> None:
    days = [(kind, "item-1", day * 1440 * MINUTE_US) for day in (2, 4) for kind in ("view", "purchase")]
    found = send(engine, "regular", *days, ("view", "item-3", 0))
    assert found.probability == chance(-2 + math.log(3 / 1.2))  # (2 + 1) / (2 visits × a shop rate of 0.1 + 1)
    assert [one.reason for one in found.because] == ["bought in 2 of 2 earlier visits, last 2 days before this one"]


def test_intent_when_consent_is_withdrawn_then_there_is_none(engine: Engine) -> None:
    assert send(engine, "user-3", ("view", "item-1", 0)).probability is not None
    engine.add_consent(ConsentRequest(user_id="user-3", purpose="personalisation", granted=False))
    found = engine.customer("user-3").purchase_intent
    assert (found.probability, found.note) == (None, "no consent to personalisation")


@pytest.mark.parametrize(
    ("intent", "note"),
    [
        (None, "this customers part was made before it held purchase intent; promote again"),
        (PurchaseIntent(model=None, reason="no purchases"), "not learned: no purchases"),
    ],
)
def test_intent_when_the_part_has_no_model_then_the_answer_says_why(
    intent: PurchaseIntent | None, note: str, tiny: TinyRelease, tiny_state: ReleaseState, tmp_path: Path
) -> None:
    assert tiny_state.rules is not None
    without = dataclasses.replace(tiny_state, rules=dataclasses.replace(tiny_state.rules, intent=intent))
    found = send(engine_over(without, tiny, tmp_path), "new", ("view", "item-1", 0))
    assert (found.probability, found.note) == (None, note)
