from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from benchmarks.demand_cold import GROUPS, OURS, WARM, Draw, group_quantiles, predictions, rows, run_draw, withheld
from features.panel.demand_panel import DemandPanel
from features.release.layout import QUANTILES, quantile_column
from tests.training.demand_worlds import HORIZON, NUM_ITEMS, NUM_PERIODS, poisson_panel, small_config
from training.demand.backtesting.metrics import wql


def shop() -> DemandPanel:
    panel = poisson_panel()
    category = panel.static["category"]
    in_category = [np.nansum(panel.units[category == name], axis=0) for name in category]
    return dataclasses.replace(
        panel,
        static={
            "department": np.full(NUM_ITEMS, "food", object),
            "product_category": category,
            "price_band": np.array([str(number % 2) for number in range(NUM_ITEMS)], object),
        },
        observed={**panel.observed, "cat_y": np.array(in_category, np.float32)},
    )


def test_withheld_when_items_are_taken_out_then_nothing_of_them_is_left() -> None:
    panel, items = shop(), np.array([4, 7])  # both of category c1
    found = withheld(panel, items)
    assert np.isnan(found.units[items]).all()
    others = np.setdiff1d(np.arange(NUM_ITEMS), items)
    np.testing.assert_array_equal(found.units[others], panel.units[others])
    category = panel.static["product_category"]
    rest = [item for item in others if category[item] == "c1"]
    np.testing.assert_allclose(found.observed["cat_y"][rest[0]], np.nansum(panel.units[rest], axis=0))
    unmoved = next(item for item in others if category[item] == "c2")
    np.testing.assert_array_equal(found.observed["cat_y"][unmoved], panel.observed["cat_y"][unmoved])
    assert all((array[items] == 0).all() for array in found.observed.values())


def test_group_quantiles_when_a_group_has_no_other_item_then_it_is_widened() -> None:
    panel, items, origin = shop(), np.array([1]), 120
    alone = panel.static["product_category"].copy()
    alone[1] = "rare"
    hidden = withheld(dataclasses.replace(panel, static={**panel.static, "product_category": alone}), items)
    recent = np.delete(hidden.units, 1, axis=0)[:, origin - 56 : origin]
    found = group_quantiles(hidden, items, origin, GROUPS["category_quantiles"])
    np.testing.assert_allclose(found[0], np.nanquantile(recent, QUANTILES))
    beside = hidden.units[alone == "c0"][:, origin - 56 : origin]
    found = group_quantiles(hidden, np.array([0]), origin, GROUPS["category_quantiles"])
    np.testing.assert_allclose(found[0], np.nanquantile(beside, QUANTILES))


@pytest.fixture(scope="module")
def draw() -> Draw:
    config = small_config(max_steps=4, hidden_size=16)
    return run_draw(shop(), config, (NUM_PERIODS - 2 * HORIZON, NUM_PERIODS - HORIZON))


def test_rows_when_draws_are_pooled_then_losses_and_units_add_up(draw: Draw) -> None:
    found = {row["model"]: row for row in rows({0: draw, 5: draw}, small_config())}
    json.dumps(list(found.values()), allow_nan=False)
    assert set(found) == {OURS, WARM, *GROUPS}
    for name, row in found.items():
        assert row["metrics"]["wql"] == pytest.approx(wql(draw.actual, draw.quantiles[name]))
        assert row["per_seed"]["5"]["wql"] == pytest.approx(row["metrics"]["wql"])
        if name != OURS:
            difference = row["difference"]["wql"]
            assert difference["mean"] == pytest.approx(row["metrics"]["wql"] - found[OURS]["metrics"]["wql"])
            assert difference["low"] <= difference["mean"] <= difference["high"]


def test_predictions_when_written_then_wql_can_be_worked_out_from_them(draw: Draw) -> None:
    panel = shop()
    frame = predictions(draw, panel, seed=3)
    units = pd.DataFrame(panel.units, index=panel.item_ids, columns=panel.periods).stack()
    actual = units.loc[list(zip(frame["unique_id"], frame["ds"], strict=True))].to_numpy()
    quantiles = frame[[quantile_column(level) for level in QUANTILES]].to_numpy()
    assert wql(actual, quantiles) == pytest.approx(draw.wql(OURS))
    assert frame["unique_id"].nunique() == round(0.1 * NUM_ITEMS)
