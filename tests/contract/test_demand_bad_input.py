"""What a shop's files get wrong, from its files to the forecasts: a clear reason, or an assumption that is said."""

from __future__ import annotations

import datetime as dt
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.contract.data_directory import write_data_directory
from features.errors import DataError
from features.panel.build import PanelSettings
from features.release import ReleaseStore, layout
from features.settings import EngineSettings, ShopSettings
from tests.features.model_features import build_model_features
from tests.training.demand_worlds import small_config
from training.demand.fit import train_demand

ENGINE = EngineSettings(memory_limit="500MB", threads=1)
NUM_DAYS, HORIZON = 40, 3
FIRST = dt.date(2024, 3, 1)
LAST = FIRST + dt.timedelta(days=NUM_DAYS - 1)
CONFIG = small_config(
    horizon=HORIZON,
    context_length=14,
    spans=(7, 14),
    level_span=14,
    min_history=7,
    hidden_size=16,
    max_steps=6,
    validate_every_steps=3,
    batch_size=16,
    validation_windows=1,
    test_windows=1,
    lead_time_days=2,
)


def day(number: int) -> dt.date:
    return FIRST + dt.timedelta(days=number)


def sale(number: int, item: str, quantity: float = 2) -> dict[str, Any]:
    return {
        "event_id": f"{item} {number} {quantity}",
        "user_id": f"u{number % 3}",
        "event_type": "purchase",
        "ts": f"{day(number)} 10:00",
        "item_id": item,
        "quantity": quantity,
        "price": 100,
    }


def tables(**more: list[dict[str, Any]]) -> dict[str, pd.DataFrame]:
    """Items ``a`` and ``b`` sell every day; ``fresh`` came into the catalogue three days before the end."""
    events = [sale(number, item) for number in range(NUM_DAYS) for item in ("a", "b")]
    items = [
        {"item_id": "a", "category": "food/fruit", "price": 100},
        {"item_id": "b", "category": "food/fruit", "price": 300},
        {"item_id": "fresh", "category": "food/fruit", "price": 100, "created_at": f"{day(NUM_DAYS - 3)} 00:00"},
    ]
    rows = {"events": events + more.pop("events", []), "items": items, **more}
    return {name: pd.DataFrame(table, dtype=object) for name, table in rows.items()}


def features_of(root: Path, rows: dict[str, pd.DataFrame]) -> tuple[Path, dict[str, Any]]:
    counts = write_data_directory(root / "data", rows, shop=ShopSettings(), source="test", engine=ENGINE)["tables"]
    settings = PanelSettings(min_purchases=5, horizon=HORIZON)
    build_model_features(root / "data", root / "features", engine=ENGINE, panel=settings)
    return root / "features", counts


def test_train_demand_when_the_files_are_wrong_then_the_rest_is_answered_and_each_fault_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def plan(item: str, number: int) -> dict[str, Any]:
        return {"item_id": item, "day": day(number), "announced_at": f"{FIRST} 08:00", "promotion": 1.0}

    stock = {"item_id": "b", "day": day(20), "stock": 0}
    rows = tables(
        events=[sale(3, "a", -4), sale(5, "b", 0)],
        inventory=[stock, {**stock, "stock": 9}, {**stock, "item_id": "nobody"}],
        # Nothing is planned for the horizon's last two days.
        plan=[plan("a", 10), plan("a", 10), plan("nobody", 12), plan("a", NUM_DAYS)],
        regressors=[
            {"name": "temperature", "day": day(2), "value": 5.0},
            {"name": "temperature", "day": day(2), "value": 7.0},
            {"name": "temperature", "day": day(4), "value": "warm"},
            {"name": "temperature", "day": day(6), "value": 9.0, "item_id": "nobody"},
        ],
    )
    with caplog.at_level(logging.INFO):
        features, counts = features_of(tmp_path, rows)
    assert counts["events"]["reasons"] == {"quantity": 2}
    assert [counts[name]["duplicates"] for name in ("inventory", "plan", "regressors")] == [1, 1, 1]
    assert counts["regressors"]["reasons"] == {"value": 1}
    assert "the horizon ends on 2024-04-12; the days between are forecast as if nothing were planned" in caplog.text
    for name in ("plan", "inventory", "regressors"):
        assert f"{name}: 1 rows of 1 items that the panel does not hold are left out" in caplog.text

    store = tmp_path / "store"
    train_demand(features, store, CONFIG)
    part = ReleaseStore(root=store).latest_part("demand")
    forecasts = pd.read_parquet(part.path(layout.FORECASTS))
    assert forecasts.groupby("item_id").size().to_dict() == {"a": HORIZON, "b": HORIZON, "fresh": HORIZON}
    assert np.isfinite(forecasts.drop(columns=["item_id", "day"]).to_numpy()).all()
    decisions = pd.read_parquet(part.path(layout.DECISIONS)).set_index("item_id")
    assert decisions["new"].to_dict() == {"a": 0, "b": 0, "fresh": 1}
    assert (decisions["reorder_point_90"] >= 0).all()
    json.dumps(decisions.loc["fresh"].to_dict(), default=str)


def test_train_demand_when_the_horizon_passes_the_plan_then_says_which_to_change(tmp_path: Path) -> None:
    features, _ = features_of(tmp_path, tables())
    with pytest.raises(
        DataError, match=r"expected a plan for 7 further periods, found 3; build the panel with a longer"
    ):
        train_demand(features, tmp_path / "store", small_config(horizon=7))


def test_train_demand_when_an_item_has_no_sale_and_no_date_then_it_is_not_in_the_panel(tmp_path: Path) -> None:
    rows = tables()
    rows["items"] = pd.concat([rows["items"], pd.DataFrame([{"item_id": "undated", "category": "food"}])])
    features, _ = features_of(tmp_path, rows)
    panel_items = pd.read_parquet(features / "panel" / "items.parquet")["item_id"].tolist()
    assert panel_items == ["a", "b", "fresh"]
