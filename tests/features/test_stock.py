"""What is left on the shelves when the log ends."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd

from features.demand.stock import STOCK_FILE
from features.settings import EngineSettings
from tests.features.model_features import build_model_features
from tests.features.tiny_shop import event, utc, write_shop


def test_stock_when_units_sold_since_the_count_then_what_is_left_is_on_hand(tmp_path: Path) -> None:
    start = utc("2024-03-01 10:00")
    events = [
        event("u", "purchase", start + dt.timedelta(days=day), item, quantity=quantity)
        for day, item, quantity in [(0, "a", 5), (1, "a", 2), (3, "a", 1), (3, "b", 9), (2, "uncounted", 1)]
    ]
    counts = [("a", 0, 50), ("a", 1, 20), ("b", 3, 4), ("early", 4, 7), ("late", 5, 7), ("late", 2, 3)]
    inventory = [
        {"item_id": item, "day": (start + dt.timedelta(days=day)).date(), "stock": stock} for item, day, stock in counts
    ]
    data = write_shop(tmp_path / "data", events=events, inventory=inventory)
    build_model_features(data, tmp_path / "features", engine=EngineSettings(threads=1))
    found = pd.read_parquet(tmp_path / "features" / STOCK_FILE).set_index("item_id")
    # a: counted 20 on the morning of day 1, then sold 2 and 1. b sold more than was counted. The log ends on day 3: the
    # morning after is its end, the one after that is still to come.
    assert found["on_hand"].to_dict() == {"a": 17, "b": 0, "early": 7, "late": 3}
    assert found["stock"].to_dict() == {"a": 20, "b": 4, "early": 7, "late": 3}


def test_stock_when_there_is_no_inventory_then_no_file(tmp_path: Path) -> None:
    data = write_shop(tmp_path / "data", events=[event("u", "purchase", "2024-03-01 10:00", "a", quantity=1)])
    manifest = build_model_features(data, tmp_path / "features", engine=EngineSettings(threads=1))
    assert STOCK_FILE not in manifest["files"]
