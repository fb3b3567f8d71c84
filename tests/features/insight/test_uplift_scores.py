"""Qini, AUUC and uplift at k against orders worked by hand, and against a slow count of every prefix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ConfigError, DataError
from features.insight.uplift.curves import curve
from features.insight.uplift.scores import Scoring, auuc, qini_coefficient, scores, uplift_at
from features.insight.uplift.trial import Trial

# Ann was treated and came, Bob was treated and did not; Cyd was held out and came, Dan was held out and did not.
FOUR = Trial(outcome=[1, 0, 1, 0], treated=[True, True, False, False])
PERFECT, INVERSE, TIED = [1, 0, -1, 0], [-1, 0, 1, 0], [7, 7, 7, 7]


def test_qini_curve_when_the_order_is_perfect_then_up_flat_and_down() -> None:
    # Ann: 1. With Bob and Dan, who tie: 1 - 0 * 2 / 1. With Cyd: 1 - 1 * 2 / 2.
    found = curve(FOUR, PERFECT)
    assert found.customers.tolist() == [0, 1, 3, 4]
    assert found.gain.tolist() == [0, 1, 1, 0]
    assert found.area_above_random == 0.5 + 2 + 0.5


def test_qini_curve_when_the_order_is_inverse_then_below_the_line() -> None:
    # Cyd: nobody treated yet, 0. With Bob and Dan: 0 - 1 * 1 / 2. With Ann: 1 - 1 * 2 / 2.
    found = curve(FOUR, INVERSE)
    assert found.gain.tolist() == [0, 0, -0.5, 0]
    assert found.area_above_random == -(0.5 + 0.25)


def test_qini_coefficient_when_stated_in_each_way_then_as_by_hand() -> None:
    assert qini_coefficient(FOUR, PERFECT, normalisation="perfect") == 1
    assert qini_coefficient(FOUR, INVERSE, normalisation="perfect") == -0.75 / 3
    assert qini_coefficient(FOUR, PERFECT) == 3 / (4 * 2)  # N times the treated
    assert qini_coefficient(FOUR, TIED) == 0
    assert np.isnan(qini_coefficient(FOUR, PERFECT, normalisation="perfect_without_harm"))  # nothing is gained in all


def test_qini_coefficient_when_nobody_is_put_off_then_the_best_order_rises_one_by_one_and_stays() -> None:
    # Two of two treated came, none of two held out: gain 2 of 4. Best: (0, 0) (2, 2) (4, 2), area 6 less 4.
    trial = Trial(outcome=[1, 1, 0, 0], treated=[True, True, False, False])
    assert qini_coefficient(trial, [4, 3, 2, 1], normalisation="perfect_without_harm") == 1
    # Both held out first: 0, 0, 0 - 0 + 1, 2 at 4: area .5 + 1.5, less 4: -2 of 2.
    assert qini_coefficient(trial, [1, 2, 3, 4], normalisation="perfect_without_harm") == -1


def test_auuc_when_worked_by_hand_then_equal() -> None:
    # Ann: (1 - 0) * 1. Bob, Dan: (1/2 - 0) * 3. Cyd: (1/2 - 1/2) * 4. Area .5 + 2.5 + .75.
    assert curve(FOUR, PERFECT, kind="uplift").gain.tolist() == [0, 1, 1.5, 0]
    assert auuc(FOUR, PERFECT) == (0.5 + 2.5 + 0.75) / 16
    assert auuc(FOUR, TIED, normalisation="perfect") == 0


def test_uplift_at_when_the_cut_falls_among_equal_scores_then_each_counts_in_part() -> None:
    # Half of four: Ann, and half each of Bob and Dan: treated 1.5 with 1 who came, held out .5 with 0.
    assert uplift_at(FOUR, PERFECT, 0.5) == pytest.approx(1 / 1.5)
    assert uplift_at(FOUR, PERFECT, 1.0) == 0
    assert np.isnan(uplift_at(FOUR, PERFECT, 0.25))  # nobody held out among them


def test_scores_when_an_order_is_random_then_the_intervals_hold_nothing() -> None:
    rng = np.random.default_rng(5)
    trial = Trial(outcome=rng.random(4000) < 0.2, treated=rng.random(4000) < 0.5)
    found = scores(trial, rng.normal(size=4000), Scoring(resamples=100, normalisation="perfect", shares=(0.3,)))
    assert found["measure"].tolist() == ["qini", "auuc", "uplift"]
    assert found["low"][0] < 0 < found["high"][0]
    assert ((found["low"] < found["value"]) & (found["value"] < found["high"])).all()


def test_scores_when_the_order_is_the_truth_then_above_zero_beyond_the_interval() -> None:
    rng = np.random.default_rng(4)
    effect, treated = rng.random(6000) * 0.4, rng.random(6000) < 0.3
    trial = Trial(outcome=rng.random(6000) < 0.1 + effect * treated, treated=treated)
    found = scores(trial, effect, Scoring(resamples=100)).set_index("measure")
    assert found.loc["qini", "low"] > 0
    # The first share s by the truth gains s (0.4 - 0.2 s): less the line 0.2 s, its area is 0.1 - 0.2 / 3.
    assert found.loc["auuc", "value"] == pytest.approx(0.1 - 0.2 / 3, abs=0.015)
    assert found.loc["uplift"].query("share == 0.1")["value"].item() == pytest.approx(0.38, abs=0.1)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from([0.0, 1.0, 2.5])), min_size=2, max_size=25
    )
)
def test_curves_when_counted_prefix_by_prefix_then_equal(rows: list[tuple[int, bool, float]]) -> None:
    rows = [*rows, (1, True, 1.0), (2, False, 0.0)]
    score, treated, outcome = (np.array(column) for column in zip(*rows, strict=True))
    trial = Trial(outcome=outcome, treated=treated)
    qini, uplift = curve(trial, score), curve(trial, score, kind="uplift")
    assert len(qini.gain) == 1 + len(set(score.tolist()))
    for place, least in enumerate(sorted(set(score.tolist()), reverse=True), 1):
        first = score >= least
        n_t, n_c = int((first & treated).sum()), int((first & ~treated).sum())
        y_t, y_c = outcome[first & treated].sum(), outcome[first & ~treated].sum()
        assert qini.gain[place] == pytest.approx(y_t - (y_c * n_t / n_c if n_c else 0))
        rates = (y_t / n_t if n_t else 0) - (y_c / n_c if n_c else 0)
        assert uplift.gain[place] == pytest.approx(rates * first.sum())


@pytest.mark.parametrize(
    ("outcome", "treated", "message"),
    [
        (
            [1, 0],
            [True, True],
            "expected a control group, found nobody in it among 2 customers; uplift needs a campaign",
        ),
        ([1, 0], [False, False], "expected a treated group"),
        ([1, np.nan], [False, True], "expected finite outcomes, found 1 that are not"),
        ([1], [False, True], r"expected one outcome and one arm a customer, found \(1,\) and \(2,\)"),
    ],
)
def test_trial_when_it_is_none_then_says_what_was_expected(
    outcome: list[float], treated: list[bool], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Trial(outcome=outcome, treated=treated)


def test_scores_when_asked_for_what_cannot_be_then_says_so() -> None:
    money = Trial(outcome=[3, 0], treated=[True, False])
    with pytest.raises(ConfigError, match=r"expected outcomes of 0 or 1 for 'perfect', found others"):
        qini_coefficient(money, [1, 2], normalisation="perfect")
    with pytest.raises(
        ConfigError, match=r"normalisation: expected one of .*, found 'perfekt'\. Did you mean 'perfect'"
    ):
        Scoring(normalisation="perfekt")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"shares: expected shares above 0 up to 1, found 30"):
        Scoring(shares=(30,))
    with pytest.raises(DataError, match=r"expected a score for every customer, found 1 missing"):
        curve(money, [1, np.nan])
