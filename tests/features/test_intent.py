"""Purchase intent: what is known at a moment, a shop whose chances are planted, and shops that have none."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.intent.fit import PurchaseIntent, learn_intent
from features.intent.model import IntentModel
from features.intent.moments import read_moments
from features.intent.visit import KNOWN
from features.intent.words import reasons
from features.settings import ShopSettings
from features.tables.visits import VISIT_EVENTS
from tests.features.intent_world import GAP_S, START, build_log, random_events, rows_of, shop_of_carts, slow_known


@pytest.fixture(scope="module")
def carts(tmp_path_factory: pytest.TempPathFactory) -> PurchaseIntent:
    return learn_intent(*build_log(tmp_path_factory.mktemp("carts"), shop_of_carts()), shop=ShopSettings())


def model_of(intent: PurchaseIntent) -> IntentModel:
    assert intent.model is not None, intent.reason
    return intent.model


def moment(*, cart: bool, seconds: float = 0.0, silent: float = 0.0) -> tuple[float, ...]:
    """A newcomer's one view on a Monday morning, an hour of it ago, with or without the cart after it."""
    known = dict.fromkeys(KNOWN, 0.0) | {"view": 1, "items": 1, "categories": 1, "most_views": 1}
    known |= {"cart": float(cart), "in_cart": float(cart), "seconds": seconds, "silent_seconds": silent}
    known |= {"hour": 10, "weekday": 1, "past_visits": 8, "past_buying_visits": 2}
    known |= {"days_since_purchase": 20.0, "days_since_visit": 6.0}
    return tuple(known.values())


def test_known_when_read_from_a_log_then_as_its_slow_definition_says(tmp_path: Path) -> None:
    worlds = {f"u{seed}": random_events(seed) for seed in range(8)}
    log, items = build_log(tmp_path, [row for user, events in worlds.items() for row in rows_of(user, events)])
    found = read_moments(log, items, gap_minutes=30)
    assert len(found) > 300
    assert {int(customer) for customer in found.customer} == set(range(8))
    since = START.timestamp()
    for row in range(len(found)):
        events = worlds[f"u{found.customer[row]}"]
        now = found.start_us[row] / 1e6 - since + found.known[row, KNOWN.index("seconds")]
        expected = slow_known(events, round(now, 6))
        assert dict(zip(KNOWN, found.known[row], strict=True)) == pytest.approx(expected, abs=1e-5)
        later = min((one[0] for one in events if one[0] > round(now, 6) and one[1] in VISIT_EVENTS), default=np.inf)
        is_over = later - (now - expected["silent_seconds"]) > GAP_S + 1e-6
        assert found.next_seconds[row] == pytest.approx(np.inf if is_over else later - now, abs=1e-5)


def test_came_when_read_from_a_log_then_a_later_purchase_of_the_same_visit_and_no_other(tmp_path: Path) -> None:
    minutes = [
        (0, "view", "i1"),
        (5, "purchase", "i1"),
        (10, "view", "i2"),
        (100, "view", "i1"),
        (140, "purchase", "i1"),
    ]
    last = [(60 * 10_000, "login", None)]  # so that the end of the log cuts none of these off
    log, items = build_log(tmp_path, rows_of("ann", [(60 * at, k, i) for at, k, i in minutes] + last))
    found = read_moments(log, items, gap_minutes=30)
    at_minute = (found.start_us / 1e6 - START.timestamp() + found.known[:, KNOWN.index("seconds")]) / 60
    assert set(at_minute[found.came] < 5) == {True}
    assert not found.came[at_minute >= 5].any()
    assert (found.num_visits, found.num_bought, found.num_led) == (3, 2, 1)


def test_chance_when_carts_lead_to_purchases_then_as_planted(carts: PurchaseIntent, tmp_path: Path) -> None:
    model = model_of(carts)
    other = read_moments(*build_log(tmp_path, shop_of_carts(num_visits=1_500, seed=1)), gap_minutes=30)
    chance, in_cart = model.chance(other.known), other.known[:, KNOWN.index("in_cart")] > 0
    viewed = other.at_event & (other.known[:, KNOWN.index("seconds")] == 0)
    assert chance[viewed].mean() == pytest.approx(0.4 * 0.6 + 0.6 * 0.05, abs=0.03)
    assert chance[in_cart & other.at_event].mean() == pytest.approx(0.6, abs=0.04)
    waited = ~other.at_event & (other.known[:, KNOWN.index("silent_seconds")] > 130)
    assert chance[waited].max() < 0.1, "whoever buys has done so after two minutes"


def test_test_figures_when_planted_then_near_the_best_that_can_be_and_calibrated(carts: PurchaseIntent) -> None:
    test = carts.about["test"]
    assert test["ece"] < test["ece_by_luck"] + 0.03
    gap = test["baselines"]["events so far"]["ours_less_this"]
    assert gap[0] > 0
    assert gap[1] < gap[0] < gap[2]
    assert test["log_loss"] < test["log_loss_of_the_rate"]


def test_reasons_when_something_is_in_the_cart_then_it_says_so_and_silence_lowers(carts: PurchaseIntent) -> None:
    model = model_of(carts)
    known = moment(cart=True, seconds=60)
    chance, because = reasons(model, known)
    assert chance == pytest.approx(model.chance(np.array([known]))[0])
    factors = {one.text: one.odds_factor for one in because}
    assert factors["1 item in the cart"] > 1.5
    quiet = reasons(model, moment(cart=True, seconds=600, silent=540))[1]
    assert [one.odds_factor < 1 for one in quiet if one.text == "quiet for 9 minutes"] == [True]


def test_intent_when_saved_then_read_back_alike(carts: PurchaseIntent, tmp_path: Path) -> None:
    carts.save(tmp_path / "intent.json")
    again = PurchaseIntent.load(tmp_path / "intent.json")
    known = np.array([moment(cart=True), moment(cart=False, silent=30)])
    assert model_of(again).chance(known).tolist() == model_of(carts).chance(known).tolist()
    assert again.about == carts.about


def baskets(**more: Any) -> list[dict[str, Any]]:
    """Two baskets a day apart, of each of many customers: a log of what was bought and nothing else."""
    days = [(number % 50 * 86_400.0, "purchase", f"i{number % 6}") for number in range(200)]
    return [row | more for number, one in enumerate(days) for row in rows_of(f"u{number % 40}", [one])]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (baskets(), "only 0 of 196 visits with a purchase hold an event before it"),
        (baskets(event_type="view"), "none of the 196 visits in the log ended in a purchase"),
        (shop_of_carts(num_visits=200), "too few visits to learn from"),
    ],
    ids=["baskets only", "no purchase", "few"],
)
def test_intent_when_there_is_nothing_to_learn_from_then_it_says_why(
    rows: list[dict[str, Any]], said: str, tmp_path: Path
) -> None:
    log, items = build_log(tmp_path, rows)
    found = learn_intent(log, items, shop=ShopSettings())
    assert found.model is None
    assert said in found.reason


def test_intent_when_nobody_consents_then_nobody_is_learned_from(tmp_path: Path) -> None:
    at = START - dt.timedelta(days=1)
    said = [{"user_id": "u001", "purpose": "analytics", "granted": True, "at": at}]
    log, items = build_log(tmp_path, shop_of_carts(num_visits=50), consents=said)
    found = learn_intent(log, items, shop=ShopSettings())
    assert found.reason == "the log holds no visit of a customer who consents to personalisation"


def test_intent_when_a_shop_logs_no_views_then_carts_alone_will_do(tmp_path: Path) -> None:
    rows = [row for row in shop_of_carts(num_visits=3_000, in_cart=1.0) if row["event_type"] != "view"]
    log, items = build_log(tmp_path, rows)
    model = model_of(learn_intent(log, items, shop=ShopSettings()))
    assert "view" not in model.logit.names
    moments = read_moments(log, items, gap_minutes=30)
    put = moments.at_event & (moments.known[:, KNOWN.index("in_cart")] > 0)
    assert model.chance(moments.known[put]).mean() == pytest.approx(0.6, abs=0.03)
