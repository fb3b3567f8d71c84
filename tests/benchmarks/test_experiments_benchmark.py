"""Error rates of tests in planted worlds, with few of them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.experiment_worlds import Shop, draw_campaign, draw_shop, exact_effects, known
from benchmarks.experiments import campaign_rows, correction_rows, coverage_rows, look_rows, ratio_rows
from features.insight.experiments.samples import plain_means

MANY = 60_000
SMALL = Shop(num_users=1500)


def test_expectations_when_very_many_are_drawn_then_they_are_the_means() -> None:
    shop = Shop(num_users=200_000)
    drawn = draw_shop(shop, 3)
    for name, sample in drawn.samples.items():
        if name == "revenue_capped":
            continue
        above, below = drawn.expected[name]
        for arm, mean in enumerate(plain_means(sample)):
            rows = sample.arm == arm
            expected = above[arm, rows].sum() / below[arm, rows].sum()
            assert abs(mean.value - expected) < 4 * np.sqrt(mean.variance), (name, arm)


def test_effects_when_nothing_is_planted_then_none() -> None:
    null = Shop(order_lift=0, basket_lift=0, click_lift=0)
    for name, (effect, _) in exact_effects(null, 5000).items():
        assert effect == pytest.approx(0.0, abs=1e-12), name


def test_intervals_when_worlds_are_planted_then_they_hold_the_effect_and_the_past_narrows_as_predicted() -> None:
    facts = known(SMALL, num_users=MANY)
    for row in coverage_rows(SMALL, 80, facts=facts, label="small"):
        assert row["metrics"]["coverage"] >= 0.86, row  # 80 worlds: four standard errors below 95%
        if row["model"] == "footfall":
            predicted = row["predicted"]["width_over_plain"]
            assert row["metrics"]["width_over_plain"] == pytest.approx(predicted, abs=0.03), row


def test_campaigns_when_planted_then_covered_and_near_the_oracle() -> None:
    ours = next(row for row in campaign_rows(40) if row["model"] == "footfall")
    assert ours["metrics"]["coverage"] >= 0.82
    assert ours["metrics"]["width_ratio"] < 1.2
    drawn = draw_campaign(0)
    assert drawn.truth["visits"] > 0
    assert drawn.expected["visits"].shape == (2, 2, len(drawn.samples["visits"].arm))


def test_looks_and_alarms_when_few_worlds_are_drawn_then_errors_stay_rare() -> None:
    facts = known(Shop(), num_users=MANY)
    for row in look_rows(3, facts):
        assert row["metrics"]["false_positives"] <= 0.4
        assert 0 < row["predicted"]["power"] < 0.8
    meant, lost = ratio_rows(200)
    assert meant["metrics"]["sample_ratio_alarms"] <= 0.02 < lost["metrics"]["sample_ratio_alarms"]
    found = {row["config"]["correction"]: row["metrics"] for row in correction_rows(40)}
    assert found["holm"]["worlds_with_a_false_one"] <= 0.2 < found["none"]["false_discovery_share"] + 0.15
