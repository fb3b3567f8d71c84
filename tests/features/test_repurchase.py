"""What is bought again and when, in worlds whose answer is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.catalog import ItemCatalog
from features.columns import EVENT_TYPE_CODES
from features.errors import ReleaseError
from features.repeats.item_cycles import ItemCycles
from features.repeats.pair_evidence import DAY_US, PairEvidence
from features.repeats.repurchase import HABIT, INTEREST, TIMING, RepurchaseModel, variables
from features.sequences import Sequences

VIEW, CART, BUY = (EVENT_TYPE_CODES[name] for name in ("view", "cart", "purchase"))
CYCLE, HORIZON, END = 30.0, 7.0, 300
CATALOG = ItemCatalog.blank(9)
Event = tuple[float, int, int]  # day, item, event type


def history_of(*users: list[Event]) -> Sequences:
    rows = [sorted(user) for user in users]
    flat = [event for user in rows for event in user]
    return Sequences.from_arrays(
        offsets=np.cumsum([0, *(len(user) for user in rows)]),
        item=[event[1] for event in flat],
        event_type=[event[2] for event in flat],
        ts=[round(event[0] * DAY_US) for event in flat],
    )


def planted(num_users: int, *, seed: int) -> Sequences:
    """Everybody buys items 2 to 7 every 30 days, each from a day of its own on, and item 8 once."""
    rng = np.random.default_rng(seed)
    users = []
    for _ in range(num_users):
        events: list[Event] = [(float(rng.uniform(1, END)), 8, BUY)]
        for item in range(2, 8):
            day = float(rng.uniform(1, CYCLE))
            while day < END:
                events.append((day, item, BUY))
                day += CYCLE * float(np.exp(0.05 * rng.standard_normal()))
        users.append(events)
    return history_of(*users)


@pytest.fixture(scope="module")
def model() -> RepurchaseModel:
    return RepurchaseModel.fit(planted(250, seed=0), CATALOG, as_of_us=END * DAY_US, horizon_days=HORIZON)


def bought_ago(days: dict[int, float], *, once: float) -> list[Event]:
    """Nine purchases of each item a cycle apart, the last so many days before day 300, and one of item 8."""
    regular = [(END - ago - CYCLE * back, item, BUY) for item, ago in days.items() for back in range(9)]
    return [*[event for event in regular if event[0] > 0], (END - once, 8, BUY)]


def test_score_when_an_item_is_due_then_first_and_when_just_bought_then_held_back(model: RepurchaseModel) -> None:
    history = history_of(bought_ago({2: 1, 3: 7, 4: 13, 5: 19, 6: 26, 7: 29}, once=3))
    items, chances = model.score(history, now_us=END * DAY_US, timing=True).list_of(0)
    assert set(items[:2].tolist()) == {6, 7}, "due in four days and in one"
    assert (chances[:2] > 0.8).all()
    assert (chances[2:] < 0.2).all()
    untimed = model.score(history, now_us=END * DAY_US, timing=False)
    assert np.ptp(untimed.score[untimed.item != 8]) < 0.35, "without timing, equal habits compete on equal terms"
    assert untimed.item[-1] == 8, "what nobody buys again comes last"


def test_score_when_chances_are_compared_with_what_came_then_calibrated(model: RepurchaseModel) -> None:
    later = planted(250, seed=1)
    now_us = (END - 7) * DAY_US
    known, after = later.between(None, now_us), later.between(now_us, None)
    found = model.score(known, now_us=now_us, timing=True)
    user = np.repeat(np.arange(found.num_lists), np.diff(found.offsets))
    came = np.isin(user * 9 + found.item, after.user_of_event * 9 + after.item)
    likely = found.score > 0.5
    assert came[likely].mean() == pytest.approx(found.score[likely].mean(), abs=0.05)
    assert came[~likely].mean() == pytest.approx(found.score[~likely].mean(), abs=0.03)
    assert came[likely].mean() > 0.85


def test_score_when_events_lie_after_now_then_they_do_not_count(model: RepurchaseModel) -> None:
    later = planted(20, seed=2)
    now_us = 200 * DAY_US
    whole = model.score(later, now_us=now_us, timing=True)
    cut = model.score(later.between(None, now_us), now_us=now_us, timing=True)
    assert whole.item.tolist() == cut.item.tolist()
    assert whole.score.tolist() == cut.score.tolist()
    each = model.score(later, now_us=np.full(20, now_us), timing=True)
    assert each.score.tolist() == cut.score.tolist()


def test_fit_when_the_future_changes_then_the_model_does_not() -> None:
    log = planted(60, seed=3)
    as_of_us = 200 * DAY_US
    future = log.ts >= as_of_us
    garbage = dataclasses.replace(log, item=np.where(future, 8, log.item), event_type=np.where(future, VIEW, BUY))
    one = RepurchaseModel.fit(log, CATALOG, as_of_us=as_of_us, horizon_days=HORIZON)
    other = RepurchaseModel.fit(garbage, CATALOG, as_of_us=as_of_us, horizon_days=HORIZON)
    for field in dataclasses.fields(ItemCycles):
        assert np.array_equal(getattr(one.cycles, field.name), getattr(other.cycles, field.name))
    assert one.timed.to_dict() == other.timed.to_dict()
    assert one.met.to_dict() == other.met.to_dict()


def test_score_when_compared_with_one_user_at_a_time_then_equal_and_best_first(model: RepurchaseModel) -> None:
    log = planted(12, seed=4)
    log = dataclasses.replace(log, event_type=np.where(np.arange(log.num_events) % 5 == 0, VIEW, log.event_type))
    for kind in ("bought", "met", "all"):
        found = model.score(log, now_us=END * DAY_US, timing=True, kind=kind)
        for user in range(log.num_users):
            alone = model.score(log.take([user]), now_us=END * DAY_US, timing=True, kind=kind)
            assert alone.item.tolist() == found.list_of(user)[0].tolist()
            assert alone.score == pytest.approx(found.list_of(user)[1], rel=1e-5)
            assert (np.diff(alone.score) <= 0).all()
            bought = set(log.take([user]).where(log.take([user]).event_type == BUY).item.tolist())
            seen = set(log.items_of(user).tolist())
            assert set(alone.item.tolist()) == {"bought": bought, "met": seen - bought, "all": seen}[kind]


def test_chance_when_worked_out_by_hand_then_equal() -> None:
    """One pair: bought on days 10 and 20, asked on day 26; a world with given cycles and weights."""
    history = history_of([(10, 2, BUY), (20, 2, BUY), (22, 2, CART), (21, 3, VIEW)])
    evidence = PairEvidence.of(history, now_us=26 * DAY_US)
    flat = np.full(9, 0.5)
    cycles = ItemCycles(
        again=flat, again_soon=flat, converts=flat, log_gap=np.full(9, np.log(40)), spread=flat, own_strength=3.0,
        rate=flat, recent_rate=flat,
    )  # fmt: skip
    names = (*HABIT, *INTEREST, *TIMING)
    rows = np.array([True, False])
    found = dict(zip(names, variables(evidence, cycles, rows, names, horizon_days=7.0)[0], strict=True))
    own = (np.log(10) + 3 * np.log(40)) / 4  # one gap of 10 days, and the item's of 40 counting as three
    width = 0.5 * np.sqrt(3) / np.pi
    done = 1 / (1 + np.exp(-(np.log(6.5) - own) / width))
    then = 1 / (1 + np.exp(-(np.log(13.5) - own) / width))
    due = 0.5 * (then - done) / (1 - 0.5 * done)
    assert found["due"] == pytest.approx(np.log(due / (1 - due)))
    assert found["lateness"] == pytest.approx(np.log(6.5) - own)
    assert found["occasions"] == pytest.approx(np.log(3))
    assert found["intents"] == pytest.approx(np.log(2))
    assert found["since_met"] == pytest.approx(np.log(5))
    assert found["recent"] == 0


def test_score_when_the_log_has_no_instants_then_by_count_and_latest_first() -> None:
    log = Sequences.from_arrays(offsets=[0, 5, 6], item=[2, 3, 4, 4, 3, 2])
    model = RepurchaseModel.fit(log, CATALOG, as_of_us=0)
    assert model.all_are_purchases
    found = model.score(log, now_us=0, timing=True)
    assert found.list_of(0)[0].tolist() == [3, 4, 2]
    assert found.list_of(1)[0].tolist() == [2]


def test_score_when_carted_and_not_bought_then_met_outranks_a_mere_view() -> None:
    """Users view two items a week; of what they also cart, they buy half a few days on."""
    rng = np.random.default_rng(5)
    users = []
    for _ in range(150):
        events: list[Event] = []
        for week in range(20):
            for item in rng.choice(np.arange(2, 9), 2, replace=False).tolist():
                day = 7 * week + 1 + float(rng.uniform(0, 3))
                events.append((day, item, VIEW))
                if rng.random() < 0.4:
                    events.append((day + 0.1, item, CART))
                    if rng.random() < 0.5:
                        events.append((day + 3, item, BUY))
        users.append(events)
    model = RepurchaseModel.fit(history_of(*users), CATALOG, as_of_us=140 * DAY_US, horizon_days=7)
    asked = history_of([(99, 2, VIEW), (99, 3, VIEW), (99.1, 3, CART)])
    found = model.score(asked, now_us=100 * DAY_US, timing=True, kind="all")
    assert found.item.tolist() == [3, 2]
    assert model.score(asked, now_us=100 * DAY_US, timing=True).item.tolist() == []


def test_file_when_read_back_then_the_same_scores(model: RepurchaseModel, tmp_path: Path) -> None:
    model.save(tmp_path / "repurchase.parquet")
    again = RepurchaseModel.load(tmp_path / "repurchase.parquet")
    log = planted(5, seed=6)
    for timing in (True, False):
        one = model.score(log, now_us=END * DAY_US, timing=timing, kind="all")
        other = again.score(log, now_us=END * DAY_US, timing=timing, kind="all")
        assert one.item.tolist() == other.item.tolist()
        assert one.score.tolist() == other.score.tolist()


def test_file_when_of_another_format_then_error_says_so(tmp_path: Path) -> None:
    pq.write_table(pa.table({"again": [0.5]}), tmp_path / "repurchase.parquet")
    with pytest.raises(ReleaseError, match="expected repurchase format 1, found None"):
        RepurchaseModel.load(tmp_path / "repurchase.parquet")


def test_fit_when_the_log_is_empty_then_a_model_that_knows_nothing() -> None:
    empty = Sequences.from_arrays(offsets=[0, 0], item=[])
    model = RepurchaseModel.fit(empty, CATALOG, as_of_us=DAY_US)
    assert model.score(empty, now_us=DAY_US, timing=True).num_lists == 1
    assert len(model.score(history_of([(1, 2, BUY)]), now_us=3 * DAY_US, timing=True).item) == 1
