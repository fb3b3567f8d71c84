"""Bounds of looks against published tables, simulation and what one look alone has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from features.errors import ConfigError
from features.insight.experiments.looks import SPENDINGS, Looks
from features.insight.experiments.spending import bounds, crossing

FIVE = (0.2, 0.4, 0.6, 0.8, 1.0)


def test_bounds_of_five_looks_are_those_of_lan_and_demets() -> None:
    # R packages ldbounds and gsDesign, two-sided .05.
    assert bounds(FIVE, alpha=0.05, spending="obrien_fleming") == pytest.approx(
        (4.8769, 3.3569, 2.6803, 2.2898, 2.0310), abs=2e-4
    )
    assert bounds(FIVE, alpha=0.05, spending="pocock") == pytest.approx(
        (2.4380, 2.4268, 2.4101, 2.3966, 2.3859), abs=2e-4
    )


@pytest.mark.parametrize(
    ("limits", "name"), [([2.413] * 5, "Pocock"), ([2.040 * np.sqrt(5 / k) for k in range(1, 6)], "O'Brien, Fleming")]
)
def test_classic_constants_spend_five_percent(limits: list[float], name: str) -> None:
    # Jennison and Turnbull 2000, tables 2.1 and 2.3.
    assert crossing(FIVE, limits).sum() == pytest.approx(0.05, abs=1e-4), name


def test_one_look_is_the_plain_test() -> None:
    for spending in ("obrien_fleming", "pocock"):
        assert bounds((1.0,), alpha=0.05, spending=spending)[0] == pytest.approx(norm.isf(0.025), abs=1e-6)
    assert Looks(number=1, users=100).inflation(power=0.8) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("spending", SPENDINGS)
def test_crossing_with_and_without_an_effect_equals_simulation(spending: Any) -> None:
    looks = Looks(number=20, users=2000, spending=spending)
    steps = np.random.default_rng(0).standard_normal((40_000, 20))
    for drift in (0.0, 2.5):
        walk = np.cumsum(steps / np.sqrt(20) + drift / 20, axis=1) / np.sqrt(looks.fractions)
        seen = (np.abs(walk) > looks.limits()).any(axis=1).mean()
        assert looks.power(drift)[-1] == pytest.approx(seen, abs=4 * np.sqrt(seen * (1 - seen) / 40_000) + 1e-4)


def test_twenty_looks_spend_at_most_five_percent() -> None:
    for spending in SPENDINGS:
        assert Looks(number=20, users=2000, spending=spending).power(0.0)[-1] <= 0.05 + 1e-9


def test_looks_come_when_their_share_of_the_users_has_come() -> None:
    looks = Looks(number=4, users=1002)
    assert looks.at_users == (251, 501, 752, 1002)
    assert [looks.reached(users) for users in (0, 250, 251, 1001, 5000)] == [0, 0, 1, 3, 4]


def test_reach_of_few_users_is_that_of_students_t_with_the_same_tail() -> None:
    looks = Looks(number=1, users=100)
    assert looks.reach(1, 10.0) == pytest.approx(2.2281, abs=1e-3)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"number": 0}, "number from 1 to 200"),
        ({"users": 10}, "users of at least 20 for 5 looks, found 10"),
        ({"spending": "pokock"}, "Did you mean 'pocock'?"),
        ({"alpha": 1.5}, "alpha between 0 and 1, found 1.5"),
    ],
)
def test_a_schedule_that_does_not_fit_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        Looks(**{"number": 5, "users": 1000, **wrong})
