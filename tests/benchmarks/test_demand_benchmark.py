import json

import numpy as np
import pandas as pd
import pytest

from benchmarks import demand_tables
from benchmarks.autoets import AutoEts
from benchmarks.demand import latest
from benchmarks.demand_panels import WALMART, read_walmart
from benchmarks.demand_rows import Measured, averaged, quantile_rows, reorder_rows, rows, verdict, write_predictions
from features.release.layout import QUANTILES, quantile_column
from tests.training.demand_worlds import HORIZON, NUM_ITEMS, NUM_PERIODS, poisson_panel, small_config
from training.demand.backtesting import metrics
from training.demand.backtesting.backtest import backtest, baseline_forecasters, rolling_origins
from training.demand.inputs.panel_inputs import PanelInputs


@pytest.fixture(scope="module")
def measured():
    inputs = PanelInputs.from_panel(poisson_panel(), small_config())
    origins = rolling_origins(NUM_PERIODS, horizon=HORIZON, windows=2)
    asked = {"lead_periods": 7, "service_levels": (0.9, 0.95)}
    found = {name: backtest(one, inputs, origins, **asked) for name, one in baseline_forecasters(inputs).items()}
    ours = Measured(
        model="footfall", found=(found["croston_sba"], found["empirical_quantiles"]), seeds=(4, 7), fit_cpu_s=2.0
    )
    others = [
        Measured(model="seasonal_naive", found=(found["seasonal_naive"],)),
        Measured(model="empirical_quantiles", found=(found["empirical_quantiles"],), rival="not_run"),
    ]
    return inputs, [ours, *others]


def test_rows_when_seeds_differ_then_their_mean_and_each_by_itself(measured):
    inputs, models = measured
    ours, naive, alone = found = rows(models, inputs, panel="unknown")
    json.dumps(found, allow_nan=False)
    assert set(ours["per_seed"]) == {"4", "7"}
    assert ours["metrics"]["wql"] == pytest.approx(np.mean([seed["wql"] for seed in ours["per_seed"].values()]))
    assert ours["difference"] == {}
    assert (naive["difference_of"], alone["difference_of"], alone["difference"]) == ("footfall", "", {})
    difference = naive["difference"]["wql"]
    assert difference["mean"] == pytest.approx(ours["metrics"]["wql"] - naive["metrics"]["wql"])
    assert difference["low"] < difference["mean"] < difference["high"]
    assert len(ours["per_window"]) == 2
    assert sum(ours["pit"]) == pytest.approx(1)
    lines = demand_tables.lines({"results": found})
    assert sum(line.startswith("| footfall |") for line in lines) == 4


def test_predictions_when_written_then_wql_can_be_worked_out_from_them(measured, tmp_path):
    inputs, models = measured
    panel = poisson_panel()
    write_predictions(tmp_path, models, panel, scale=1.0)
    frame = pd.read_parquet(tmp_path / "quantiles.parquet")
    assert set(frame["seed"]) == {4, 7}
    first = frame[frame["seed"] == 4]
    units = pd.DataFrame(panel.units, index=panel.item_ids, columns=panel.periods).stack()
    actual = units.loc[list(zip(first["unique_id"], first["ds"], strict=True))].to_numpy()
    quantiles = first[[quantile_column(level) for level in QUANTILES]].to_numpy()
    expected = rows(models, inputs, panel="unknown")[0]["per_seed"]["4"]["wql"]
    assert metrics.wql(actual, quantiles) == pytest.approx(expected, rel=1e-5)
    assert ((first["ds"] - first["cutoff"]).dt.days >= 1).all()
    points = pd.read_parquet(tmp_path / "reorder_points.parquet").query("seed == 4")
    served = (points["lead_total"] <= points["reorder_point_90"]).mean()
    assert served == pytest.approx(_served(models[0].found[0]))
    assert len(points) == NUM_ITEMS * 2
    assert (tmp_path / "quantiles-seasonal_naive.parquet").exists()
    doubled = quantile_rows(models[0].found[0], panel, seed=4, scale=100.0)
    np.testing.assert_allclose(doubled["mean"], 100 * first["mean"], rtol=1e-6)
    assert list(reorder_rows(models[0].found[0], panel, seed=4)["seed"].unique()) == [4]


def test_verdict_when_a_reference_row_is_off_then_void():
    assert verdict("daily", "lightgbm_ensemble", 0.5534) == "WQL +0.0% from the pinned configuration's 0.5534"
    assert verdict("daily", "lightgbm_ensemble", 0.6).startswith("VOID: WQL +8.4%")
    assert verdict("walmart", "lightgbm_ensemble", 0.6) == ""


def test_latest_when_asked_then_the_fit_of_the_newest_end_that_the_origin_knows():
    fits = {until: lambda origin, until=until: (until, origin) for until in (10, 14, 18)}
    assert [latest(fits)(origin) for origin in (10, 13, 14, 40)] == [(10, 10), (10, 13), (14, 14), (18, 40)]


def test_averaged_when_objects_have_one_shape_then_numbers_are_meant_and_words_kept():
    found = averaged([{"origin": 3, "rows": [{"x": 1.0, "y": None}]}, {"origin": 3, "rows": [{"x": 3.0, "y": None}]}])
    assert found == {"origin": 3, "rows": [{"x": 2.0, "y": None}]}


def test_autoets_when_its_answers_are_read_then_by_origin_and_never_below_zero():
    columns = {quantile_column(level): [level - 0.3, 10 * level] for level in QUANTILES}
    frame = pd.DataFrame({"origin": 5, "unique_id": [0, 0], "ds": [5, 6], "mean": [0.2, 5.0], **columns})
    found = AutoEts(frame, num_items=2, horizon=2)(5)
    np.testing.assert_allclose(found.quantiles[0, 0], np.maximum(np.array(QUANTILES) - 0.3, 0), atol=1e-6)
    assert found.mean.tolist() == [[pytest.approx(0.2), 5.0], [0.0, 0.0]]
    # Half of what lies between .1 and .9 is 1.28 standard deviations; squares add up: .6 (from 0) and 8.
    reach = (0.6**2 + 8.0**2) ** 0.5 / 2
    mean, points = found.totals.total_quantiles(np.array([2, 2]), (0.9,))
    assert mean[0] == pytest.approx(5.2)
    assert points[0, 0] == np.ceil(5.2 + reach)


def test_walmart_when_read_then_hundreds_of_dollars_and_series_without_a_year_left_out(tmp_path):
    horizon = WALMART.config.horizon
    weeks = pd.date_range("2010-02-05", periods=52 + 2 * horizon, freq="7D")
    lines = [(1, 1, week, 1_234.0 if number else -50.0) for number, week in enumerate(weeks)]
    lines += [(1, 2, week, 10.0) for week in weeks[1:]]  # 51 weeks before the last eight
    pd.DataFrame(lines, columns=["store", "dept", "date", "weekly_sales"]).to_parquet(tmp_path / "train.parquet")
    more = pd.date_range(weeks[0], periods=len(weeks) + horizon, freq="7D")
    observed = dict.fromkeys([*(f"markdown{n}" for n in range(1, 6)), "temperature", "fuel_price", "cpi"], 1.0)
    about = pd.DataFrame({"store": 1, "date": more, "isholiday": more == weeks[3], "unemployment": np.nan} | observed)
    about.to_parquet(tmp_path / "features.parquet")
    pd.DataFrame({"store": [1], "type": ["A"], "size": [5]}).to_parquet(tmp_path / "stores.parquet")
    panel = read_walmart(tmp_path, WALMART.config)
    assert panel.item_ids.tolist() == ["1-1"]
    assert panel.units[0, :3].tolist() == [0.0, 12.0, 12.0]
    assert panel.known_ahead["holiday"].shape == (1, len(weeks) + horizon)
    assert panel.known_ahead["holiday"][0].nonzero()[0].tolist() == [3]
    assert not panel.observed


def _served(found):
    return (found.lead_total <= found.reorder_points[..., found.levels.index(0.9)]).mean()
