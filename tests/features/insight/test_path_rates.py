"""Rates of ways through the shop: intervals over customers, and differences of two audiences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from features.insight.intervals import wilson
from features.insight.paths import (
    PathDefinition,
    audiences_by,
    difference,
    step_counts,
    step_matrix,
    transition_counts,
    two_audiences,
)
from features.insight.paths.rates import SUMS, effective_visits, shares
from tests.features.insight.path_visits import frame, visit


def test_intervals_when_each_customer_has_one_visit_then_they_are_wilson_s() -> None:
    counts = pd.DataFrame([[30, 100, 30, 30, 100, 100]], columns=list(SUMS))
    found = shares(counts)
    assert (found["low"][0], found["high"][0]) == pytest.approx([float(end) for end in wilson(30, 100)])


def test_intervals_when_customers_never_change_then_ten_visits_are_worth_one() -> None:
    # 100 customers of 10 visits each; 30 of them always, 70 never
    counts = pd.DataFrame([[300, 1000, 3000, 3000, 10_000, 100]], columns=list(SUMS))
    assert effective_visits(counts).tolist() == pytest.approx([100.0])


def test_intervals_when_customers_differ_then_they_hold_the_planted_rate_as_often_as_they_say() -> None:
    rng, held, worlds = np.random.default_rng(5), 0, 400
    for _ in range(worlds):
        rate = rng.beta(1, 3, 150)
        visits = rng.poisson(4, 150) + 1
        x = rng.binomial(visits, rate)
        sums = [x.sum(), visits.sum(), (x * x).sum(), (x * visits).sum(), (visits * visits).sum(), 150]
        found = shares(pd.DataFrame([sums], columns=list(SUMS)))
        held += found["low"][0] <= 0.25 <= found["high"][0]
    assert 0.92 <= held / worlds <= 0.98


def test_difference_when_two_segments_go_different_ways_then_the_larger_is_first_with_its_interval() -> None:
    rows = [row for n in range(40) for row in visit(f"a{n:02}", "AC" if n < 30 else "AB")]
    rows += [row for n in range(40) for row in visit(f"b{n:02}", "AC" if n < 10 else "AB")]
    users = pd.DataFrame(
        {"user_id": [f"{s}{n:02}" for s in "ab" for n in range(40)], "stage": ["new"] * 40 + ["old"] * 40}
    )
    audiences = audiences_by(users, "stage", "new", "old")
    found = step_matrix(step_counts(frame(rows), PathDefinition(num_steps=2), audiences=audiences))
    top = difference(found, ["step", "node"], "new", "old").set_index(["step", "node"]).loc[(2, "cart")]
    assert (top["share_first"], top["share_second"], top["difference"]) == (0.75, 0.25, -0.5)
    # Newcombe's method 10 by hand, with Wilson's ends of 30 and 10 of 40
    (low_a, high_a), (low_b, high_b) = wilson(30, 40), wilson(10, 40)
    assert top["low"] == pytest.approx(-0.5 - np.hypot(0.25 - low_b, high_a - 0.75))
    assert top["high"] == pytest.approx(-0.5 + np.hypot(high_b - 0.25, 0.75 - low_a))
    assert top["apart"]


def test_difference_when_one_audience_never_takes_a_way_then_its_share_is_none_of_those_who_could() -> None:
    rows = [*visit("a", "AC"), *visit("b", "AB")]
    ids = [pd.DataFrame({"user_id": [one]}) for one in ("a", "b")]
    counts = transition_counts(frame(rows), PathDefinition(), audiences=two_audiences(*ids))
    found = difference(shares(counts), ["node", "next_node"], "first", "second", base_by="node")
    found = found.set_index(["node", "next_node"])
    assert found.loc[("view", "cart"), ["share_first", "share_second"]].tolist() == [1, 0]
    assert np.isnan(found.loc[("cart", "(end)"), "share_second"])  # nobody of it had a cart
