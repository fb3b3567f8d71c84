from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.catalog import ItemCatalog, price_bands
from features.errors import DataError
from features.vocabulary import Vocabulary
from tests.features.tiny_shop import utc


def items() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "item_id": ["x", "y", "z"],
            "title": ["Tea", None, "Pot"],
            "category": ["drink/tea", "drink", None],
            "price": [300, 100, None],
            "active": [True, False, None],
            "created_at": [utc("2024-05-01 00:00"), None, None],
        }
    )


def test_from_items_when_rows_and_codes_differ_then_lined_up_by_code() -> None:
    catalog = ItemCatalog.from_items(items(), Vocabulary.from_ids(["z", "absent", "x", "y"]), num_price_bands=2)
    assert catalog.title.tolist() == ["", "", "Pot", "", "Tea", ""]
    assert catalog.price.tolist() == [-1, -1, -1, -1, 300, 100]
    assert catalog.price_band.tolist() == [0, 0, 0, 0, 2, 1]
    assert catalog.available.tolist() == [False, False, True, True, True, False]
    assert catalog.created_at_us.tolist() == [0, 0, 0, 0, 1_714_521_600_000_000, 0]


def test_from_items_when_an_item_has_two_rows_then_refused() -> None:
    twice = pd.concat([items(), items().head(1)])
    with pytest.raises(DataError, match="expected one row an item, found 'x' twice"):
        ItemCatalog.from_items(twice, Vocabulary.from_ids(["x"]))


def test_load_when_saved_then_equal(tmp_path: Path) -> None:
    catalog = ItemCatalog.from_items(items(), Vocabulary.from_ids(["x", "y", "z"]))
    catalog.save(tmp_path / "c.parquet")
    assert ItemCatalog.load(tmp_path / "c.parquet").to_frame().equals(catalog.to_frame())


@given(
    prices=st.lists(st.integers(-1, 50), min_size=1, max_size=20),
    num_bands=st.integers(1, 6),
    data=st.data(),
)
def test_price_bands_when_a_price_is_higher_then_the_band_is_no_lower(
    prices: list[int], num_bands: int, data: st.DataObject
) -> None:
    tops = data.draw(st.lists(st.sampled_from(["a", "a/b", "c"]), min_size=len(prices), max_size=len(prices)))
    bands = price_bands(np.array(prices), np.array(tops, object), num_bands)
    assert [band == 0 for band in bands] == [price < 0 for price in prices]
    assert bands.max(initial=0) <= num_bands
    rows = [(top[0], price, band) for top, price, band in zip(tops, prices, bands, strict=True) if price >= 0]
    assert all(b <= d for (t, p, b) in rows for (u, q, d) in rows if t == u and p <= q)
