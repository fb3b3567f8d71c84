"""Hours of the week, when to discount, and heat with its trend: worked out by hand."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.errors import ConfigError
from features.insight.collecting import collected
from features.insight.heat import HeatDefinition, discount_hours, heat, hour_of_week, when_to_discount, with_empty_hours
from features.insight.heat.discount import shape_of
from tests.features.insight.insight_events import day, in_pandas, log

ITEMS = pd.DataFrame({"item_id": ["apple", "pear", "sofa"], "category": ["fruit/a", "fruit", None]})


def test_hour_of_week_when_a_customer_buys_twice_within_an_hour_then_it_is_one_buyer() -> None:
    events = in_pandas(
        log(
            [
                ("ann", "view", 0, 9 * 60, "apple"),  # Monday, 9
                ("ann", "view", 7, 9 * 60 + 59, "sofa"),  # Monday, 9
                ("ann", "purchase", 7, 9 * 60 + 59, "apple"),
                ("ann", "purchase", 7, 9 * 60 + 10, "pear"),
                ("bob", "purchase", 14, 9 * 60, "pear"),
                ("bob", "view", 6, 23 * 60, "pear"),  # Sunday, 23
                ("bob", "cart", 6, 23 * 60, "pear"),
            ]
        )
    )
    shop = collected(hour_of_week(events)).sort_values("weekday")
    names = ["weekday", "local_hour", "num_browsed", "num_bought", "num_buyers"]
    assert shop[names].to_numpy().tolist() == [[1, 9, 2, 3, 2], [7, 23, 1, 0, 0]]
    fruit = collected(hour_of_week(events, by="category", items=ITEMS)).sort_values("weekday")
    assert fruit["value"].tolist() == ["fruit", "fruit"]
    assert fruit[names].to_numpy().tolist() == [[1, 9, 1, 3, 2], [7, 23, 1, 0, 0]]
    week = with_empty_hours(shop, first_day=day(0), last_day=day(7))
    assert len(week) == 168
    assert week["num_browsed"].sum() == 3
    assert week.groupby("weekday")["num_hours"].first().tolist() == [2, 1, 1, 1, 1, 1, 1]


def _week(browsed: Any, buyers: Any) -> pd.DataFrame:
    hours = pd.DataFrame([(day, hour) for day in range(1, 8) for hour in range(24)], columns=["weekday", "local_hour"])
    return hours.assign(value="", num_browsed=browsed, num_bought=buyers, num_buyers=buyers)


def test_when_to_discount_when_one_hour_lags_then_it_is_first_and_a_small_one_does_not_win() -> None:
    rng = np.random.default_rng(3)
    browsed = np.full(168, 5000)
    browsed[5] = 20  # Monday, 5: hardly anyone
    rate = np.full(168, 0.04)
    rate[24 + 20] = 0.02  # Tuesday, 20: half of them buy
    buyers = rng.poisson(browsed * rate)
    buyers[5] = 0
    table = when_to_discount(_week(browsed, buyers))
    first = table.iloc[0]
    assert (first["weekday"], first["local_hour"], first["discount"]) == (2, 20, True)
    assert table["discount"].sum() == 1
    small = table[(table["weekday"] == 1) & (table["local_hour"] == 5)].iloc[0]
    assert small["ratio"] == 0.0  # the least of all
    assert small["shrunk"] > 0.95
    assert table["expected"].sum() == pytest.approx(buyers.sum())


def test_when_to_discount_when_hours_differ_by_luck_alone_then_none_is_said() -> None:
    rng = np.random.default_rng(5)
    flagged = [when_to_discount(_week(2000, rng.poisson(80, 168)))["discount"].sum() for _ in range(10)]
    assert sum(flagged) <= 2


def test_when_to_discount_when_the_shape_is_known_then_the_posterior_is_the_gammas(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("features.insight.heat.discount.shape_of", lambda buyers, expected: 50.0)
    cells = _week(0, 0).head(2).assign(num_browsed=[4000, 4000], num_buyers=[320, 480])
    row = when_to_discount(cells).iloc[0]  # 400 expected, as in the docstring
    assert row["expected"] == 400
    assert row["shrunk"] == pytest.approx(370 / 450)
    assert (row["low"], row["high"]) == pytest.approx((0.740, 0.908), abs=1e-3)
    assert row["missing"] == pytest.approx(400 * (1 - 370 / 450))


def test_shape_when_drawn_from_a_gamma_then_found() -> None:
    rng = np.random.default_rng(1)
    expected = np.full(4000, 100.0)
    assert shape_of(rng.poisson(expected * rng.gamma(20, 1 / 20, 4000)), expected) == pytest.approx(20, rel=0.1)
    assert shape_of(rng.poisson(expected), expected) > 1000


def test_discount_hours_when_nobody_bought_then_empty() -> None:
    assert discount_hours(in_pandas(log([("ann", "view", 0, 0, "apple")]))).empty


HEAT = HeatDefinition(half_life_days=7, trend_days=7)


def test_heat_when_worked_out_by_hand_then_faded_by_half_lives() -> None:
    rows = [("ann", "view", 20, 0, "lamp"), ("ann", "cart", 13, 0, "lamp"), ("bob", "purchase", 6, 0, "rug")]
    table = heat(in_pandas(log([*rows, ("bob", "view", 21, 0, "rug")])), HEAT, as_of=day(20))
    assert table["value"].tolist() == ["lamp", "rug"]
    assert table["heat"].tolist() == pytest.approx([1 + 4 / 2, 8 / 4])  # day 21 lies after as_of
    assert table[["now", "before"]].to_numpy().tolist() == [[1, 4], [0, 0]]  # day 6 lies before both periods
    assert table["share"].tolist() == pytest.approx([0.6, 0.4])
    assert table["change"].tolist()[0] == 0.25
    assert np.isnan(table["change"].tolist()[1])


def test_heat_when_one_customer_makes_all_the_noise_then_there_is_no_trend() -> None:
    rows = [
        *[("ann", "view", 13, n, "lamp") for n in range(40)],
        ("ann", "view", 6, 0, "lamp"),
        ("bob", "view", 6, 1, "lamp"),
    ]
    rows += [(f"u{n}", "view", 13, 0, "rug") for n in range(40)] + [(f"v{n}", "view", 6, 0, "rug") for n in range(10)]
    table = heat(in_pandas(log(rows)), HEAT, as_of=day(13)).set_index("value")
    # lamp: ann is all of the 40 and half of the 2, bob the other half: (1 - 1/2)² + (1/2)² = 1/2
    assert table.loc["lamp", "high"] / table.loc["lamp", "change"] == pytest.approx(np.exp(1.959964 * 0.5**0.5))
    # rug: 50 customers once each: 40 / 40² + 10 / 10² = 1/8
    assert table.loc["rug", "high"] / table.loc["rug", "change"] == pytest.approx(np.exp(1.959964 * 0.125**0.5))
    assert table["trend"].to_dict() == {"lamp": "up", "rug": "up"}
    assert table.loc["lamp", "low"] < 20 / 3
    few = heat(in_pandas(log(rows[30:42])), HEAT, as_of=day(13))  # 10 against 2, by ann and bob
    assert few["trend"].tolist() == ["up"]


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"by": "items"}, r"hot\.by: expected one of .* Did you mean 'item'"),
        ({"half_life_days": 0}, r"hot\.half_life_days: expected a whole number of 1 or more"),
        ({"event_weights": {"vew": 1}}, r"hot\.event_weights: .* Did you mean 'view'"),
        ({"event_weights": {"view": 0}}, r"hot\.event_weights\.view: expected a whole number of 1 or more"),
        ({"event_weights": {}}, r"hot\.event_weights: expected event types and weights"),
    ],
)
def test_heat_definition_when_something_is_wrong_then_says_what_was_expected(mapping: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HeatDefinition.parse(mapping, where="hot")


def test_heat_when_as_of_is_an_instant_then_refused() -> None:
    with pytest.raises(ConfigError, match="as_of: expected a day"):
        heat(in_pandas(log([])), HEAT, as_of=dt.datetime(2024, 1, 1, tzinfo=dt.UTC))
