"""From a simulated shop's log to an answer about another plan: a discount sells more."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.build import FeatureSet
from features.panel.build import PanelSettings
from features.release import ReleaseStore, write_part
from features.settings import EngineSettings
from features.sources.synthetic import generate
from serving.api.demand_schemas import AlertsRequest, DemandRequest, PlanChange
from serving.demand.book import DemandBook
from tests.features.model_features import build_model_features
from tests.training.demand_worlds import small_config
from training.demand.export import write_files
from training.demand.forecast import forecast
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.trainer import fit_model

CONFIG = small_config(horizon=14, max_steps=150)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> DemandBook:
    root, engine = tmp_path_factory.mktemp("synthetic"), EngineSettings(threads=1, memory_limit="1GB")
    generate(root / "shop", num_users=1500, num_items=120, num_days=126, seed=0, engine=engine)
    panel = PanelSettings(min_purchases=50, horizon=14)
    build_model_features(root / "shop", root / "features", engine=engine, panel=panel)
    return DemandBook.load(_part(root, FeatureSet.load(root / "features")))


def _part(root: Path, found: FeatureSet):
    inputs = PanelInputs.from_panel(found.panel, CONFIG)
    periods = found.panel.num_periods
    model = fit_model(inputs, CONFIG, fit_until=periods, directory=root / "fit", steps=CONFIG.max_steps).model
    with write_part(root / "store", "demand", data_fingerprint=found.fingerprint) as draft:
        about = write_files(
            draft.directory,
            features=found.directory,
            panel=found.panel,
            inputs=inputs,
            model=model,
            future=forecast(model, inputs, periods),
        )
        draft.about.update(about, settings=dataclasses.asdict(CONFIG))
    return ReleaseStore(root=root / "store").latest_part("demand")


def test_discount_when_planned_for_all_items_then_they_sell_more(book: DemandBook) -> None:
    items = pd.read_parquet(book.part.directory.parents[3] / "features" / "items.parquet").set_index("item_id")

    def units(plan_of: dict[str, dict[str, float | None]]) -> np.ndarray:
        changes = tuple(PlanChange(item_id=id_, plan=plan) for id_, plan in plan_of.items())
        return np.array([one.total.mean for one in book.answer(DemandRequest(what_if=changes)).what_if])

    ids = [str(id_) for id_ in book.items.ids]
    nothing = dict.fromkeys(("price", "promotion", "display"))
    discount = {id_: {"price": round(0.8 * int(items["price"][id_])), "promotion": 0.2} for id_ in ids}
    usual, promoted = units(dict.fromkeys(ids, nothing)), units(discount)
    assert promoted.sum() > 1.05 * usual.sum()
    assert (promoted > usual).mean() > 0.9


def test_alerts_when_the_shop_counts_its_stock_then_orders_follow_from_it(book: DemandBook) -> None:
    assert book.alerts is not None
    orders = book.alerts.answer(AlertsRequest(kind="reorder_now", limit=1000)).alerts
    assert orders
    for one in orders:
        decision = book.decisions[one.item_id]
        assert decision["on_hand"] <= decision["reorder_point_95"]
        assert one.quantity == decision.get("order_up_to_95", decision["reorder_point_95"]) - decision["on_hand"]
    due = {id_ for id_, one in book.decisions.items() if one.get("on_hand", np.inf) <= one["reorder_point_95"]}
    assert {one.item_id for one in orders} <= due
