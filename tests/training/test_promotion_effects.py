"""Effects of promotions on worlds whose effects are known."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from features.errors import DataError
from features.panel.demand_panel import DemandPanel
from training.demand.effects import promotion_effects
from training.demand.effects.promotions import lost_share

NUM_ITEMS, NUM_DAYS = 60, 120
CUT, DISPLAY = 1.5, 1.3


def shop(seed: int = 0, *, with_stock: bool = False) -> tuple[DemandPanel, np.ndarray]:
    """A fifth off sells half as much again, a display 30% more; the best sellers are promoted most; days are missing."""
    rng = np.random.default_rng(seed)
    category = np.arange(NUM_ITEMS) % 3
    level = rng.lognormal(0.0, 0.8, NUM_ITEMS)
    course = rng.lognormal(0.0, 0.3, (3, NUM_DAYS))[category]
    weeks = rng.random((NUM_ITEMS, NUM_DAYS // 7 + 1)) < (0.1 + 0.2 * (level > 1))[:, None]
    cut = np.repeat(weeks, 7, axis=1)[:, :NUM_DAYS]
    display = np.repeat(weeks & (rng.random(weeks.shape) < 0.5), 7, axis=1)[:, :NUM_DAYS]
    rate = level[:, None] * course * np.where(cut, CUT, 1.0) * np.where(display, DISPLAY, 1.0)
    units = rng.poisson(rate).astype(np.float32)
    stock = rng.integers(1, 6, units.shape).astype(float)
    if with_stock:
        units = np.minimum(units, stock).astype(np.float32)
    units[rng.random(units.shape) < 0.05] = np.nan
    panel = DemandPanel(
        item_ids=np.array([f"i{number}" for number in range(NUM_ITEMS)], object),
        start=pd.Timestamp("2024-01-01"),
        frequency="D",
        units=units,
        known_ahead={"promotion": 0.2 * cut.astype(np.float32), "display": display.astype(np.float32)},
        static={"category": np.array([f"c{number}/leaf" for number in category], object)},
        planned=("promotion", "display"),
    )
    return panel, stock


def test_effects_when_kinds_overlap_then_each_is_found_apart_and_all_together() -> None:
    panel, _ = shop()
    table = promotion_effects(panel)
    cut, display, both = (table.of(name) for name in ("price cut 20%", "display", "promotion"))
    assert [row.name for row in table.rows] == ["promotion", "price cut 20%", "display", *["promotion"] * 3]
    assert [row.category for row in table.rows[3:]] == ["c0", "c1", "c2"]
    assert cut is not None
    assert display is not None
    assert both is not None
    assert cut.low is not None
    assert cut.high is not None
    assert cut.low < CUT < cut.high < 1.3 * cut.low
    assert display.uplift == pytest.approx(DISPLAY, rel=0.1)
    assert both.uplift == pytest.approx(CUT * (1 + DISPLAY) / 2, rel=0.1)  # half of the cuts are on display
    # Of the cells that may tell, one in twenty is missing.
    assert both.num_item_days == int((panel.known_ahead["promotion"][np.isfinite(panel.units)] > 0).sum())
    assert all(row.uplift == pytest.approx(CUT * (1 + DISPLAY) / 2, rel=0.25) for row in table.rows[3:])
    assert json.loads(json.dumps(table.as_json(), allow_nan=False))["rows"][0]["uplift"] == both.uplift
    assert "Stock unknown" in table.note


def test_effects_when_shelves_run_empty_then_only_stock_at_opening_tells_the_uplift() -> None:
    panel, stock = shop(with_stock=True)
    hidden, told = promotion_effects(panel).rows[0], promotion_effects(panel, stock=stock).rows[0]
    true = CUT * (1 + DISPLAY) / 2
    assert hidden.high is not None
    assert hidden.high < true
    assert told.low is not None
    assert told.high is not None
    assert told.low < true < told.high
    assert told.num_item_days < hidden.num_item_days


def test_effects_when_few_item_days_are_promoted_then_the_row_says_so() -> None:
    panel, _ = shop()
    display = np.zeros_like(panel.known_ahead["display"])
    display[:3, :5] = 1
    few = DemandPanel(
        item_ids=panel.item_ids,
        start=panel.start,
        frequency="D",
        units=panel.units,
        known_ahead={"display": display, "mailer": np.ones_like(display)},
        planned=("display", "mailer"),
    )
    table = promotion_effects(few)
    assert [row.name for row in table.rows] == ["promotion", "display", "mailer"]
    assert "item-days" in table.rows[1].note
    assert table.rows[2].uplift is None  # all items on all days
    assert table.rows[2].note.startswith("Cannot be told")


def test_effects_when_nothing_is_planned_then_the_table_is_empty() -> None:
    panel, _ = shop()
    assert promotion_effects(panel, flags=()).rows == ()


def test_effects_when_a_flag_or_stock_does_not_fit_then_it_says_so() -> None:
    panel, stock = shop()
    with pytest.raises(DataError, match="expected flags among"):
        promotion_effects(panel, flags=("coupon",))
    with pytest.raises(DataError, match="expected stock of"):
        promotion_effects(panel, stock=stock[:, 1:])


def test_lost_share_when_compared_with_sums_over_the_distribution_then_it_is_the_same() -> None:
    rng = np.random.default_rng(0)
    stock, mean = rng.integers(0, 6, 20).astype(float), rng.uniform(0.1, 5, 20)
    drawn = rng.poisson(mean, (200_000, 20))
    slow = np.maximum(drawn - stock, 0).mean(axis=0) / mean
    np.testing.assert_allclose(lost_share(stock, mean), slow, atol=0.01)
    assert lost_share(np.array([3.0]), np.array([0.0])).tolist() == [0.0]
