"""What purchase intent reads of a customer: the same from a past log as from events sent to the service."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path

import pytest

from features.intent.moments import read_moments
from features.intent.visit import KNOWN
from features.rules.live import LiveEvent
from serving.customers.live_intent import followed
from tests.features.intent_world import CATEGORIES, GAP_S, START, build_log, random_events, rows_of

DAY = dt.date(2024, 3, 4)


def test_known_when_followed_live_then_as_in_training_and_nothing_later_matters(tmp_path: Path) -> None:
    worlds = [random_events(seed, num_events=40) for seed in range(6)]
    log, items = build_log(tmp_path, [row for user, events in enumerate(worlds) for row in rows_of(f"u{user}", events)])
    moments, start_us, chance = (
        read_moments(log, items, gap_minutes=30),
        round(START.timestamp() * 1e6),
        random.Random(0),
    )
    assert len(moments) > 100
    for row, (customer, began_us) in enumerate(zip(moments.customer, moments.start_us, strict=True)):
        trained = dict(zip(KNOWN, moments.known[row], strict=True))
        now_us = int(began_us) + round(trained["seconds"] * 1e6)
        sent = [_event(start_us + round(at * 1e6), kind, item) for at, kind, item in worlds[customer]]
        known = [event for event in sent if event.at_us <= now_us]
        chance.shuffle(known)  # they arrive in any order
        visitor = followed(known, GAP_S * 1_000_000)
        live = visitor.known(now_us, hour=int(trained["hour"]), weekday=int(trained["weekday"]))
        assert dict(zip(KNOWN, live, strict=True)) == pytest.approx(trained, abs=1e-9)
        assert visitor.start_us == began_us


def _event(at_us: int, kind: str, item: str | None) -> LiveEvent:
    fields = {"item_id": item, "category": CATEGORIES.get(item or "")}
    return LiveEvent(event_type=kind, at_us=at_us, local_day=DAY, fields=fields)
