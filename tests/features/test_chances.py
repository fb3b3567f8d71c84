"""Calibration and scores of chances, beside scikit-learn and pair by pair."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from features.chances.calibration import Calibration
from features.chances.logistic import chance_of
from features.chances.scores import Area, calibration_error, calibration_error_by_luck, log_loss


def test_isotonic_when_compared_with_scikit_learn_then_equal_at_what_was_seen() -> None:
    rng = np.random.default_rng(0)
    log_odds = np.round(rng.normal(size=400), 1)  # with ties
    came = rng.random(400) < chance_of(log_odds)
    found = Calibration.fit("isotonic", log_odds, came)
    peer = IsotonicRegression(out_of_bounds="clip").fit(log_odds, came)
    corners = np.array(found.log_odds)
    inside = (np.array(found.chance) > min(found.chance)) & (np.array(found.chance) < max(found.chance))
    # A corner stands at the mean of its block, in which scikit-learn's steps are flat.
    np.testing.assert_allclose(np.array(found.chance)[inside], peer.predict(corners[inside]), atol=1e-9)
    assert (np.diff(found.chance) >= 0).all()
    assert 0 < found.of(np.array([-99.0]))[0] < found.of(np.array([99.0]))[0] < 1


def test_platt_when_log_odds_are_stretched_and_shifted_then_the_line_takes_it_back() -> None:
    rng = np.random.default_rng(1)
    true = rng.normal(size=40_000)
    came = rng.random(40_000) < chance_of(true)
    found = Calibration.fit("platt", 2 * true + 1, came)
    assert (found.slope, found.bias) == pytest.approx((0.5, -0.5), abs=0.03)
    again = Calibration.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again.to_dict() == found.to_dict()


def test_calibration_when_outcomes_are_few_or_turn_the_order_round_then_none() -> None:
    log_odds = np.linspace(-1, 1, 1000)
    assert Calibration.fit("isotonic", log_odds, np.arange(1000) < 19).method == "none"
    assert Calibration.fit("platt", log_odds, log_odds < 0).method == "none"
    assert Calibration.fit("platt", log_odds, log_odds > 0).method == "platt"


def test_area_when_compared_pair_by_pair_then_equal() -> None:
    rng = np.random.default_rng(2)
    score, came = rng.integers(0, 6, 80).astype(float), rng.random(80) < 0.4
    pairs = [(a > b) + (a == b) / 2 for a in score[came] for b in score[~came]]
    assert Area.of(score, came).auc == pytest.approx(np.mean(pairs))
    assert Area.of(score, came).influence.sum() == pytest.approx(0)


def test_interval_when_rows_of_a_group_are_copies_then_as_of_one_row_each() -> None:
    rng = np.random.default_rng(3)
    score, other, came = rng.normal(size=300), rng.normal(size=300), rng.random(300) < 0.3
    once, four = Area.of(score, came), Area.of(np.repeat(score, 4), np.repeat(came, 4))
    group = np.repeat(np.arange(300), 4)
    assert four.half_width(group) == pytest.approx(once.half_width())
    assert four.half_width() == pytest.approx(once.half_width() / 2, rel=0.01)
    against = Area.of(np.repeat(other, 4), np.repeat(came, 4))
    assert four.less(against, group) == pytest.approx(once.less(Area.of(other, came)))


def test_interval_when_worlds_are_drawn_again_then_it_covers_the_truth() -> None:
    rng = np.random.default_rng(4)
    inside = 0
    for _ in range(200):
        score, came = rng.normal(size=200), rng.random(200) < 0.5
        found = Area.of(score, came)
        inside += abs(found.auc - 0.5) < found.half_width()
    assert 180 <= inside <= 199


def test_calibration_error_when_chances_are_right_then_what_luck_gives() -> None:
    rng = np.random.default_rng(5)
    chance = rng.random(5_000)
    came = rng.random(5_000) < chance
    assert calibration_error(chance, came) < 1.7 * calibration_error_by_luck(chance)
    assert calibration_error(chance / 2, came) == pytest.approx(0.25, abs=0.02)
    assert log_loss(chance, came) < log_loss(chance / 2, came)
