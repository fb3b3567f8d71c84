"""Panels of weeks, outside regressors and new items, worked out by hand."""

from __future__ import annotations

import datetime as dt
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError, DataError
from features.event_log import EventLog
from features.panel.build import PanelSettings, build_panel
from features.panel.calendar import calendar_features
from features.panel.demand_panel import DemandPanel
from features.panel.plan import last_known
from features.settings import EngineSettings, ShopSettings
from tests.features.tiny_shop import event, utc, write_shop

ENGINE = EngineSettings(memory_limit="500MB", threads=1)
WEEKS = PanelSettings(frequency="W", min_purchases=1, max_items=0, horizon=2)
DAYS = PanelSettings(min_purchases=1, max_items=0, horizon=3)
NAN = float("nan")


def panel_of(root: Path, settings: PanelSettings, **tables: Any) -> DemandPanel:
    data = write_shop(root / "data", **tables)
    log = EventLog.build(data, root / "log.parquet", shop=ShopSettings(), engine=ENGINE)
    return build_panel(log, data, shop=ShopSettings(), settings=settings, engine=ENGINE)


def sale(day: int, item: str, quantity: int = 1, price: int = 100) -> dict[str, Any]:
    return event("ann", "purchase", f"2024-05-{day:02} 12:00", item, quantity=quantity, price=price)


def day(number: int) -> dt.date:
    return dt.date(2024, 5, number)


def test_weeks_when_the_log_has_16_days_then_two_whole_weeks_to_its_end(tmp_path: Path) -> None:
    # Days 1 .. 16: weeks are 3 .. 9 and 10 .. 16; days 1 and 2 fall out. `late` starts within the first week.
    events = [sale(1, "a", 9), sale(3, "a", 2, 100), sale(9, "a", 1, 400), sale(16, "a", 4), sale(5, "late", 3)]
    events.append(event("ann", "view", "2024-05-10 08:00", "a"))
    panel = panel_of(tmp_path, WEEKS, events=events)
    assert (panel.start, panel.frequency, panel.num_periods, panel.horizon) == (pd.Timestamp("2024-05-03"), "W", 2, 2)
    np.testing.assert_array_equal(panel.units, [[3, 4], [NAN, 0]])
    assert panel.observed["revenue"].tolist() == [[600, 400], [300, 0]]
    assert panel.observed["realised_price"].tolist() == [[200, 100], [100, 100]]  # carried forward, never back
    assert panel.observed["num_views"].tolist() == [[0, 1], [0, 0]]
    # Category "" sold 6, then 4 units, on average 6, then 5.
    np.testing.assert_allclose(panel.observed["category_heat"], [[1, 0.8]] * 2)


def test_weeks_when_an_item_is_out_of_stock_on_a_day_then_its_week_says_nothing(tmp_path: Path) -> None:
    stock = [{"item_id": "a", "day": day(4), "stock": 0}]
    panel = panel_of(tmp_path, WEEKS, events=[sale(1, "a"), sale(3, "a"), sale(14, "a", 5)], inventory=stock)
    np.testing.assert_array_equal(panel.units, [[NAN, 5]])


def test_weeks_when_the_log_is_shorter_than_one_then_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected at least 7 days for panel.frequency W, found 3"):
        panel_of(tmp_path, WEEKS, events=[sale(1, "a"), sale(3, "a")])


def test_settings_when_the_frequency_is_unknown_then_says_which_there_are() -> None:
    with pytest.raises(ConfigError, match=r"panel.frequency: expected one of D, W, found 'M'"):
        PanelSettings(frequency="M")  # type: ignore[arg-type]


def test_calendar_when_periods_are_weeks_then_holidays_are_counted() -> None:
    days = pd.date_range("2024-12-22", periods=14)
    features = calendar_features(days, "GB", period_days=7)
    assert features["holiday"].tolist() == [2, 1]  # Christmas and Boxing Day; New Year's Day
    assert sorted(features) == ["holiday", "week_of_year_cos", "week_of_year_sin"]


def test_plan_when_days_are_weeks_then_means_and_weeks_ahead(tmp_path: Path) -> None:
    def plan(number: int, announced: str, **values: float) -> dict[str, Any]:
        return {"item_id": "a", "day": day(number), "announced_at": utc(announced), **values}

    # Weeks 1 .. 7 and 8 .. 14 are past; 15 .. 21 and 22 .. 28 are the horizon of two weeks.
    rows = [
        plan(8, "2024-05-07 10:00", promotion=1.0),  # the day before its week: one week ahead
        plan(9, "2024-05-08 10:00", promotion=1.0),  # once the week has begun: never known ahead
        plan(15, "2024-05-07 10:00", promotion=1.0, price=90),  # two weeks ahead
        plan(16, "2024-05-01 10:00", promotion=1.0, price=70),  # two weeks ahead
        plan(17, "2024-05-14 10:00", promotion=1.0, price=10),  # one week ahead: not for all of the horizon
    ]
    panel = panel_of(tmp_path, WEEKS, events=[sale(1, "a"), sale(14, "a")], plan=rows)
    assert panel.announced_ahead is not None
    assert panel.announced_ahead.tolist() == [[0, 1, 2, 0]]
    np.testing.assert_allclose(panel.known_ahead["promotion"], [[0, 1 / 7, 2 / 7, 0]])
    assert panel.known_ahead["planned_price"].tolist() == [[0, 0, 80, 0]]  # of the days that have one
    np.testing.assert_allclose(panel.as_known_at(1).known_ahead["promotion"], [[0, 1 / 7, 2 / 7, 0]])


def test_plan_when_it_ends_within_the_horizon_then_says_what_is_assumed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row = {"item_id": "a", "day": day(6), "announced_at": utc("2024-05-01 10:00"), "promotion": 1.0}
    with caplog.at_level(logging.WARNING):
        panel = panel_of(tmp_path, DAYS, events=[sale(1, "a"), sale(5, "a"), sale(5, "b")], plan=[row])
    assert "plan: announced up to 2024-05-06, the horizon ends on 2024-05-08; the days between" in caplog.text
    assert panel.known_ahead["promotion"][:, -3:].tolist() == [[1, 0, 0], [0, 0, 0]]


def test_regressors_when_not_announced_then_known_only_afterwards_and_gaps_keep_the_last_value(tmp_path: Path) -> None:
    rows = [
        {"name": "temperature", "day": day(2), "value": 10.0},
        {"name": "temperature", "day": day(4), "value": -3.5},
        {"name": "temperature", "day": day(4), "value": 7.0, "item_id": "b"},  # its own row wins
        {"name": "temperature", "day": day(8), "value": 99.0},  # after the log
    ]
    panel = panel_of(tmp_path, DAYS, events=[sale(1, "a"), sale(5, "a"), sale(1, "b")], regressors=rows)
    assert panel.observed["outside_temperature"].tolist() == [[0, 10, 10, -3.5, -3.5], [0, 10, 10, 7, 7]]
    assert "outside_temperature" not in panel.known_ahead


def test_regressors_when_announced_then_known_from_then_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def match(number: int, announced: str | None, value: float = 1.0, item: str | None = None) -> dict[str, Any]:
        at = None if announced is None else utc(announced)
        return {"name": "match", "day": day(number), "value": value, "item_id": item, "announced_at": at}

    rows = [
        match(4, "2024-05-02 10:00"),  # two days ahead, of all items
        match(6, "2024-05-03 10:00", 5.0, "b"),  # three days ahead
        match(7, "2024-05-07 10:00"),  # on the day itself
        match(8, None),
    ]
    panel = panel_of(tmp_path, DAYS, events=[sale(1, "a"), sale(5, "a"), sale(1, "b")], regressors=rows)
    assert panel.known_ahead["outside_match"].tolist() == [[0, 0, 0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 5, 0, 0]]
    assert panel.announced["outside_match"].tolist() == [[0, 0, 0, 2, 0, 0, 0, 0], [0, 0, 0, 2, 0, 3, 0, 0]]
    assert panel.planned == ()
    assert "1 of 4 rows of 'match' lack announced_at" in caplog.text
    # At the end of 2 May the match of 4 May is known, at the end of 1 May it is not.
    assert panel.as_known_at(2).known_ahead["outside_match"][0, 3] == 1
    assert panel.as_known_at(1).known_ahead["outside_match"][0, 3] == 0
    panel.save(tmp_path / "panel")
    again = DemandPanel.load(tmp_path / "panel")
    np.testing.assert_array_equal(again.announced["outside_match"], panel.announced["outside_match"])


@given(st.lists(st.one_of(st.just(NAN), st.floats(-9, 9)), min_size=1, max_size=12))
def test_last_known_when_compared_with_a_loop_then_equal(values: list[float]) -> None:
    expected, last = [], 0.0
    for value in values:
        last = last if np.isnan(value) else value
        expected.append(last)
    assert last_known(np.array([values])).tolist() == [expected]


def test_new_items_when_created_lately_then_kept_without_a_sale(tmp_path: Path) -> None:
    items = [
        {"item_id": "fresh", "created_at": utc("2024-05-18 00:00"), "category": "food", "price": 300},
        {"item_id": "sold", "created_at": utc("2024-05-17 00:00"), "category": "food", "price": 100},
        {"item_id": "old", "created_at": utc("2024-05-10 00:00"), "category": "food"},
        {"item_id": "known", "created_at": utc("2024-05-19 00:00")},  # sold before: the catalogue is wrong
        {"item_id": "gone", "created_at": utc("2024-05-19 00:00"), "active": False},
        {"item_id": "next", "created_at": utc("2024-05-22 00:00")},  # after the log's end
    ]
    events = [sale(number, "a") for number in range(1, 21)] + [sale(18, "sold"), sale(2, "known"), sale(3, "old")]
    settings = PanelSettings(min_purchases=5, new_item_days=5, horizon=3)
    panel = panel_of(tmp_path, settings, events=events, items=items)
    assert panel.item_ids.tolist() == ["a", "fresh", "sold"]
    np.testing.assert_array_equal(panel.units[1, -5:], [NAN, NAN, 0, 0, 0])  # could be had from the 18th on
    assert panel.static["price_band"].tolist() == [
        "",
        "5",
        "3",
    ]  # of five: two prices stand at the top and in the middle
    without = build_panel(
        EventLog.open(tmp_path / "log.parquet"),
        tmp_path / "data",
        shop=ShopSettings(),
        settings=PanelSettings(min_purchases=5, new_item_days=0, horizon=3),
    )
    assert without.item_ids.tolist() == ["a"]


@pytest.mark.parametrize(
    ("table", "rows", "message"),
    [
        (
            "inventory",
            [{"item_id": "a", "day": day(2), "stock": 0}] * 2,
            r"inventory: expected one row for each item_id, day, found 2 of item_id a, day 2024-05-02; import the table",
        ),
        ("items", [{"item_id": "a"}] * 3, r"items: expected one row for each item_id, found 3 of item_id a"),
        (
            "regressors",
            [{"name": "x", "day": day(2), "value": 1.0}] * 2,
            r"regressors: expected one row for each name, day, item_id, announced_at, found 2 of name x, day 2024-05-02",
        ),
        ("regressors", [{"name": "../x", "day": day(2), "value": 1.0}], r"regressors: expected names .* found '../x'"),
    ],
)
def test_tables_when_rows_break_the_contract_then_refused_with_what_to_do(
    tmp_path: Path, table: str, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        panel_of(tmp_path, DAYS, events=[sale(1, "a"), sale(4, "a")], **{table: rows})


def test_tables_when_they_name_unknown_items_then_the_others_are_answered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = {"item_id": "nobody", "day": day(3), "announced_at": utc("2024-05-01 10:00"), "promotion": 1.0}
    stock = {"item_id": "nobody", "day": day(3), "stock": 0}
    regressor = {"item_id": "nobody", "name": "x", "day": day(3), "value": 4.0}
    with caplog.at_level(logging.INFO):
        panel = panel_of(
            tmp_path,
            DAYS,
            events=[sale(1, "a", 2), sale(4, "a")],
            plan=[plan],
            inventory=[stock],
            regressors=[regressor],
        )
    assert panel.item_ids.tolist() == ["a"]
    assert panel.units.tolist() == [[2, 0, 0, 1]]
    for table in ("plan", "inventory", "regressors"):
        assert f"{table}: 1 rows of 1 items that the panel does not hold are left out" in caplog.text
