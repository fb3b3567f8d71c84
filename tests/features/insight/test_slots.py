"""Slots: answers by hand, looks and appeals of planted worlds, proposals against all permutations."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.optimize import minimize

from features.errors import ConfigError
from features.insight.intervals import wilson
from features.insight.slots.allocation import propose
from features.insight.slots.answers import impressions, slot_answers, slot_repeats
from features.insight.slots.definition import SlotDefinition
from features.insight.slots.position import position_model
from features.insight.slots.repeats import spread_of
from features.insight.slots.table import slot_table
from tests.features.engines import assert_equal_tables, canonical

KEYS = ["slot", "item_id"]


def at(minute: float) -> pd.Timestamp:
    return pd.Timestamp("2026-03-02T10:00Z") + pd.Timedelta(minutes=minute)


SHOWN = [
    ("a", "i", "home_1", 0),  # viewed from there a minute later, bought an hour later
    ("a", "i", "home_1", 300),  # shown again, viewed too late
    ("a", "j", "home_2", 0),  # viewed, but from home_1
    ("b", "i", "home_1", 0),  # shown twice before it is viewed: the second time counts
    ("b", "i", "home_1", 10),
    ("b", "j", "home_2", 0),  # viewed without a slot
    ("c", "i", "side", 0),
]
EVENTS = [
    ("a", "i", "view", "home_1", 1, None),
    ("a", "i", "purchase", "home_1", 61, 500),
    ("a", "i", "view", "home_1", 340, None),
    ("a", "i", "purchase", None, 12 * 24 * 60, 900),  # long after
    ("a", "j", "view", "home_1", 1, None),
    ("b", "i", "view", "home_1", 11, None),
    ("b", "j", "view", None, 5, None),
    ("b", "j", "purchase", None, 6, 200),
    ("b", "j", "purchase", None, 7, 200),
]


def shown() -> pd.DataFrame:
    frame = pd.DataFrame(SHOWN, columns=["user_id", "item_id", "slot", "minute"])
    return frame.assign(ts=pd.DatetimeIndex([at(x) for x in frame["minute"]]).as_unit("us")).drop(columns="minute")


def events() -> pd.DataFrame:
    frame = pd.DataFrame(EVENTS, columns=["user_id", "item_id", "event_type", "slot", "minute", "price"])
    return frame.assign(
        ts=pd.DatetimeIndex([at(x) for x in frame["minute"]]).as_unit("us"),
        event_id=[f"e{n}" for n in range(len(frame))],
        price=frame["price"].astype("Int64"),
        quantity=pd.array([None] * len(frame), dtype="Int64"),
    ).drop(columns="minute")


def figures(native: Any) -> dict[tuple[str, str], list[int]]:
    frame = canonical(native, KEYS).set_index(KEYS)
    return {key: [int(x) for x in row] for key, row in zip(frame.index, frame.to_numpy(), strict=True)}


def test_answers_when_worked_by_hand_then_equal() -> None:
    named = {("home_1", "i"): [2, 4, 2, 1, 500], ("home_2", "j"): [2, 2, 0, 0, 0], ("side", "i"): [1, 1, 0, 0, 0]}
    assert figures(slot_answers(shown(), events(), SlotDefinition())) == named
    unnamed = named | {("home_2", "j"): [2, 2, 1, 1, 400]}
    assert figures(slot_answers(shown(), events(), SlotDefinition(unnamed=True))) == unnamed
    assert list(figures(slot_answers(shown(), events(), SlotDefinition(slots=("home_2", "si"))))) == [
        ("home_2", "j"), ("side", "i")
    ]  # fmt: skip


def test_answers_when_a_purchase_follows_several_clicks_then_it_is_counted_once_and_is_the_last_ones() -> None:
    came = events()[:2].assign(slot=["home_1", None], ts=[at(1), at(61)])
    again = came[:1].assign(slot="side", ts=at(30), event_id="e")
    times = shown()[:1]
    times = pd.concat([times, times, times.assign(slot="side", ts=at(29))])  # the first is logged twice
    found = figures(slot_answers(times, pd.concat([came, again]), SlotDefinition()))
    assert found == {("home_1", "i"): [1, 1, 1, 0, 0], ("side", "i"): [1, 1, 1, 1, 500]}


def test_answers_when_a_slots_name_has_signs_of_sql_then_it_is_a_name() -> None:
    name = "h{1}'\\ü_1"
    renamed = [frame.assign(slot=frame["slot"].replace("home_1", name)) for frame in (shown(), events())]
    assert list(figures(slot_answers(*renamed, SlotDefinition(slots=(name[:-1],))))) == [(name, "i")]


def test_impressions_when_the_log_has_them_then_they_are_exposures() -> None:
    logged = events().assign(event_type="impression")
    assert len(impressions(logged)) == logged["slot"].notna().sum()


@pytest.mark.xdist_group("spark")
@pytest.mark.parametrize("unnamed", [False, True])
def test_answers_when_run_by_another_engine_then_equal_to_pandas(connection: Any, spark: Any, unnamed: bool) -> None:
    definition = SlotDefinition(unnamed=unnamed)
    expected = canonical(slot_answers(shown(), events(), definition), KEYS)
    assert len(expected) == 3
    sums = canonical(slot_repeats(shown(), events(), definition), ["slot"])
    assert_equal_tables(
        canonical(slot_repeats(connection.from_df(shown()), connection.from_df(events()), definition), ["slot"]), sums
    )
    found = slot_answers(connection.from_df(shown()), connection.from_df(events()), definition)
    assert_equal_tables(canonical(found, KEYS), expected)
    made = [spark.createDataFrame(pa.Table.from_pandas(frame)) for frame in (shown(), events())]
    assert_equal_tables(canonical(slot_answers(*made, definition), KEYS), expected)
    if not unnamed:
        assert_equal_tables(canonical(slot_repeats(*made, definition), ["slot"]), sums)


def test_intervals_when_customers_repeat_themselves_then_five_times_shown_to_one_are_worth_one() -> None:
    times = [(f"u{n:02}", slot, 60 * 24 * day) for n in range(40) for slot in ("s0", "s1") for day in range(5)]
    frame = pd.DataFrame(times, columns=["user_id", "slot", "minute"]).assign(item_id="i")
    frame["ts"] = pd.DatetimeIndex([at(x) for x in frame["minute"]]).as_unit("us")
    # Half of them click each time in s0, a quarter in s1.
    clicks = frame[frame["user_id"].str[1:].astype(int) % 4 < frame["slot"].map({"s0": 2, "s1": 1})]
    log = clicks.assign(event_type="view", event_id=[f"e{n}" for n in range(len(clicks))], price=1, quantity=1)
    answers, repeats = (ask(frame, log, SlotDefinition()) for ask in (slot_answers, slot_repeats))
    spread = spread_of(answers, repeats)
    assert spread == pytest.approx({"s0": 5.0, "s1": 5.0})
    model, narrow = position_model(answers, spread=spread), position_model(answers)
    table = slot_table(answers, model, repeats).set_index("slot")
    ends = [float(end) for end in wilson(20, 40)]
    assert table.loc["s0", ["click_rate_low", "click_rate_high"]].tolist() == pytest.approx(ends)
    wide, plain = (np.diff(np.log(one.slots[["low", "high"]].to_numpy()[1]))[0] for one in (model, narrow))
    assert wide / plain == pytest.approx(5**0.5, rel=0.15)


LOOK = np.array([1.0, 0.6, 0.4, 0.25])


def world(seed: int, *, num_items: int = 40, shown_each: int = 400) -> tuple[pd.DataFrame, np.ndarray]:
    """Good items stand in good slots more often; clicks come by look and appeal."""
    rng = np.random.default_rng(seed)
    appeal = rng.gamma(8, 0.1 / 8, num_items)
    order = np.argsort(np.argsort(-appeal)) * len(LOOK) // num_items
    rows = []
    for slot, item in itertools.product(range(len(LOOK)), range(num_items)):
        times = rng.poisson(shown_each * (3.0 if order[item] == slot else 0.5))
        clicked = rng.binomial(times, LOOK[slot] * appeal[item])
        rows.append((f"s{slot}", f"i{item}", times, clicked, rng.binomial(clicked, 0.2), 0))
    columns = ["slot", "item_id", "shown", "clicked", "bought", "revenue"]
    return pd.DataFrame(rows, columns=columns), appeal


def test_looks_when_good_items_stand_in_good_slots_then_the_plain_rate_misleads_and_the_model_does_not() -> None:
    held = []
    for seed in range(12):
        answers, _ = world(seed)
        model = position_model(answers)
        table = slot_table(answers, model).set_index("slot")
        plain = table["click_rate"] / table["click_rate"]["s0"]
        held += [
            low <= true <= high for true, low, high in zip(LOOK, table["look_low"], table["look_high"], strict=True)
        ]
        assert table["look"].tolist() == pytest.approx(LOOK.tolist(), abs=0.1)
        assert plain["s3"] < 0.2  # the last slot is better than it seems
    assert np.mean(held) > 0.85


def test_looks_when_fitted_then_no_other_has_a_larger_likelihood() -> None:
    answers, _ = world(3, num_items=6, shown_each=60)
    model = position_model(answers)
    slot, item = pd.factorize(answers["slot"])[0], pd.factorize(answers["item_id"])[0]
    times, came = answers["shown"].to_numpy(float), answers["clicked"].to_numpy(float)

    def loss(logs: np.ndarray) -> float:
        mean = times * np.exp(np.concatenate([[0.0], logs[:3]])[slot] + logs[3:][item])
        return float((mean - came * np.log(np.maximum(mean, 1e-300))).sum())

    best = minimize(loss, np.full(9, -1.0), method="BFGS")
    expected = np.exp(np.concatenate([[0.0], best.x[:3]]))
    assert model.slots.set_index("slot")["look"].sort_index().to_numpy() == pytest.approx(
        expected / expected.max(), rel=1e-3
    )


def test_looks_when_a_slot_shares_no_item_with_the_best_then_it_is_said() -> None:
    answers, _ = world(0)
    alone = pd.DataFrame([("z", "other", 500, 50, 5, 0)], columns=answers.columns)
    model = position_model(pd.concat([answers, alone], ignore_index=True))
    assert model.apart == ("z",)
    assert model.slots.set_index("slot")["look"].isna().to_dict() == {f"s{n}": False for n in range(4)} | {"z": True}
    assert "other" not in set(model.items["item_id"])


def test_proposal_when_all_permutations_are_tried_then_none_is_better() -> None:
    answers, _ = world(5, num_items=6)
    model = position_model(answers)
    found = propose(model, answers, SlotDefinition(min_shown=1))
    assert found is not None
    look = model.slots.set_index("slot")
    appeal = model.items.set_index("item_id")["appeal"]
    weight = (look["shown"] * look["look"])[found.frame["slot"]].to_numpy()
    values = [weight @ appeal[list(chosen)].to_numpy() for chosen in itertools.permutations(appeal.index, 4)]
    assert weight @ found.frame["appeal"].to_numpy() == pytest.approx(max(values))


def test_proposal_when_truth_is_known_then_its_gain_is_what_comes() -> None:
    held, promised, came = [], [], []
    for seed in range(16):
        answers, appeal = world(seed, shown_each=60)
        found = propose(position_model(answers), answers, SlotDefinition())
        assert found is not None
        chosen = np.array([int(item[1:]) for item in found.frame["item_id"]])
        places = [int(slot[1:]) for slot in found.frame["slot"]]
        times = answers.groupby("slot")["shown"].sum().to_numpy()[places]
        before = sum(
            (rows["shown"] * appeal[[int(item[1:]) for item in rows["item_id"]]]).sum() * LOOK[int(slot[1:])]
            for slot, rows in answers.groupby("slot")
        )
        true = float((times * LOOK[places] * appeal[chosen]).sum() / before - 1)
        held.append(found.low <= true <= found.high)
        promised.append(found.gain)
        came.append(true)
    assert np.mean(held) >= 0.75  # of counts so small that the spread of appeals is in doubt too
    assert np.mean(promised) == pytest.approx(np.mean(came), abs=0.06)  # the lucky few are not believed


def test_proposal_when_there_is_nothing_to_choose_then_none_is_made() -> None:
    answers, _ = world(0)
    assert propose(position_model(answers), answers, SlotDefinition(min_shown=10**9)) is None
    one = answers[answers["slot"] == "s0"]
    assert propose(position_model(one), one, SlotDefinition()) is None


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"goal": "click"}, r"slots\.goal: expected one of clicks, purchases, revenue, found 'click'\. Did you mean"),
        ({"click_minutes": 0}, r"slots\.click_minutes: expected a whole number of 1 or more, found 0"),
        ({"slots": [""]}, "a list of beginnings"),
        ({"unnamed": "yes"}, "expected true or false, found 'yes'"),
        ({"min_show": 5}, r"found 'min_show'\. Did you mean 'min_shown'\?"),
    ],
)
def test_definition_when_it_does_not_fit_then_says_what_was_expected(mapping: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SlotDefinition.parse(mapping, where="slots")
