"""Differences, ratios, caps and adjustment against scipy, closed forms and brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from features.insight.experiments.estimates import ArmMean, effect, reach_of_tail
from features.insight.experiments.samples import Sample, adjusted_means, plain_means


def a_sample(seed: int, *, num_users: int = 400, ratio: bool = False) -> Sample:
    rng = np.random.default_rng(seed)
    arm = (rng.random(num_users) < 0.4).astype(np.int64)
    activity = rng.gamma(1.0, 2.0, num_users)
    before, value = (rng.poisson(activity).astype(float) for _ in range(2))
    value += arm * rng.poisson(0.2, num_users)
    if not ratio:
        return Sample(arm=arm, num_arms=2, value=value, before=before)
    money, money_before = (count * rng.lognormal(3, 1, num_users) for count in (value, before))
    return Sample(arm=arm, num_arms=2, value=money, per=value, before=money_before, per_before=before)


def test_difference_of_means_is_welchs_test_of_scipy() -> None:
    sample = a_sample(0)
    control, treated = sample.value[sample.arm == 0], sample.value[sample.arm == 1]
    means = plain_means(sample)
    found = effect(means[1], means[0])
    expected = stats.ttest_ind(treated, control, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert means[0].interval(0.95) == pytest.approx(
        stats.t.interval(0.95, len(control) - 1, control.mean(), stats.sem(control)), rel=1e-9
    )


def test_lift_of_two_known_means_has_the_delta_methods_interval() -> None:
    # m_c = 2 (se 0.1), m_t = 3 (se 0.2): lift 0.5, variance (0.04 + 1.5^2 0.01) / 4 = 0.015625, se 0.125
    found = effect(
        ArmMean(num_users=10**9, value=3.0, variance=0.04), ArmMean(num_users=10**9, value=2.0, variance=0.01)
    )
    assert found.lift == 0.5
    assert found.lift_se == pytest.approx(0.125)
    assert (found.lift_low, found.lift_high) == pytest.approx(
        (0.5 - 1.959964 * 0.125, 0.5 + 1.959964 * 0.125), abs=1e-6
    )


def test_lift_is_missing_where_the_control_earns_nothing() -> None:
    found = effect(ArmMean(num_users=9, value=1.0, variance=0.1), ArmMean(num_users=9, value=0.0, variance=0.0))
    assert np.isnan([found.lift, found.lift_low, found.lift_high]).all()
    assert found.low < 1.0 < found.high


def test_nothing_is_said_where_nobody_differs_from_anybody() -> None:
    found = effect(ArmMean(num_users=9, value=1.0, variance=0.0), ArmMean(num_users=9, value=1.0, variance=0.0))
    assert np.isnan([found.low, found.high, found.p]).all()


@pytest.mark.parametrize(("tail", "dof"), [(0.025, 5.0), (1e-10, 300.0), (1e-18, 5000.0)])
def test_reach_of_a_tail_is_scipys_even_far_out(tail: float, dof: float) -> None:
    assert reach_of_tail(tail, dof) == pytest.approx(stats.t.isf(tail, dof), rel=1e-8)


def test_ratio_of_three_users_is_worked_by_hand() -> None:
    # value 6 3 0, per 2 1 3: ratio 9 / 6 = 1.5, parts (6 - 3) / 2, (3 - 1.5) / 2, (0 - 4.5) / 2 = 1.5, 0.75, -2.25
    # sum of squares 2.25 + 0.5625 + 5.0625 = 7.875; variance of the mean 7.875 / 2 / 3
    zeros = np.zeros(3, np.int64)
    found = plain_means(Sample(arm=zeros, num_arms=1, value=np.array([6.0, 3, 0]), per=np.array([2.0, 1, 3])))[0]
    assert found.value == 1.5
    assert found.variance == pytest.approx(7.875 / 6)


def test_variance_of_a_ratio_is_that_of_the_bootstrap() -> None:
    sample = a_sample(1, num_users=3000, ratio=True)
    assert sample.per is not None
    value, per = sample.value[sample.arm == 0], sample.per[sample.arm == 0]
    draws = np.random.default_rng(0).multinomial(len(value), np.full(len(value), 1 / len(value)), 2000)
    ratios = (draws @ value) / (draws @ per)
    assert np.sqrt(plain_means(sample)[0].variance) == pytest.approx(ratios.std(), rel=0.06)


def test_ratio_per_user_is_the_mean() -> None:
    sample = a_sample(2)
    per_user = replace(sample, per=np.ones(len(sample.arm)))
    for one, other in zip(plain_means(sample), plain_means(per_user), strict=True):
        assert (one.value, one.variance) == pytest.approx((other.value, other.variance), rel=1e-12)


def test_adjusted_difference_is_that_of_least_squares_with_pooled_slope() -> None:
    # value = constant + difference * arm + theta * before: the regression's coefficient of the arm.
    sample = a_sample(3)
    assert sample.before is not None
    design = np.stack([np.ones(len(sample.arm)), sample.arm, sample.before], axis=1)
    expected = np.linalg.lstsq(design, sample.value, rcond=None)[0][1]
    means = adjusted_means(sample).means
    assert means[1].value - means[0].value == pytest.approx(expected, rel=1e-9)


def test_newcomers_are_a_second_covariate_and_get_the_mean_as_their_past() -> None:
    sample = a_sample(4)
    assert sample.before is not None
    has_past = np.random.default_rng(1).random(len(sample.arm)) < 0.7
    before = np.where(has_past, sample.before, 0.0)
    filled = np.where(has_past, before, before[has_past].mean())
    design = np.stack([np.ones(len(before)), sample.arm, filled, ~has_past], axis=1)
    expected = np.linalg.lstsq(design, sample.value, rcond=None)[0][1]
    means = adjusted_means(replace(sample, before=before, has_past=has_past)).means
    assert means[1].value - means[0].value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("ratio", [False, True])
def test_adjustment_narrows_by_what_the_correlation_predicts(ratio: bool) -> None:
    sample = a_sample(5, ratio=ratio)
    plain, adjusted = plain_means(sample), adjusted_means(sample)
    before, after = (effect(means[1], means[0]) for means in (plain, adjusted.means))
    assert after.se / before.se == pytest.approx(np.sqrt(1 - adjusted.correlation**2), rel=0.05)


def test_adjusted_interval_of_a_dozen_users_holds_the_truth_as_often_as_it_says() -> None:
    # Six users an arm, two slopes: without their degrees of freedom the interval holds it in 89% of worlds.
    rng, arm, held = np.random.default_rng(0), np.repeat([0, 1], 6), 0
    for _ in range(500):
        past, has_past = rng.normal(size=12), rng.random(12) < 0.7
        value = 10 + past + rng.normal(size=12)
        sample = Sample(arm=arm, num_arms=2, value=value, before=np.where(has_past, past, 0.0), has_past=has_past)
        means = adjusted_means(sample).means
        found = effect(means[1], means[0])
        held += found.low < 0 < found.high
    assert 0.93 < held / 500 < 0.97


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), shift=st.floats(-1e6, 1e6), scale=st.floats(1e-3, 1e3))
def test_adjusted_means_stay_when_the_past_is_written_in_another_unit(seed: int, shift: float, scale: float) -> None:
    sample = a_sample(seed, num_users=60)
    assert sample.before is not None
    one, other = adjusted_means(sample), adjusted_means(replace(sample, before=shift + scale * sample.before))
    for mean, same in zip(one.means, other.means, strict=True):
        assert (same.value, same.variance) == pytest.approx((mean.value, mean.variance), rel=1e-4, abs=1e-7)


def test_a_past_that_says_nothing_changes_nothing() -> None:
    sample = replace(a_sample(6), before=np.full(400, 7.0))
    assert adjusted_means(sample).correlation == 0
    for one, other in zip(plain_means(sample), adjusted_means(sample).means, strict=True):
        assert (one.value, one.variance) == pytest.approx((other.value, other.variance))


def test_winsorising_caps_both_arms_at_one_quantile_of_all() -> None:
    # Ten users, 0 to 9, in two arms: the quantile .8 of all is 7.2, whatever the arm.
    sample = Sample(arm=np.array([0, 1] * 5), num_arms=2, value=np.arange(10.0))
    capped = sample.winsorised(0.8)
    assert capped.value.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 7.2, 7.2]
    assert sample.value.max() == 9


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), kept=st.integers(5, 60))
def test_first_users_of_a_sample_are_a_sample_of_theirs(seed: int, kept: int) -> None:
    sample = a_sample(seed, num_users=60, ratio=True)
    assert sample.per is not None
    first = sample.take(slice(0, kept))
    for place, mean in enumerate(plain_means(first)):
        rows = np.flatnonzero(sample.arm[:kept] == place)
        below = sample.per[rows].sum()
        assert mean.num_users == len(rows)
        if below > 0:
            assert mean.value == pytest.approx(sample.value[rows].sum() / below)
