"""Difference in differences: by hand, against regression, and on worlds whose effect is known."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from features.errors import ConfigError, DataError
from features.insight.campaigns.differences import difference_in_differences
from features.insight.campaigns.outcomes import Panel
from features.insight.campaigns.windows import Windows, check_apart
from features.insight.inputs import Period

START = dt.date(2024, 3, 4)


def _panel(rates: np.ndarray, *, days: int = 7) -> Panel:
    windows = Windows.around(START, days=days, days_before=7 * (rates.shape[1] - 1))
    return Panel(units=pd.RangeIndex(len(rates)), periods=windows.periods, rates=rates)


def test_effect_when_worked_by_hand_then_equal() -> None:
    # Treated went from 2 to 5 and from 4 to 9, the others from 1 to 2, 3 to 4 and 5 to 9.
    panel = _panel(np.array([[2, 5], [4, 9], [1, 2], [3, 4], [5, 9]], float))
    found = difference_in_differences(panel, [True, True, False, False, False])
    assert found.effect == (3 + 5) / 2 - (1 + 1 + 4) / 3
    # Variances of the changes: 2 over 2 treated, 3 over 3 others.
    assert found.se == pytest.approx(np.sqrt(2 / 2 + 3 / 3))
    assert found.lift == pytest.approx(7 / (3 + 2) - 1)
    assert found.low < found.effect < found.high
    assert np.isnan(found.trend.p)
    assert found.trend.is_alike is None
    assert found.total(7) == pytest.approx((found.effect * 14, found.low * 14, found.high * 14))


def test_se_when_clusters_are_given_then_as_a_regression_with_clustered_errors_has_it() -> None:
    rng = np.random.default_rng(1)
    cluster, treated = np.repeat(np.arange(12), 5), np.repeat(np.arange(12) % 2 == 0, 5)
    rates = rng.normal(size=(60, 2)) + rng.normal(size=(12, 2))[cluster]
    found = difference_in_differences(_panel(rates), treated, cluster=cluster)
    # Liang and Zeger's sandwich of the regression of changes on the group, G / (G - 1) a group of 6 clusters.
    x = np.column_stack([np.ones(60), treated])
    change = rates[:, 1] - rates[:, 0]
    slope = np.linalg.lstsq(x, change, rcond=None)[0]
    scores = x * (change - x @ slope)[:, None]
    meat = sum(np.outer(s, s) for s in (scores[cluster == g].sum(axis=0) for g in range(12)))
    bread = np.linalg.inv(x.T @ x)
    assert found.effect == pytest.approx(slope[1])
    assert found.se == pytest.approx(np.sqrt((bread @ meat @ bread)[1, 1] * 6 / 5))
    alone = difference_in_differences(_panel(rates), treated)
    assert found.se > 1.5 * alone.se


def test_interval_when_worlds_are_many_then_it_holds_the_effect_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    holds, alike = 0, 0
    for _ in range(300):
        treated = np.arange(60) < 20
        level, walk = rng.gamma(2, 2, (60, 1)), rng.normal(size=(60, 5)).cumsum(axis=1) * 0.2
        season = rng.normal(size=5)
        rates = level + walk + season + rng.normal(size=(60, 5))
        rates[treated, -1] += 1.0
        found = difference_in_differences(_panel(rates), treated)
        holds += found.low <= 1.0 <= found.high
        alike += bool(found.trend.is_alike)
    assert 275 <= holds <= 295  # of 300 at .95: outside with probability 0.01
    assert 255 <= alike <= 290  # two tests at .05 each


def test_trend_when_the_treated_grew_faster_then_the_check_says_so_and_by_how_much() -> None:
    rng = np.random.default_rng(3)
    treated = np.arange(200) < 80
    rates = 5 + 0.1 * rng.normal(size=(200, 6)) + np.outer(treated, np.arange(6) * 0.7)  # 0.1 a day more
    trend = difference_in_differences(_panel(rates), treated).trend
    assert trend.slope == pytest.approx(0.1, abs=0.003)
    assert trend.low <= 0.1 <= trend.high
    assert trend.is_alike is False
    # From the middle of five weeks before to the middle of the campaign are three weeks.
    assert trend.bias == pytest.approx(trend.slope * 21)
    assert trend.bias_missed > trend.bias


def test_by_period_when_groups_differ_then_blocks_add_up_to_nothing_and_the_last_is_the_effect() -> None:
    rng = np.random.default_rng(4)
    found = difference_in_differences(_panel(rng.normal(size=(30, 4))), np.arange(30) < 9)
    assert found.by_period["during"].tolist() == [False, False, False, True]
    assert found.by_period["difference"][:3].sum() == pytest.approx(0)
    assert found.by_period["difference"].iloc[-1] == pytest.approx(found.effect)
    assert found.by_period["first_day"].iloc[-1] == START


def test_effect_when_there_is_no_control_then_says_so() -> None:
    panel = _panel(np.ones((3, 2)))
    with pytest.raises(DataError, match="expected a control group, found no unit in it among 3"):
        difference_in_differences(panel, [True] * 3)
    with pytest.raises(DataError, match=r"at least two units in the treated group, found 1; .* a synthetic control"):
        difference_in_differences(panel, [True, False, False])
    with pytest.raises(DataError, match="at least two clusters in the control group, found 1"):
        difference_in_differences(_panel(np.ones((4, 2))), [True, True, False, False], cluster=["a", "b", "c", "c"])


def test_windows_when_they_overlap_or_hold_nothing_then_say_so() -> None:
    days = Period(first_day=START, last_day=START + dt.timedelta(days=6))
    with pytest.raises(
        ConfigError, match=r"expected the days before the campaign to end by 2024-03-03, found .* overlap"
    ):
        Windows(before=Period(first_day=dt.date(2024, 2, 1), last_day=START), during=days)
    with pytest.raises(ConfigError, match="expected at least 7 days before the campaign, found 3"):
        Windows.around(START, days=7, days_before=3)
    with pytest.raises(ConfigError, match="expected windows that do not overlap, found 2024-03-04 to 2024-03-10 and"):
        check_apart((days, days))


def test_windows_when_days_are_left_over_then_the_earliest_are_not_used() -> None:
    windows = Windows.around(START, days=10, days_before=17)
    assert [(block.first_day.isoformat(), block.num_days) for block in windows.blocks] == [
        ("2024-02-19", 7),
        ("2024-02-26", 7),
    ]
    assert windows.periods[-1].num_days == 10
    assert windows.a_year_before[-1].first_day.isoformat() == "2023-03-06"  # a Monday as well
