from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from features.errors import DataError
from features.panel.from_table import panel_from_table

NAN = float("nan")


def table(*rows: tuple[object, object, object], **more: list[object]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["item_id", "day", "units"]).assign(**more)


def test_table_when_rows_are_missing_then_nan_and_days_without_units_are_the_horizon() -> None:
    found = table(
        ("b", "2024-05-02", 4),
        ("a", "2024-05-01", 3),
        ("a", "2024-05-03", 0),
        ("a", "2024-05-04", None),
        ("a", "2024-05-05", None),
        promotion=[1, 0, 1, 1, None],
        views=[7, 5, None, 99, None],
        brand=["y", "x", "x", "x", "x"],
    )
    before = found.copy()
    panel = panel_from_table(found, known_ahead=["promotion"], observed=["views"], static=["brand"])
    pd.testing.assert_frame_equal(found, before)
    assert panel.item_ids.tolist() == ["a", "b"]
    assert (panel.start, panel.num_periods, panel.horizon) == (pd.Timestamp("2024-05-01"), 3, 2)
    np.testing.assert_array_equal(panel.units, [[3, NAN, 0], [NAN, 4, NAN]])
    assert panel.known_ahead["promotion"].tolist() == [[0, 0, 1, 1, 0], [0, 1, 0, 0, 0]]
    assert panel.observed["views"].tolist() == [[5, 5, 5], [0, 7, 7]]
    assert panel.static["brand"].tolist() == ["x", "y"]


def test_table_when_periods_are_weeks_then_one_column_a_week() -> None:
    found = table(("a", "2024-05-01", 1), ("a", "2024-05-15", 3))
    panel = panel_from_table(found, frequency="W")
    np.testing.assert_array_equal(panel.units, [[1, NAN, 3]])


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (
            [("a", "2024-05-01", 1), ("b", "2024-05-01", 1), ("a", "2024-05-01", 2)],
            {},
            r"expected one row for each item_id, day, found 1 more, such as a on 2024-05-01; add up the rows",
        ),
        (
            [("a", "2024-05-01", 1), ("a", "2024-05-02", -2)],
            {},
            r"found negative ones, such as -2 of 'a' on 2024-05-02; record refunds as refunds",
        ),
        ([("a", "2024-05-01", "many")], {}, r"expected numbers in 'units', found 'many'"),
        ([("a", "soon", 1)], {}, r"expected a day such as 2024-01-31 in each row, found 'soon'"),
        ([("a", "2024-05-01", None)], {}, r"expected units in column 'units', found none"),
        ([("a", "2024-05-01", 1)], {"units": "unit"}, r"expected a column 'unit', found item_id, day, units\. Did you"),
        (
            [("a", "2024-05-01", 1), ("a", "2024-05-09", 1)],
            {"frequency": "W"},
            r"expected days whole weeks after 2024-05-01 for frequency W, found 2024-05-09",
        ),
    ],
)
def test_table_when_it_is_wrong_then_says_what_and_what_to_do(
    rows: list[tuple[object, object, object]], options: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        panel_from_table(table(*rows), **options)  # type: ignore[arg-type]
