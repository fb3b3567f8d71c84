"""What a test needs before it begins, and whether it was dealt as it should be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from features.errors import ConfigError
from features.insight.experiments.balance import balance, sample_ratio_p
from features.insight.experiments.corrections import benjamini_hochberg, holm
from features.insight.experiments.planning import (
    Baseline,
    Plan,
    days_needed,
    least_lift,
    plan_table,
    power_of,
    users_needed,
)
from tests.features.insight.experiment_frames import a_frame, participants


def test_sample_ratio_is_scipys_chi_square_and_alarms_below_one_in_a_thousand() -> None:
    counts, shares = [480, 1020, 500], [1, 2, 1]
    expected = stats.chisquare(counts, np.array(shares) * 500).pvalue
    assert sample_ratio_p(counts, shares) == pytest.approx(expected)
    assert not balance(participants()).sample_ratio_alarm
    assert balance(participants(weights={"control": 0.3, "strict": 0.7})).sample_ratio_alarm


def test_corrections_are_scipys_and_worked_by_hand() -> None:
    p = np.random.default_rng(0).random(12) ** 3
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p))
    # Holm: .01 x 3, max(.03, .02 x 2), max(.04, .04 x 1)
    assert holm([0.04, 0.01, 0.02]).tolist() == pytest.approx([0.04, 0.03, 0.04])


def test_planned_users_when_drawn_then_find_the_effect_as_often_as_promised() -> None:
    base, plan = Baseline.of_share(0.2), Plan(power=0.8)
    users = users_needed(base, 0.05, plan)
    rng = np.random.default_rng(0)
    hits = rng.binomial(users // 2, [[0.2], [0.21]], (2, 4000)) / (users // 2)
    se = np.sqrt((hits * (1 - hits)).sum(axis=0) / (users // 2))
    assert (np.abs(hits[1] - hits[0]) > 1.96 * se).mean() == pytest.approx(0.8, abs=0.03)
    assert power_of(base, 0.05, users, plan) == pytest.approx(0.8, abs=1e-3)
    assert least_lift(base, users, plan) == pytest.approx(0.05, rel=1e-3)


def test_plans_when_past_looks_or_uneven_arms_count_then_users_follow() -> None:
    base = Baseline(mean=2.0, sd=3.0)
    plain = users_needed(base, 0.1)
    assert users_needed(replace(base, correlation=0.6), 0.1) == pytest.approx(plain * 0.64, abs=1)
    assert users_needed(base, 0.1, Plan(share=0.1)) == pytest.approx(plain * 0.25 / 0.09, rel=1e-3)
    looks = users_needed(base, 0.1, Plan(looks=20))
    assert 1.03 < looks / plain < 1.06
    assert power_of(base, 0.1, looks, Plan(looks=20)) == pytest.approx(0.8, abs=2e-3)
    with pytest.raises(ConfigError, match="expected the least effect that matters"):
        users_needed(base, 0.0)
    with pytest.raises(ConfigError, match=r"power between 0 and 1, found 80"):
        Plan(power=80)


def test_days_when_customers_come_back_then_newcomers_fill_the_test() -> None:
    newcomers = [500, 300, 200]
    assert days_needed(700, newcomers) == 2
    # Half of 1,000 in three days; the 200 that lack at half of 1,000 / 3 a day: 2 days; and the window's 7.
    assert days_needed(700, newcomers, share=0.5, window_days=7) == 12
    assert days_needed(10**6, [10, 0, 0, 0, 0, 0, 0, 0]) is None
    table = plan_table(participants(), (0.1,), newcomers=newcomers)
    assert table["metric"].tolist() == ["orders", "revenue"]
    assert (table["users_needed"] > 0).all()
    alike = a_frame().assign(orders=1.0, orders__before=1, revenue=0.0)  # one order each: nothing to plan by
    assert plan_table(participants(alike), (0.1,), newcomers=newcomers)["metric"].tolist() == []
