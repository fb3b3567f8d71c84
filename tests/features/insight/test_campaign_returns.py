"""Before and after with what else changed, and what a campaign earned."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from features.errors import ConfigError, DataError
from features.insight.campaigns.before_after import WARNING, before_after
from features.insight.campaigns.differences import difference_in_differences
from features.insight.campaigns.outcomes import Panel
from features.insight.campaigns.returns import attributed_return, differences_return, holdout_return
from features.insight.campaigns.windows import Windows


def _panel(rates: np.ndarray, *, days: int = 7) -> Panel:
    windows = Windows.around(dt.date(2024, 3, 4), days=days, days_before=7 * (rates.shape[1] - 1))
    return Panel(units=pd.RangeIndex(len(rates)), periods=windows.periods, rates=rates)


def test_before_after_when_worked_by_hand_then_equal() -> None:
    # Reached: 2 to 3, 4 to 6, 6 to 6. Others: 1 to 2, 3 to 2.
    panel = _panel(np.array([[2, 3], [4, 6], [6, 6], [1, 2], [3, 2]], float))
    found = before_after(panel, [True, True, True, False, False])
    assert (found.before, found.during, found.difference) == (4, 5, 1)
    assert found.lift == 0.25
    # Changes 1, 2, 0 vary by 1: t of 2 degrees is 4.3027, over the root of 3.
    assert found.high - found.difference == pytest.approx(4.3027 / np.sqrt(3), abs=1e-4)
    causes = found.causes.set_index("cause")
    assert causes.loc["others", "lift"] == 0
    assert causes.loc[["year_before", "trend", "regression"], "lift"].isna().all()
    assert found.warning == WARNING


def test_trend_when_customers_rise_by_themselves_then_it_explains_the_change() -> None:
    rng = np.random.default_rng(0)
    rates = 10 + np.arange(5) + rng.normal(size=(400, 5)) * 0.5  # a unit a week more
    found = before_after(_panel(rates), np.arange(400) < 100)
    trend = found.causes.set_index("cause").loc["trend"]
    assert found.lift == pytest.approx(2.5 / 11.5, abs=0.02)
    assert trend["low"] <= 2.5 / 11.5 <= trend["high"]


def test_regression_when_high_spenders_are_picked_then_it_foretells_how_far_they_come_down() -> None:
    rng = np.random.default_rng(1)
    usual = rng.gamma(3, 1, (4000, 1))
    rates = np.maximum(usual + rng.normal(size=(4000, 5)) * 3 + 3, 0)
    picked = rates[:, :-1].mean(axis=1) > np.quantile(rates[:, :-1].mean(axis=1), 0.8)
    found = before_after(_panel(rates), picked)
    regression = found.causes.set_index("cause").loc["regression"]
    assert found.lift < -0.05
    assert regression["lift"] == pytest.approx(found.lift, abs=0.03)
    assert regression["low"] < found.lift < regression["high"] + 0.02


def test_season_when_the_year_before_is_there_then_its_change_is_told() -> None:
    panel, last_year = _panel(np.full((4, 3), 2.0)), _panel(np.array([[1, 1, 3]] * 4, float))
    found = before_after(panel, [True, True, False, False], year_before=last_year)
    assert found.causes.set_index("cause").loc["year_before", "lift"] == 2


def test_before_after_when_one_customer_is_reached_then_says_so() -> None:
    with pytest.raises(DataError, match="expected at least two customers reached, found 1"):
        before_after(_panel(np.ones((3, 2))), [True, False, False])


def test_holdout_return_when_worlds_are_many_then_it_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    holds, narrower = 0, 0
    for _ in range(200):
        usual = rng.gamma(2, 3, (300, 1))
        rates = usual + rng.gamma(1, 2, (300, 4))
        treated = rng.random(300) < 0.7
        rates[treated, -1] += 0.5
        found = holdout_return(_panel(rates, days=10), treated, cost=100, margin=0.3)
        holds += found.low <= 0.5 * 10 * treated.sum() <= found.high
        plain = difference_in_differences(_panel(rates), treated)
        narrower += found.high - found.low < (plain.high - plain.low) * 10 * treated.sum()
    assert 181 <= holds <= 198
    assert narrower > 100  # weighing the past by its slope beats taking all of it off


def test_on_spend_when_worked_by_hand_then_revenue_times_margin_over_cost() -> None:
    rates = np.array([[1, 4], [1, 6], [1, 2], [1, 2]], float)
    found = holdout_return(_panel(rates), [True, True, False, False], cost=30, margin=0.6)
    # Everybody's past is the same: (5 - 2) a day, 7 days, 2 customers.
    assert found.revenue == pytest.approx(42)
    assert found.on_spend[0] == pytest.approx(42 * 0.6 / 30)
    assert found.claim == "causal"
    other = differences_return(difference_in_differences(_panel(rates), [True, True, False, False]), num_days=7)
    assert (other.revenue, other.claim) == (pytest.approx(42), "assumed")
    assert np.isnan(other.on_spend[0])
    assert attributed_return(100, num_customers=2, cost=50).on_spend[0] == 2
    assert np.isnan(attributed_return(100, num_customers=2).low)


def test_return_when_it_cannot_be_told_then_says_why() -> None:
    with pytest.raises(DataError, match=r"at least two held-out customers, found 0; .* a difference in differences"):
        holdout_return(_panel(np.ones((3, 2))), [True] * 3)
    with pytest.raises(ConfigError, match="margin: expected a share above 0 up to 1, found 40"):
        attributed_return(1, num_customers=1, margin=40)
    with pytest.raises(ConfigError, match="cost: expected minor units of 0 or more"):
        attributed_return(1, num_customers=1, cost=-1)
