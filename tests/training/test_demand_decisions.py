"""Orders and alerts of items whose demand is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import poisson

from features.panel.demand_panel import DemandPanel
from training.demand.config import DemandConfig
from training.demand.decisions.alerts import KINDS, alert_frame
from training.demand.decisions.config import DecisionConfig
from training.demand.decisions.item_facts import ItemFacts
from training.demand.decisions.orders import days_of_cover, decision_frame
from training.demand.export import plan_end
from training.demand.forecast import Forecast, MixtureTotals
from training.demand.network.distributions import CountMixture

HORIZON, PERIODS = 14, 60
NEARLY_POISSON = 25.0  # log size


def panel_of(units: np.ndarray, frequency: str = "D", **more: object) -> DemandPanel:
    ids = np.array([f"item-{number}" for number in range(len(units))], object)
    return DemandPanel(
        item_ids=ids, start=pd.Timestamp("2024-01-01"), frequency=frequency, units=units.astype(np.float32), **more
    )


def poisson_forecast(rates: np.ndarray) -> Forecast:
    """Independent Poisson periods, so that totals are Poisson too; ``rates [I]`` a period."""
    means = np.repeat(rates[:, None], HORIZON, axis=1)
    log_mean = torch.from_numpy(np.log(means.cumsum(axis=1)))[..., None]
    totals = CountMixture(
        log_weight=torch.zeros_like(log_mean), log_mean=log_mean, log_size=torch.full_like(log_mean, NEARLY_POISSON)
    )
    return Forecast(mean=means, quantiles=np.zeros((*means.shape, 9)), totals=MixtureTotals(mixture=totals))


def config_with(**decisions: object) -> DemandConfig:
    return DemandConfig(horizon=HORIZON, level_span=28, decisions=DecisionConfig(**decisions))


def facts_of(num_items: int, *, lead: int = 7, **more: object) -> ItemFacts:
    return dataclasses.replace(ItemFacts.unknown(np.full(num_items, lead)), **more)


def alerts_of(
    panel: DemandPanel, forecast: Forecast, facts: ItemFacts, config: DemandConfig
) -> tuple[pd.DataFrame, list[str]]:
    return alert_frame(panel, forecast, facts, decision_frame(panel, forecast, facts, config), config)


def test_decisions_when_demand_is_poisson_then_they_are_its_quantiles() -> None:
    rates = np.array([0.3, 2.0, 9.0])
    facts = facts_of(
        3, price=np.array([100.0, 100.0, np.nan]), cost=np.full(3, 60.0), on_hand=np.array([5.0, 20.0, np.nan])
    )
    found = decision_frame(panel_of(np.ones((3, PERIODS))), poisson_forecast(rates), facts, config_with(review_days=4))
    lead, until = poisson(7 * rates), poisson(11 * rates)
    np.testing.assert_allclose(found["lead_mean"], 7 * rates, rtol=1e-5)
    for name, level in (("90", 0.9), ("95", 0.95)):
        assert found[f"reorder_point_{name}"].tolist() == lead.ppf(level).tolist()
        assert found[f"order_up_to_{name}"].tolist() == until.ppf(level).tolist()
        np.testing.assert_allclose(found[f"safety_stock_{name}"], lead.ppf(level) - 7 * rates, rtol=1e-5)
    np.testing.assert_allclose(found["stockout_risk"], [*lead.sf([5, 20, 0])[:2], np.nan], rtol=1e-5)
    # Margin 40 against a quarter of 60: 40 / 55.
    np.testing.assert_allclose(found["newsvendor_level"], [40 / 55, 40 / 55, np.nan])
    assert found["newsvendor_quantity"][:2].tolist() == until.ppf(0.727)[:2].tolist()
    assert found[["on_hand", "newsvendor_quantity"]].iloc[2].isna().all()
    np.testing.assert_allclose(found["days_of_cover"][:2], [5 / 0.3, 10.0])
    # The median of 10 days of 2 is 20, which 20 on hand still covers; that of 11 days is 22.
    assert found["runs_out_on"].tolist()[1] == pd.Timestamp("2024-01-01") + pd.Timedelta(days=PERIODS + 10)
    assert pd.isna(found["runs_out_on"][0])


def test_decisions_when_something_lies_beyond_the_horizon_then_it_is_blank() -> None:
    facts = dataclasses.replace(facts_of(3), lead_time_days=np.array([7, 10, 15]))
    found = decision_frame(panel_of(np.ones((3, PERIODS))), poisson_forecast(np.ones(3)), facts, config_with())
    assert found["item_id"].tolist() == ["item-0", "item-1"]
    assert found["order_up_to_95"].isna().tolist() == [False, True]  # 10 and 7 days are more than 14
    assert found["stockout_risk"].isna().all()


def test_decisions_when_periods_are_weeks_then_days_are_rounded_up_to_them() -> None:
    panel = panel_of(np.ones((1, PERIODS)), frequency="W")
    found = decision_frame(
        panel, poisson_forecast(np.array([2.0])), facts_of(1, lead=8, on_hand=np.ones(1)), config_with()
    )
    assert found["lead_mean"][0] == pytest.approx(4.0)  # two weeks
    assert found["order_up_to_95"][0] == poisson(6).ppf(0.95)  # 8 and 7 days: three weeks
    assert found["days_of_cover"][0] == pytest.approx(3.5)


def test_days_of_cover_when_walked_unit_by_unit_then_the_same() -> None:
    rng = np.random.default_rng(0)
    mean = rng.uniform(0, 3, (50, HORIZON)) * (rng.random((50, HORIZON)) < 0.7)
    stock = rng.integers(0, 40, 50).astype(float)
    for row, found in enumerate(days_of_cover(stock, mean)):
        left, periods = stock[row], 0.0
        for rate in [*mean[row], *[mean[row].mean()] * 10_000]:
            if left <= 0:
                break
            used = min(left, rate)
            periods += used / rate if rate > 0 and used < rate else 1.0
            left -= used
        assert found == pytest.approx(0.0 if stock[row] == 0 else periods)


def test_alerts_when_each_kind_has_its_item_then_they_are_found_with_reasons() -> None:
    rates = np.full(20, 2.0)
    rates[0], rates[1], rates[2], rates[3] = 10.0, 0.05, 0.001, 4.0
    units = np.full((20, PERIODS), 2.0)
    units[0], units[1], units[2] = 10.0, 0.0, 0.0
    units[1, -5] = 1.0
    on_hand = np.full(20, 100.0)
    on_hand[0], on_hand[5] = 30.0, 10.0
    config = config_with(bestseller_share=0.05, slow_share=0.1, riser_share=0.1)
    panel, facts = panel_of(units), facts_of(20, on_hand=on_hand, stock_note="")
    found, notes = alerts_of(panel, poisson_forecast(rates), facts, config)
    assert notes == []
    by_kind = {kind: rows.set_index("item_id") for kind, rows in found.groupby("kind")}
    assert set(by_kind) == set(KINDS)
    # 70 expected in the lead time of item 0, and 14 of item 5.
    top = poisson(140).ppf(0.95), poisson(28).ppf(0.95)
    assert by_kind["reorder_now"]["quantity"].to_dict() == {"item-0": top[0] - 30, "item-5": top[1] - 10}
    assert (
        by_kind["reorder_now"]
        .loc["item-0", "reason"]
        .startswith(
            "30 on hand, the reorder point for a lead time of 7 days is 84 (95% service); order 130 to reach 160."
        )
    )
    protect = by_kind["protect"].loc["item-0"]
    assert (protect["quantity"], protect["day"]) == (40, (pd.Timestamp("2024-01-01") + pd.Timedelta(days=63)).date())
    assert by_kind["slow_mover"]["action"].to_dict() == {"item-1": "mark_down", "item-2": "delist"}
    assert by_kind["slow_mover"].loc["item-2", "quantity"] == 100
    assert by_kind["riser"]["quantity"].to_dict() == {"item-3": 28}
    assert "56.0 units expected in 14 days, 2.0 times the 28.0 of its rate" in by_kind["riser"].loc["item-3", "reason"]


def test_alerts_when_no_stock_is_known_then_orders_are_absent_and_the_notes_say_why() -> None:
    rates = np.linspace(0.01, 4, 20)
    found, notes = alerts_of(panel_of(np.ones((20, PERIODS))), poisson_forecast(rates), facts_of(20), config_with())
    assert set(found["kind"]) == {"slow_mover", "riser"}
    assert found["quantity"][found["kind"] == "slow_mover"].isna().all()
    assert notes[0].startswith("Alerts to reorder and to protect are absent: no stock was given.")


def test_alerts_when_an_item_is_new_then_it_is_neither_slow_nor_a_riser() -> None:
    units = np.ones((20, PERIODS))
    units[:, :-5] = np.nan
    found, _ = alerts_of(panel_of(units), poisson_forecast(np.linspace(0.01, 4, 20)), facts_of(20), config_with())
    assert found.empty


def test_alerts_when_there_are_many_then_the_most_urgent_stay() -> None:
    on_hand = np.arange(20.0)
    config = config_with(max_alerts=3)
    panel = panel_of(np.full((20, PERIODS), 3.0))
    found, _ = alerts_of(panel, poisson_forecast(np.full(20, 3.0)), facts_of(20, on_hand=on_hand), config)
    orders = found[found["kind"] == "reorder_now"]
    assert orders["item_id"].tolist() == ["item-0", "item-1", "item-2"]
    assert orders["rank"].tolist() == [1, 2, 3]


def test_plan_end_when_the_plan_is_shorter_than_the_horizon_then_it_is_said() -> None:
    def end(plan: np.ndarray) -> tuple[str | None, list[str]]:
        panel = panel_of(np.ones((1, 10)), known_ahead={"promotion": plan.astype(np.float32)}, planned=("promotion",))
        return plan_end(panel, 5)

    plan = np.zeros((1, 15))
    assert end(plan) == (
        None,
        ["No plan is announced for the days ahead; they are forecast as if nothing were planned."],
    )
    plan[0, 11] = 1
    day, notes = end(plan)
    assert day == "2024-01-12"
    assert notes == ["The announced plan ends on 2024-01-12; later days are forecast as if nothing were planned."]
    plan[0, 14] = 1
    assert end(plan) == ("2024-01-15", [])
