"""Evidence of pairs and its shrinkage, beside loops and worked examples."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.columns import EVENT_TYPE_CODES
from features.repeats.item_cycles import ItemCycles, shrunk_means, shrunk_rates
from features.repeats.pair_evidence import DAY_US, FADE_TRIPS, PairEvidence
from features.sequences import Sequences

VIEW, CART, BUY = (EVENT_TYPE_CODES[name] for name in ("view", "cart", "purchase"))
NAMES = (
    *("user", "item", "occasions", "since_last", "since_first", "trips", "trips_since_last", "trips_since_first"),
    *("num_gaps", "sum_log_gap", "views", "intents", "since_met"),
)
Event = tuple[int, int, int]  # tenth of a day, item, event type

events = st.tuples(st.integers(1, 300), st.integers(2, 5), st.sampled_from([VIEW, CART, BUY, BUY]))
users = st.lists(st.lists(events, max_size=12).map(lambda rows: sorted(rows, key=lambda row: row[0])), max_size=5)


def history_of(rows: list[list[Event]]) -> Sequences:
    flat = [event for user in rows for event in user]
    return Sequences.from_arrays(
        offsets=np.cumsum([0, *(len(user) for user in rows)]),
        item=[event[1] for event in flat],
        event_type=[event[2] for event in flat],
        ts=[event[0] * DAY_US // 10 for event in flat],
    )


@given(rows=users, now=st.integers(1, 320))
def test_evidence_when_compared_with_a_loop_then_equal(rows: list[list[Event]], now: int) -> None:
    found = PairEvidence.of(history_of(rows), now_us=now * DAY_US // 10)
    expected = [
        (user, item, *slow_pair([event for event in known if event[0] < now], item, now))
        for user, known in enumerate(rows)
        for item in sorted({event[1] for event in known if event[0] < now})
    ]
    columns = [getattr(found, name).tolist() for name in NAMES] + [column.tolist() for column in found.faded.T]
    assert len(found.user) == len(expected)
    for got, wanted in zip(zip(*columns, strict=True), expected, strict=True):
        assert got == pytest.approx(wanted)


def slow_pair(known: list[Event], item: int, now: int) -> tuple[float, ...]:
    """Return the columns of one pair, from its definition."""
    days = sorted({event[0] // 10 for event in known if event[2] == BUY})
    own = sorted({event[0] // 10 for event in known if event[2] == BUY and event[1] == item})
    mine = [event for event in known if event[1] == item]
    last_at = max((event[0] for event in mine if event[2] == BUY), default=-1)
    first_at = (
        max((event[0] for event in mine if event[2] == BUY and event[0] // 10 == own[0]), default=0) if own else 0
    )
    back = [sum(day > one for day in days) for one in own]
    gaps = [later - earlier for earlier, later in itertools.pairwise(own)]
    after = [event for event in mine if event[0] > last_at and event[2] != BUY]
    return (
        len(own),
        (now - last_at) / 10 if own else 0,
        (now - first_at) / 10 if own else 0,
        len(days),
        back[-1] if own else 0,
        back[0] if own else 0,
        max(len(own) - 1, 0),
        sum(math.log(gap) for gap in gaps),
        sum(event[2] == VIEW for event in after),
        sum(event[2] == CART for event in after),
        (now - max(event[0] for event in mine)) / 10,
        *(sum(math.exp(-trips / fade) for trips in back) for fade in FADE_TRIPS),
    )


def test_evidence_when_instants_are_unknown_then_each_event_is_a_trip() -> None:
    history = Sequences.from_arrays(offsets=[0, 4], item=[2, 3, 2, 4], event_type=[BUY] * 4)
    found = PairEvidence.of(history, now_us=0)
    assert found.item.tolist() == [2, 3, 4]
    assert found.occasions.tolist() == [2, 1, 1]
    assert found.trips_since_last.tolist() == [1, 2, 0]
    assert found.since_last.tolist() == [2, 3, 1]


def test_evidence_when_the_log_has_no_purchases_then_every_event_stands_for_one() -> None:
    history = Sequences.from_arrays(offsets=[0, 2], item=[2, 2], event_type=[VIEW] * 2, ts=[DAY_US, 3 * DAY_US])
    found = PairEvidence.of(history, now_us=5 * DAY_US, all_are_purchases=True)
    assert found.occasions.tolist() == [2]
    assert PairEvidence.of(history, now_us=5 * DAY_US).occasions.tolist() == [0]


def test_rates_when_units_are_alike_then_pooled_and_when_they_differ_then_their_own() -> None:
    one_group = np.zeros(4, int)
    alike = shrunk_rates(np.array([2.0, 2, 2, 0]), np.array([4.0, 4, 4, 0]), one_group)
    assert alike == pytest.approx(0.5, abs=0.02)
    apart = shrunk_rates(np.array([95.0, 5, 96, 0]), np.array([100.0, 100, 100, 0]), one_group)
    assert apart[:3] == pytest.approx([0.95, 0.05, 0.96], abs=0.02)
    assert 0.3 < apart[3] < 0.9, "nothing known: the rate of all"


def test_rates_when_categories_differ_then_an_unknown_item_takes_its_categorys() -> None:
    group = np.array([0, 0, 0, 1, 1, 1])
    found = shrunk_rates(np.array([90.0, 91, 0, 10, 11, 0]), np.array([100.0, 100, 0, 100, 100, 0]), group)
    assert found[2] == pytest.approx(0.9, abs=0.05)
    assert found[5] == pytest.approx(0.1, abs=0.05)


def test_means_when_little_is_known_then_between_own_and_group() -> None:
    group = np.array([0, 0, 0, 0])
    found = shrunk_means(np.array([100.0, 300, 1, 0]), np.array([100.0, 100, 1, 0]), group, variance=1.0)
    assert found[:2] == pytest.approx([1, 3], abs=0.02)
    assert 1 < found[2] < 2, "one value of 1 among units around 2"
    assert found[3] == pytest.approx(401 / 201, abs=0.02)


def test_cycles_when_planted_then_found() -> None:
    """A thousand users buy item 2 every 5 days and item 3 every 20, item 4 once; noise of 0.1 in the logarithm."""
    rng = np.random.default_rng(0)
    rows: list[list[Event]] = []
    for _ in range(300):
        user = [(int(rng.integers(1, 200)), 4, BUY)]
        for item, cycle in ((2, 50), (3, 200)):
            at = float(rng.uniform(1, cycle))
            while at < 1500:
                user.append((int(at), item, BUY))
                at += cycle * float(np.exp(0.1 * rng.standard_normal()))
        rows.append(sorted(user))
    evidence = PairEvidence.of(history_of(rows), now_us=150 * DAY_US)
    found = ItemCycles.fit(evidence, np.array([""] * 5, object), horizon_days=10.0)
    assert np.exp(found.log_gap[2:4]) == pytest.approx([5, 20], rel=0.05)
    assert found.again_soon[2:] == pytest.approx([1, 0, 0], abs=0.03)
    assert found.again[2:] == pytest.approx([1, 0.95, 0], abs=0.07)
    assert found.spread[3] == pytest.approx(0.1, abs=0.03)
    assert found.rate[2] == pytest.approx(300 / 5, rel=0.05)
