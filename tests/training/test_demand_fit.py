import dataclasses
import datetime as dt

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from features.build import FeatureSet
from features.demand.calibration import DemandCalibration
from features.errors import ConfigError, DataError
from features.panel.build import PanelSettings
from features.release import Part, ReleaseStore, layout
from features.settings import EngineSettings
from tests.features.model_features import build_model_features
from tests.features.tiny_shop import event, utc, write_shop
from tests.training.demand_worlds import NUM_ITEMS, poisson_panel, small_config
from training.demand.boosted.pooled import PooledModel, share_of
from training.demand.boosted.trees import BoostedTrees
from training.demand.decisions.config import DecisionConfig
from training.demand.evaluated import EvaluatedModel
from training.demand.export import as_of, forecast_frame
from training.demand.fit import Windows, train_demand
from training.demand.forecast import Forecast
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.measured import OURS
from training.demand.network.trainer import fit_model
from training.tracking import tracking_uri

HORIZON, NUM_DAYS = 3, 40
CONFIG = small_config(
    horizon=HORIZON,
    context_length=14,
    spans=(7, 14),
    level_span=14,
    min_history=7,
    hidden_size=16,
    max_steps=12,
    validate_every_steps=4,
    batch_size=16,
    validation_windows=1,
    test_windows=2,
    lead_time_days=2,
    checkpoint_every_steps=3,
    decisions=DecisionConfig(what_if=False),
)


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """Three items: ``a`` sells 2 a day, ``b`` 1 every other day, ``slow`` takes 30 days to come."""
    directory = tmp_path_factory.mktemp("demand")
    events = []
    for day in range(NUM_DAYS):
        at = utc("2024-03-01 10:00") + dt.timedelta(days=day)
        events.append(event("u", "purchase", at, "a", quantity=2, price=100))
        events.append(event("u", "purchase", at + dt.timedelta(minutes=1), "slow", quantity=1, price=100))
        if day % 2:
            events.append(event("u", "purchase", at + dt.timedelta(minutes=2), "b", quantity=1, price=50))
    items = [
        {"item_id": "a", "category": "x/y", "lead_time_days": 1},
        {"item_id": "b", "category": "x/z"},
        {"item_id": "slow", "category": "x/z", "lead_time_days": 30},
    ]
    data = write_shop(directory / "data", events=events, items=items)
    panel = PanelSettings(min_purchases=5, horizon=HORIZON)
    build_model_features(data, directory / "features", engine=EngineSettings(threads=1), panel=panel)
    return directory / "features"


@pytest.fixture(scope="module")
def trained(features, tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    return store, train_demand(features, store, CONFIG)


def test_train_demand_when_done_then_the_part_holds_forecasts_of_the_days_after_the_log(trained):
    store, result = trained
    part = ReleaseStore(root=store).latest_part("demand")
    assert part.version == result["part"]
    forecasts = pd.read_parquet(part.path(layout.FORECASTS))
    names = [layout.quantile_column(level) for level in layout.QUANTILES]
    assert list(forecasts.columns) == ["item_id", "day", "mean", *names]
    assert len(forecasts) == 3 * HORIZON
    assert sorted(set(forecasts["day"])) == [dt.date(2024, 4, 10) + dt.timedelta(days=day) for day in range(HORIZON)]
    assert (np.diff(forecasts[names].to_numpy(), axis=1) >= 0).all()
    assert part.about["as_of"] == "2024-04-09"
    assert (part.about["frequency"], part.about["horizon"]) == ("D", HORIZON)


def test_train_demand_when_a_lead_time_passes_the_horizon_then_no_decision_rather_than_a_wrong_one(trained):
    store, _ = trained
    part = ReleaseStore(root=store).latest_part("demand")
    decisions = pd.read_parquet(part.path(layout.DECISIONS)).set_index("item_id")
    assert decisions["lead_time_days"].to_dict() == {"a": 1, "b": 2}
    assert (decisions["reorder_point_95"] >= decisions["reorder_point_90"]).all()
    np.testing.assert_allclose(
        decisions["safety_stock_90"], decisions["reorder_point_90"] - decisions["lead_mean"], rtol=1e-6
    )
    assert decisions["order_up_to_90"].isna().all()  # 1 and 7 days are beyond a horizon of 3
    alerts = pd.read_parquet(part.path(layout.ALERTS))
    assert "reorder_now" not in set(alerts["kind"])
    assert part.about["alerts"]["notes"][0].startswith("Alerts to reorder and to protect are absent: the data hold no")


def test_train_demand_when_done_then_the_part_holds_its_calibration_and_what_it_changed(trained):
    store, result = trained
    part = ReleaseStore(root=store).latest_part("demand")
    calibration = DemandCalibration.load(part.path(layout.DEMAND_CALIBRATION))
    found = result["report"]["calibration"]
    assert part.about["report"]["calibration"] == found
    assert tuple(found["period"]["covered"]) == calibration.period.covered
    # A window as short as its week; all that the chosen model has not learnt from is known at the panel's end.
    held_out = CONFIG.validation_windows + CONFIG.test_windows
    assert found["period"]["num_windows"] == found["total"]["num_windows"] == held_out
    assert found["level"] == calibration.level
    names = {"pit80", "pit_low", "pit_high", "service90", "stock90", "service95", "stock95"}
    assert found["before"].keys() == found["after"].keys() == names
    assert found["after"]["pit80"] == pytest.approx(result["metrics"]["pit80"])


def test_train_demand_when_the_shop_logs_no_carts_then_their_baseline_is_left_out(trained):
    _, result = trained
    assert set(result["report"]["models"]) == {OURS, "seasonal_naive", "empirical_quantiles", "croston_sba"}


def test_train_demand_when_one_customer_buys_everything_then_no_group_is_shown(trained):
    _, result = trained
    found = result["report"]["buyers"]
    assert [one["title"] for one in found] == ["Customer lifecycle", "Growth stage", "RFM segment"]
    assert all(one["rows"] == [] and "Not shown: 1 group" in one["note"] for one in found)


def test_train_demand_when_tracked_then_one_finished_run_with_metrics_and_files(trained):
    store, result = trained
    client = MlflowClient(tracking_uri(store))
    run = client.get_run(result["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["wql"] == pytest.approx(result["report"]["models"][OURS]["wql"])
    assert run.data.params["horizon"] == str(HORIZON)
    assert layout.FORECASTS in {f.path.split("/")[-1] for f in client.list_artifacts(result["run_id"], "demand")}
    left = sorted(path.name for path in (store / "runs" / result["run_id"]).iterdir())
    assert left == ["evaluated", "result.json"]  # what a promotion asks for


def test_train_demand_when_it_broke_after_choosing_then_resume_goes_on_and_ends_the_same(
    features, trained, tmp_path, monkeypatch
):
    def breaks(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("training.demand.fit.measured_on", breaks)
        with pytest.raises(KeyboardInterrupt):
            train_demand(features, tmp_path, CONFIG)
    (run_id,) = (path.name for path in (tmp_path / "runs").iterdir())
    with pytest.raises(ConfigError, match=r"resume: model\.seed: the run was started with 0, found 1"):
        train_demand(features, tmp_path, dataclasses.replace(CONFIG, seed=1), resume=run_id)
    with monkeypatch.context() as patch:  # cut off a second time, after the export
        patch.setattr("training.demand.fit.TrackedRun.log_artifacts", breaks)
        with pytest.raises(KeyboardInterrupt):
            train_demand(features, tmp_path, CONFIG, resume=run_id)
    resumed = train_demand(features, tmp_path, CONFIG, resume=run_id)
    assert resumed["run_id"] == run_id
    assert [path.name for path in (tmp_path / "parts" / "demand").iterdir()] == [resumed["part"]]
    frames = [
        pd.read_parquet(Part.open(store / "parts" / "demand" / done["part"]).path(layout.FORECASTS))
        for store, done in (trained, (tmp_path, resumed))
    ]
    pd.testing.assert_frame_equal(*frames)


def test_train_demand_when_boosted_trees_join_then_part_and_kept_model_hold_their_share(features, tmp_path):
    config = dataclasses.replace(CONFIG, boosted_trees="always", max_steps=4)
    result = train_demand(features, tmp_path, config)
    part = Part.open(tmp_path / "parts" / "demand" / result["part"])
    share = part.about["boosted_share"]
    assert 0 < share <= 1  # four steps of a network are no match
    (kept,) = (tmp_path / "runs" / result["run_id"] / "evaluated" / "parts" / "demand").iterdir()
    found = FeatureSet.load(features)
    model = EvaluatedModel.open(Part.open(kept), found.panel)
    assert share_of(model.model) == share
    origin = Windows.of(found.panel.num_periods, config).test[0]
    grown = BoostedTrees.fit(found.panel, model.inputs, until=Windows.of(found.panel.num_periods, config).fit_until)
    assert isinstance(model.model, PooledModel)
    np.testing.assert_array_equal(model.model.trees.quantiles(origin), grown.quantiles(origin))
    assert np.isfinite(model.forecast(origin).quantiles).all()


def test_resume_when_there_is_nothing_to_resume_then_says_so(features, trained):
    store, result = trained
    with pytest.raises(ConfigError, match="expected an unfinished demand training"):
        train_demand(features, store, CONFIG, resume=result["run_id"])
    assert MlflowClient(tracking_uri(store)).get_run(result["run_id"]).info.status == "FINISHED"
    # A run that is still open is not marked as failed by a mistake either.
    client = MlflowClient(tracking_uri(store))
    client.update_run(result["run_id"], status="RUNNING")
    with pytest.raises(ConfigError, match="expected an unfinished demand training"):
        train_demand(features, store, CONFIG, resume=result["run_id"])
    assert client.get_run(result["run_id"]).info.status == "RUNNING"
    client.set_terminated(result["run_id"], status="FINISHED")


def test_train_demand_when_no_item_sells_enough_then_both_commands_say_what_to_set(tmp_path, caplog):
    events = [event("u", "purchase", utc("2024-03-01 10:00"), "a", quantity=1, price=100)]
    data = write_shop(tmp_path / "data", events=events)
    build_model_features(data, tmp_path / "features", engine=EngineSettings(threads=1))
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert [line for line in warnings if line.startswith("panel: no item has 30 purchases")] == warnings[-1:]
    advice = r"no item has 30 purchases .*rebuild with `footfall features DATA OUT --panel\.min_purchases 5`"
    with pytest.raises(DataError, match=advice):
        train_demand(tmp_path / "features", tmp_path / "store", CONFIG)


def test_windows_when_laid_out_then_they_neither_overlap_nor_pass_the_end():
    windows = Windows.of(100, small_config(horizon=7, validation_windows=2, test_windows=1))
    assert windows == Windows(fit_until=79, seen_until=93, validation=(79, 86), test=(93,))
    with pytest.raises(DataError, match=r"at least 56 periods for 3 windows of 7, found 40.*--model.test_windows"):
        Windows.of(40, small_config(horizon=7, validation_windows=2, test_windows=1))


def test_frame_when_the_panel_is_weekly_then_periods_are_weeks():
    daily = poisson_panel()
    weekly = type(daily)(item_ids=daily.item_ids, start=daily.start, frequency="W", units=daily.units[:, :10])
    found = Forecast(mean=np.ones((NUM_ITEMS, 7)), quantiles=np.ones((NUM_ITEMS, 7, 9)), totals=None)
    frame = forecast_frame(weekly, found)
    assert frame["day"].iloc[:2].tolist() == [dt.date(2024, 3, 11), dt.date(2024, 3, 18)]
    assert as_of(weekly) == "2024-03-10"


def test_fit_model_when_already_done_then_its_weights_are_read_again(tmp_path):
    config = small_config(max_steps=2, hidden_size=8, batch_size=4)
    inputs = PanelInputs.from_panel(poisson_panel(), config)
    first = fit_model(inputs, config, fit_until=100, directory=tmp_path, steps=2)
    again = fit_model(inputs, config, fit_until=100, directory=tmp_path, steps=2)
    assert first.steps == again.steps == 2
    for name, value in first.model.state_dict().items():
        assert (again.model.state_dict()[name] == value).all()
