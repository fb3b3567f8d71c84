from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import DataError
from features.panel.demand_panel import DemandPanel


def panel(**changes: object) -> DemandPanel:
    """Two items, four days, two ahead."""
    values: dict[str, object] = {
        "item_ids": np.array(["a", "b"], object),
        "start": pd.Timestamp("2024-05-01"),
        "frequency": "D",
        "units": np.array([[1, 0, 2, 3], [np.nan, 4, 0, 1]], np.float32),
        "known_ahead": {"holiday": np.ones((2, 6), np.float32), "promotion": np.ones((2, 6), np.float32)},
        "observed": {"num_views": np.arange(8, dtype=np.float32).reshape(2, 4)},
    }
    return DemandPanel(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("origin", [1, 2, 3, 4])
def test_as_known_at_when_origin_passes_then_later_units_are_gone_and_the_plan_stays(origin: int) -> None:
    earlier = panel().as_known_at(origin)
    assert earlier.units.shape == (2, origin)
    assert earlier.observed["num_views"].shape == (2, origin)
    assert earlier.horizon == 6 - origin
    assert earlier.periods[-1] == pd.Timestamp("2024-05-01") + pd.Timedelta(days=origin - 1)


@given(ahead=st.lists(st.integers(0, 6), min_size=12, max_size=12), origin=st.integers(1, 4))
def test_as_known_at_when_cells_were_announced_later_then_they_are_zero(ahead: list[int], origin: int) -> None:
    days_ahead = np.array(ahead, np.int16).reshape(2, 6)
    seen = panel(planned=("promotion",), announced_ahead=days_ahead).as_known_at(origin).known_ahead
    for item in range(2):
        for day in range(6):
            announced_on = day - days_ahead[item, day]
            known = day < origin or (days_ahead[item, day] > 0 and announced_on < origin)
            assert seen["promotion"][item, day] == known
    assert (seen["holiday"] == 1).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"units": np.zeros((3, 4), np.float32)}, r"expected units \[2, T\], found shape \(3, 4\)"),
        (
            {"units": np.array([[1, 0, 2, 3], [np.nan, 4, -2, 1]], np.float32)},
            "expected units of 0 or more, found negative ones, such as -2 of 'b' on 2024-05-03; record refunds",
        ),
        ({"item_ids": np.array(["a", "a"], object)}, "expected each item once, found 'a' 2 times"),
        ({"announced": {"x": np.zeros((2, 6), np.int16)}}, "expected the planned 'x' in known_ahead"),
        ({"announced": {"holiday": np.zeros((2, 4), np.int16)}}, r"expected holiday of \[2, 6\], found \(2, 4\)"),
        ({"known_ahead": {"x": np.zeros((1, 6), np.float32)}}, r"expected x of \[2, 6\]"),
        ({"observed": {"x": np.zeros((2, 6), np.float32)}}, r"expected x of \[2, 4\], found \(2, 6\)"),
        ({"planned": ("price",)}, "expected the planned 'price' in known_ahead"),
        ({"announced_ahead": np.zeros((2, 4), np.int16)}, r"expected announced_ahead of \[2, 6\]"),
    ],
)
def test_panel_when_shapes_do_not_fit_then_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        panel(**changes)


@pytest.mark.parametrize("origin", [0, 5, -1])
def test_as_known_at_when_origin_is_outside_then_refused(origin: int) -> None:
    with pytest.raises(DataError, match=r"expected an origin in 1 \.\. 4"):
        panel().as_known_at(origin)


def test_as_known_at_when_columns_are_announced_on_their_own_then_each_by_its_own_days() -> None:
    ahead = np.full((2, 6), 2, np.int16)
    seen = panel(announced={"promotion": ahead}).as_known_at(2).known_ahead
    # From origin 2, days 2 and 3 were announced two days before them, so by origin 0 and 1; day 4 only by origin 2.
    assert seen["promotion"][0].tolist() == [1, 1, 1, 1, 0, 0]
    assert seen["holiday"].all()


def test_opening_stock_when_saved_and_cut_then_it_stays_with_its_days(tmp_path: Path) -> None:
    stock = np.array([[3.0, np.nan, 0.0]], np.float32)
    panel = DemandPanel(
        item_ids=np.array(["a"], object),
        start=pd.Timestamp("2024-01-01"),
        frequency="D",
        units=np.ones((1, 3), np.float32),
        opening_stock=stock,
    )
    panel.save(tmp_path / "panel")
    found = DemandPanel.load(tmp_path / "panel")
    assert found.opening_stock is not None
    np.testing.assert_array_equal(found.opening_stock, stock)
    cut = found.as_known_at(1).opening_stock
    assert cut is not None
    assert cut.tolist() == [[3.0]]
    with pytest.raises(DataError, match="expected opening_stock of"):
        dataclasses.replace(panel, opening_stock=stock[:, :1])
