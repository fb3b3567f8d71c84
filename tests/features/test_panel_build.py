from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError
from features.event_log import EventLog
from features.panel.build import PanelSettings, build_panel, carried_forward
from features.panel.calendar import calendar_features
from features.panel.demand_panel import DemandPanel
from features.settings import EngineSettings, ShopSettings
from tests.features.tiny_shop import event, utc, write_shop

ENGINE = EngineSettings(memory_limit="500MB", threads=1)
NAN = float("nan")


def panel_of(
    root: Path,
    *,
    shop: ShopSettings = ShopSettings(),
    settings: PanelSettings = PanelSettings(min_purchases=1, max_items=0, horizon=3),
    **tables: Any,
) -> DemandPanel:
    data = write_shop(root / "data", shop=shop, **tables)
    log = EventLog.build(data, root / "log.parquet", shop=shop, engine=ENGINE)
    return build_panel(log, data, shop=shop, settings=settings, engine=ENGINE)


def sale(day: int, item: str, quantity: int = 1, price: int | None = 100) -> dict[str, Any]:
    return event("ann", "purchase", f"2024-05-{day:02} 12:00", item, quantity=quantity, price=price)


def test_units_when_an_item_starts_late_or_runs_out_then_nan_and_else_zero(tmp_path: Path) -> None:
    panel = panel_of(
        tmp_path,
        events=[sale(1, "a", 2), sale(5, "a"), sale(3, "late"), sale(4, "listed"), sale(1, "out"), sale(4, "out")],
        items=[{"item_id": "listed", "created_at": utc("2024-05-02 00:00")}],
        inventory=[
            {"item_id": "out", "day": dt.date(2024, 5, day), "stock": stock} for day, stock in [(1, 5), (2, 0), (4, 0)]
        ],
    )
    assert panel.item_ids.tolist() == ["a", "late", "listed", "out"]
    expected = [
        [2, 0, 0, 0, 1],
        [NAN, NAN, 1, 0, 0],  # known by its first sale
        [NAN, 0, 0, 1, 0],  # known by its creation
        [1, NAN, 0, 1, 0],  # sold out on day 2; sold the last one on day 4
    ]
    np.testing.assert_array_equal(panel.units, np.array(expected, np.float32))
    assert panel.opening_stock is not None
    np.testing.assert_array_equal(panel.opening_stock, [[NAN] * 5, [NAN] * 5, [NAN] * 5, [5, 0, NAN, 0, NAN]])


def test_panel_when_messages_come_before_the_first_item_event_then_it_starts_with_the_item(tmp_path: Path) -> None:
    panel = panel_of(tmp_path, events=[event("ann", "message_sent", "2024-04-01 12:00"), sale(1, "a"), sale(2, "a")])
    assert (panel.start, panel.num_periods) == (pd.Timestamp("2024-05-01"), 2)


def test_units_when_the_shop_is_far_west_then_days_are_local(tmp_path: Path) -> None:
    late = event("ann", "purchase", "2024-05-02 03:00", "a")  # still 1 May in New York
    panel = panel_of(tmp_path, shop=ShopSettings(time_zone="America/New_York"), events=[late, sale(2, "a")])
    assert panel.start == pd.Timestamp("2024-05-01")
    assert panel.units.tolist() == [[1, 1]]


def test_items_when_bought_too_seldom_or_too_many_then_left_out(tmp_path: Path) -> None:
    rows = [sale(1, "a"), sale(1, "a"), sale(1, "b"), sale(1, "b"), sale(1, "b"), sale(1, "c")]
    data = write_shop(tmp_path / "data", events=rows)
    log = EventLog.build(data, tmp_path / "log.parquet", shop=ShopSettings(), engine=ENGINE)
    for limit, kept in ((0, ["a", "b"]), (1, ["b"])):
        settings = PanelSettings(min_purchases=2, max_items=limit)
        assert build_panel(log, data, shop=ShopSettings(), settings=settings).item_ids.tolist() == kept


def test_realised_price_when_days_have_no_sale_then_carried_forward_and_never_back(tmp_path: Path) -> None:
    rows = [sale(2, "a", 2, 300), sale(2, "a", 1, 600), sale(4, "a", 1, None), sale(5, "a", 1, 500), sale(1, "b")]
    panel = panel_of(tmp_path, events=rows)
    # day 2: (2 x 300 + 600) / 3 units; day 4's price is unknown
    assert panel.observed["realised_price"][0].tolist() == [0, 400, 400, 400, 500]
    assert "realised_price" not in panel.known_ahead


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), min_size=1, max_size=12))
def test_carried_forward_when_compared_with_a_loop_then_equal(days: list[tuple[int, int]]) -> None:
    units = np.array([[u for u, _ in days]], np.float32)
    price = np.array([[p for _, p in days]], np.float32)
    expected, last = [], 0.0
    for u, p in days:
        last = float(p) if u else last
        expected.append(last)
    np.testing.assert_allclose(carried_forward(units * price, units)[0], expected, rtol=1e-6)


def test_plan_when_announced_late_then_known_only_to_later_origins(tmp_path: Path) -> None:
    def plan(day: int, announced: str, promotion: float) -> dict[str, Any]:
        return {"item_id": "a", "day": dt.date(2024, 5, day), "announced_at": utc(announced), "promotion": promotion}

    rows = [
        plan(4, "2024-04-20 10:00", 1.0),
        plan(4, "2024-04-30 10:00", 2.0),  # the newest that is 3 days ahead or more
        plan(4, "2024-05-03 10:00", 3.0),
        plan(5, "2024-05-04 23:00", 4.0),  # one day ahead
        plan(6, "2024-05-06 00:00", 5.0),  # on the day itself: never known ahead
        plan(7, "2024-05-01 10:00", 6.0),  # in the horizon
    ]
    panel = panel_of(tmp_path, events=[sale(1, "a"), sale(5, "a")], plan=rows)
    assert panel.planned == ("promotion",)
    assert panel.known_ahead["promotion"].tolist() == [[0, 0, 0, 2, 4, 0, 6, 0]]
    assert panel.announced_ahead is not None
    assert panel.announced_ahead.tolist() == [[0, 0, 0, 4, 1, 0, 6, 0]]
    # At the end of 3 May only what had been announced by then.
    assert panel.as_known_at(3).known_ahead["promotion"].tolist() == [[0, 0, 0, 2, 0, 0, 6, 0]]
    assert panel.as_known_at(4).known_ahead["promotion"].tolist() == [[0, 0, 0, 2, 4, 0, 6, 0]]


def test_panel_when_saved_and_loaded_then_equal(tmp_path: Path) -> None:
    plan = [{"item_id": "a", "day": dt.date(2024, 5, 2), "announced_at": utc("2024-04-01 00:00"), "price": 90}]
    items = [{"item_id": "a", "category": "food/fruit", "brand": "x"}]
    panel = panel_of(tmp_path, events=[sale(1, "a"), sale(3, "b")], plan=plan, items=items)
    panel.save(tmp_path / "panel")
    again = DemandPanel.load(tmp_path / "panel")
    np.testing.assert_array_equal(again.units, panel.units)
    assert (again.planned, again.horizon, again.start) == (("planned_price",), 3, panel.start)
    for name, array in panel.known_ahead.items():
        np.testing.assert_array_equal(again.known_ahead[name], array)
    for name, array in panel.observed.items():
        np.testing.assert_array_equal(again.observed[name], array)
    assert again.static["category"].tolist() == ["food/fruit", ""]


def test_category_heat_when_a_category_sells_twice_its_mean_then_two(tmp_path: Path) -> None:
    items = [{"item_id": "a", "category": "food/x"}, {"item_id": "b", "category": "food/y"}]
    panel = panel_of(tmp_path, events=[sale(1, "a", 1), sale(3, "b", 5)], items=items)
    # food sold 1, 0, 5: means so far 1, 1/2, 2
    assert panel.observed["category_heat"].tolist() == [[1, 0, 2.5], [1, 0, 2.5]]


def test_calendar_when_a_day_is_a_holiday_then_one_and_weeks_come_round() -> None:
    days = pd.date_range("2024-07-01", periods=8)
    features = calendar_features(days, "US")
    assert features["holiday"].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    assert features["day_of_week_sin"][0] == features["day_of_week_sin"][7]
    for name in ("day_of_week", "week_of_year"):
        np.testing.assert_allclose(features[f"{name}_sin"] ** 2 + features[f"{name}_cos"] ** 2, 1, rtol=1e-6)
    with pytest.raises(ConfigError, match=r"country: expected an ISO 3166 code .* found 'USA_'"):
        calendar_features(days, "USA_")
