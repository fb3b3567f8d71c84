"""Repurchase curves: Kaplan and Meier by hand and as published, and what counts as buying again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from features.errors import ConfigError
from features.insight.retention import RepurchaseDefinition, repurchase
from features.insight.retention.survival import kaplan_meier, quantile, share_within
from tests.features.insight.insight_events import day, in_pandas, log


def test_kaplan_meier_when_the_leukaemia_trial_is_given_then_as_published() -> None:
    # Freireich et al. 1963, 6-MP arm of 21, as in Kalbfleisch and Prentice; survival and standard errors from there.
    t = [6, 7, 9, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 34, 35]
    came = [3, 1, 0, 1, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0]
    left = [1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 1, 2, 1, 1]
    curve = kaplan_meier(t, came, left).set_index("t")
    published = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    for at, survival in published.items():
        assert 1 - curve.loc[at, "share"] == pytest.approx(survival, abs=5e-4)
    assert curve.loc[[6, 10, 23], "at_risk"].tolist() == [21, 15, 6]
    # Greenwood's standard error at 10 is .0963; the log-log interval follows by hand.
    rest, error = 0.7529, 0.0963
    reach = 1.959964 * error / (rest * abs(np.log(rest)))
    assert curve.loc[10, "high"] == pytest.approx(1 - rest ** np.exp(reach), abs=5e-4)
    assert curve.loc[10, "low"] == pytest.approx(1 - rest ** np.exp(-reach), abs=5e-4)
    assert quantile(curve.reset_index(), 0.5) == 23  # the published median


def test_kaplan_meier_when_it_came_to_nobody_or_to_all_then_the_interval_is_wilsons() -> None:
    curve = kaplan_meier([1, 2], [0, 3], [1, 0])
    assert curve["share"].tolist() == [0.0, 1.0]
    np.testing.assert_allclose(curve["high"], [0.4899, 1.0], atol=5e-5)  # 0 of 4
    np.testing.assert_allclose(curve["low"], [0.0, 0.4385], atol=5e-5)  # 3 of 3
    assert share_within(curve, 0.5) == {"share": 0.0, "low": 0.0, "high": 0.0}
    assert share_within(curve, 1.5)["high"] == pytest.approx(0.4899, abs=5e-5)
    assert np.isnan(quantile(kaplan_meier([1], [0], [1]), 0.5))


# ann: days 0 (twice), 7, 20; bob: 2 and 30; cho: 9 only; the log ends on day 30.
EVENTS = in_pandas(
    log(
        [
            ("ann", "purchase", 0, 10, "apple"),
            ("ann", "purchase", 0, 20, "pear"),
            ("ann", "purchase", 7, 0, "bread"),
            ("ann", "purchase", 20, 0, "apple"),
            ("bob", "purchase", 2, 0, "bread"),
            ("bob", "view", 3, 0, "bread"),
            ("bob", "purchase", 30, 0, "pear"),
            ("cho", "purchase", 9, 0, "apple"),
        ]
    )
)
ITEMS = pd.DataFrame({"item_id": ["apple", "pear", "bread"], "category": ["fruit/a", "fruit/b", "bakery"]})


def _rows(table: pd.DataFrame) -> list[list[int]]:
    return table[["t", "at_risk", "came", "left"]].to_numpy().tolist()


def test_repurchase_when_anything_counts_then_a_day_is_one_purchase() -> None:
    table = repurchase(EVENTS, RepurchaseDefinition(), last_day=day(30))
    assert _rows(table) == [[7, 3, 1, 0], [21, 2, 0, 1], [28, 1, 1, 0]]
    assert table["share"].tolist() == pytest.approx([1 / 3, 1 / 3, 1.0])
    assert table["customers"].tolist() == [3, 3, 3]


def test_repurchase_when_counted_from_the_second_then_only_those_who_came_so_far() -> None:
    table = repurchase(EVENTS, RepurchaseDefinition(nth=2), last_day=day(30))
    assert _rows(table) == [[0, 2, 0, 1], [13, 1, 1, 0]]  # bob's second is on the last day


def test_repurchase_when_by_category_then_the_same_category_counts() -> None:
    table = repurchase(EVENTS, RepurchaseDefinition(of="category"), last_day=day(30), items=ITEMS)
    assert _rows(table[table["value"] == "fruit"]) == [[0, 3, 0, 1], [20, 2, 1, 0], [21, 1, 0, 1]]
    assert _rows(table[table["value"] == "bakery"]) == [[23, 2, 0, 1], [28, 1, 0, 1]]


def test_repurchase_when_by_item_then_the_very_item_counts() -> None:
    table = repurchase(EVENTS, RepurchaseDefinition(of="item"), last_day=day(30))
    assert table["customers"].iloc[0] == 6  # pairs of a customer and an item
    assert table.loc[table["came"] == 1, "t"].tolist() == [20]


def test_repurchase_when_by_cohort_then_a_curve_each() -> None:
    table = repurchase(EVENTS, RepurchaseDefinition(cohorts="week"), last_day=day(30))
    assert table.groupby("cohort")["customers"].first().tolist() == [2, 1]


def test_repurchase_when_the_items_are_missing_then_said_so() -> None:
    with pytest.raises(ConfigError, match="items: expected a frame of item_id and category to tell categories apart"):
        repurchase(EVENTS, RepurchaseDefinition(of="category"), last_day=day(30))
    with pytest.raises(ConfigError, match=r"curve\.nth: expected a whole number of 1 or more, found 0"):
        RepurchaseDefinition.parse({"nth": 0}, where="curve")


def test_repurchase_when_nobody_bought_then_empty() -> None:
    assert repurchase(EVENTS.head(0), RepurchaseDefinition(), last_day=day(30)).empty
