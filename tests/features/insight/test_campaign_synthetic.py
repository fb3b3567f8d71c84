"""Synthetic control on worlds whose mixture and effect are known."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from features.errors import DataError
from features.insight.campaigns.outcomes import Panel
from features.insight.campaigns.synthetic import mixture, synthetic_control
from features.insight.campaigns.windows import Windows


def _panel(rates: np.ndarray) -> Panel:
    windows = Windows.around(dt.date(2024, 3, 4), days=7, days_before=7 * (rates.shape[1] - 1))
    units = pd.Index([f"region {number:02d}" for number in range(len(rates))])
    return Panel(units=units, periods=windows.periods, rates=rates)


def _world(rng: np.random.Generator, *, num_others: int = 24, num_before: int = 12) -> np.ndarray:
    """Regions of many sizes that move with three common causes, as differently as each likes."""
    causes = np.zeros((3, num_before + 1))
    for number in range(num_before + 1):
        causes[:, number] = 0.6 * causes[:, max(number - 1, 0)] + rng.normal(size=3)
    likes, noise = rng.gamma(4, 0.25, (num_others + 1, 3)), rng.normal(size=(num_others + 1, num_before + 1))
    return np.exp(rng.normal(size=(num_others + 1, 1)) * 0.5) * (100 + 6 * likes @ causes + 4 * noise)


def test_synthetic_control_when_the_unit_is_a_mixture_then_weights_and_effect_are_found() -> None:
    rng = np.random.default_rng(0)
    rates = 100 + 10 * rng.normal(size=(6, 13))
    index = rates / rates[:, :-1].mean(axis=1, keepdims=True)
    # Twice the size of 3 parts of the first region and 1 of the second; then a tenth more than that.
    rates[5] = 200 * (0.75 * index[0] + 0.25 * index[1])
    rates[5, -1] *= 1.1
    found = synthetic_control(_panel(rates), "region 05")
    assert found.weights["unit"].tolist() == ["region 00", "region 01"]
    assert found.weights["weight"].tolist() == pytest.approx([0.75, 0.25], abs=1e-4)
    assert found.lift == pytest.approx(0.1, abs=1e-4)
    assert found.effect == pytest.approx(rates[5, -1] / 11, rel=1e-3)
    assert found.pre_error < 1e-4
    assert found.level == pytest.approx(5 / 6)  # five others cannot tell more
    assert found.path["during"].tolist() == [False] * 12 + [True]
    assert found.path["synthetic"].iloc[-1] == pytest.approx(rates[5, -1] / 1.1, rel=1e-3)


def test_interval_when_worlds_are_many_then_it_holds_the_effect_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    holds, found_by_chance = 0, 0
    for _ in range(60):
        rates = _world(rng)
        null = synthetic_control(_panel(rates), "region 00")
        rates[0, -1] *= 1.2
        found = synthetic_control(_panel(rates), "region 00")
        holds += found.low <= 0.2 <= found.high
        found_by_chance += null.p <= 0.05
    assert holds >= 53  # of 60 at .96: fewer come with probability 0.002
    assert found_by_chance <= 8


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(2, 6), length=st.integers(2, 9))
def test_mixture_when_sought_by_a_general_method_then_no_better_one_is_found(seed: int, size: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    target, others = rng.normal(1, 0.2, length), rng.normal(1, 0.2, (size, length))
    found = mixture(target, others)

    def apart(weights: np.ndarray) -> float:
        return float(np.sum((weights @ others - target) ** 2))

    whole = [{"type": "eq", "fun": lambda weights: weights.sum() - 1}]
    slow = minimize(apart, np.full(size, 1 / size), bounds=[(0, 1)] * size, constraints=whole, options={"ftol": 1e-12})
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1)
    assert apart(found) <= slow.fun + 1e-6


def test_synthetic_control_when_it_cannot_be_made_then_says_why() -> None:
    rates = np.ones((5, 6))
    with pytest.raises(DataError, match=r"one of 5 units, found 'region 1'\. Did you mean 'region"):
        synthetic_control(_panel(rates), "region 1")
    with pytest.raises(DataError, match="expected at least 4 periods before the campaign, found 3"):
        synthetic_control(_panel(rates[:, :4]), "region 01")
    rates[0, :-1] = 0
    with pytest.raises(DataError, match="expected an outcome of 'region 00' before the campaign, found none"):
        synthetic_control(_panel(rates), "region 00")
    rates[1, :-1] = 0
    with pytest.raises(DataError, match="at least 3 other units to mix from, found 2"):
        synthetic_control(_panel(rates), "region 02")


def test_synthetic_control_when_a_unit_did_nothing_before_then_it_is_left_out_and_named() -> None:
    rates = np.full((6, 6), 3.0)
    rates[4, :-1] = 0
    found = synthetic_control(_panel(rates), "region 00")
    assert found.left_out == ("region 04",)
    assert found.lift == pytest.approx(0)
