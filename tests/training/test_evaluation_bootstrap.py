from __future__ import annotations

import time

import numpy as np
import pytest

from features.errors import ConfigError
from training.evaluation.bootstrap import intervals, mean_interval, paired_difference, resampled_means


def test_resampled_means_when_compared_with_plain_draws_then_equal() -> None:
    values = np.random.default_rng(1).normal(size=(7, 2))
    drawn = np.random.default_rng(3).integers(0, 7, size=(20, 7), dtype=np.int32)
    expected = np.array([values[users].mean(axis=0) for users in drawn])
    assert resampled_means(values, resamples=20, seed=3) == pytest.approx(expected)


def test_mean_interval_when_values_are_normal_then_it_is_the_textbook_interval() -> None:
    values = np.random.default_rng(0).normal(2, 3, size=4000)
    found = mean_interval(values, resamples=4000)
    half = 1.96 * values.std() / np.sqrt(4000)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.006)


def test_mean_interval_when_repeated_on_fresh_samples_then_it_covers_the_truth_as_often_as_promised() -> None:
    rng = np.random.default_rng(5)
    covered = [
        found.low <= 0.3 <= found.high
        for found in (mean_interval((rng.random(300) < 0.3).astype(float), resamples=300) for _ in range(400))
    ]
    assert 0.91 <= np.mean(covered) <= 0.98  # 0.95 give or take 4 standard errors


def test_paired_difference_when_users_agree_then_it_is_narrower_than_unpaired() -> None:
    rng = np.random.default_rng(0)
    theirs = rng.normal(size=500)
    ours = theirs + 0.05 + rng.normal(0, 0.1, size=500)
    paired = paired_difference(ours, theirs)
    alone = mean_interval(ours)
    assert paired.excludes_zero
    assert paired.high - paired.low < 0.2 * (alone.high - alone.low)


def test_paired_difference_when_models_are_equal_then_exactly_zero() -> None:
    values = np.random.default_rng(0).random(50)
    found = paired_difference(values, values.copy())
    assert (found.mean, found.low, found.high, found.excludes_zero) == (0, 0, 0, False)


def test_intervals_when_seed_is_kept_then_columns_do_not_depend_on_each_other() -> None:
    values = np.random.default_rng(0).random((60, 3))
    together, alone = intervals(values, seed=4)[1], mean_interval(values[:, 1], seed=4)
    assert (together.mean, together.low, together.high) == pytest.approx((alone.mean, alone.low, alone.high))


def test_bootstrap_when_nobody_was_asked_then_error_counts_users() -> None:
    with pytest.raises(ConfigError, match="found 0 users"):
        mean_interval(np.zeros(0))


def test_bootstrap_when_twenty_thousand_users_then_fast() -> None:
    values = np.random.default_rng(0).random((20_000, 20))
    started = time.process_time()
    resampled_means(values, resamples=1000, seed=0)
    assert time.process_time() - started < 4  # 0.9 s on an idle core
