"""What is known of each item, by item code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import columns as c
from features.errors import DataError
from features.vocabulary import FIRST, Vocabulary

Ints = npt.NDArray[np.integer]


@dataclass(frozen=True, kw_only=True, eq=False)
class ItemCatalog:
    """Attributes of ``V`` item codes; rows 0 (PAD) and 1 (UNKNOWN) are blank.

    Args:
        title: str ``[V]``, ``""`` where unknown.
        category: category path ``a/b/c``, str ``[V]``, ``""`` where unknown.
        brand: str ``[V]``, ``""`` where unknown.
        labels: whatever else describes an item, such as material or season, separated by ``|``; str ``[V]``.
        price: minor units, int64 ``[V]``, -1 where unknown.
        price_band: int8 ``[V]``, 1 (cheapest) upwards within the top-level category, 0 where unknown.
        available: bool ``[V]``; may be shown.
        created_at_us: UTC microseconds, int64 ``[V]``, 0 where unknown.
    """

    title: npt.NDArray[np.object_]
    category: npt.NDArray[np.object_]
    brand: npt.NDArray[np.object_]
    labels: npt.NDArray[np.object_]
    price: Ints
    price_band: Ints
    available: npt.NDArray[np.bool_]
    created_at_us: Ints

    def __len__(self) -> int:
        return len(self.price)

    @classmethod
    def from_items(cls, items: pd.DataFrame, vocabulary: Vocabulary, *, num_price_bands: int = 5) -> ItemCatalog:
        """Line up a contract ``items`` table with the vocabulary; items without a row are blank but available.

        Args:
            items: contract columns, one row an item.
            vocabulary: gives each item its code.
            num_price_bands: bands of equal item counts within each top-level category.

        Raises:
            DataError: an item has two rows.
        """
        if items[c.ITEM_ID].duplicated().any():
            repeated = items.loc[items[c.ITEM_ID].duplicated(), c.ITEM_ID].iloc[0]
            raise DataError(f"items: expected one row an item, found {repeated!r} twice.")
        rows = items.set_index(c.ITEM_ID).reindex(vocabulary.ids)
        category = _text(rows, c.CATEGORY)
        price = np.asarray(_column(rows, c.PRICE).astype("Float64").fillna(-1), dtype=np.int64)
        active = _column(rows, c.ACTIVE).astype("boolean").fillna(True).to_numpy(bool)
        created = pd.to_datetime(_column(rows, c.CREATED_AT), utc=True).astype("datetime64[us, UTC]")
        created_us = created.fillna(pd.Timestamp(0, tz="UTC")).astype("int64").to_numpy()
        blank_text, blank = np.array(["", ""], object), np.zeros(FIRST)
        return cls(
            title=np.concatenate([blank_text, _text(rows, c.TITLE)]),
            category=np.concatenate([blank_text, category]),
            brand=np.concatenate([blank_text, _text(rows, c.BRAND)]),
            labels=np.concatenate([blank_text, _text(rows, c.LABELS)]),
            price=np.concatenate([blank - 1, price]).astype(np.int64),
            price_band=np.concatenate([blank, price_bands(price, category, num_price_bands)]).astype(np.int8),
            available=np.concatenate([blank > 0, active]),
            created_at_us=np.concatenate([blank, created_us]).astype(np.int64),
        )

    @classmethod
    def blank(cls, num_codes: int) -> ItemCatalog:
        """A catalogue that knows nothing of its items, for logs that come without an items table."""
        ids = [str(code) for code in range(FIRST, num_codes)]
        return cls.from_items(pd.DataFrame({c.ITEM_ID: pd.Series(ids, dtype=object)}), Vocabulary.from_ids(ids))

    def save(self, path: Path) -> None:
        """Write one row a code to a Parquet file."""
        self.to_frame().to_parquet(path, index=False)

    @classmethod
    def load(cls, path: Path) -> ItemCatalog:
        """Read what ``save`` wrote."""
        frame = pd.read_parquet(path)
        if c.LABELS not in frame:  # written before labels were read
            frame[c.LABELS] = ""
        text = {name: frame[name].astype(object).to_numpy() for name in ("title", "category", "brand", "labels")}
        numbers = {name: frame[name].to_numpy() for name in ("price", "price_band", "available", "created_at_us")}
        return cls(**text, **numbers)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a code, in code order."""
        return pd.DataFrame(
            {
                "title": self.title,
                "category": self.category,
                "brand": self.brand,
                "labels": self.labels,
                "price": self.price,
                "price_band": self.price_band,
                "available": self.available,
                "created_at_us": self.created_at_us,
            }
        )


def price_bands(price: Ints, category: npt.NDArray[np.object_], num_bands: int) -> npt.NDArray[np.int8]:
    """Return each item's price band among the known prices of its top-level category.

    >>> price_bands(np.array([10, 20, 30, 40, -1]), np.array(["a/x", "a/y", "a", "a", "a"], object), 2).tolist()
    [1, 1, 2, 2, 0]
    """
    of_item, paths = pd.factorize(category)  # few paths, many items
    top = pd.factorize(np.array([path.split("/")[0] for path in paths], object))[0]
    known = pd.Series(price).where(pd.Series(price) >= 0)
    share = known.groupby(top[of_item]).rank(pct=True, method="average")
    return np.ceil(share * num_bands).fillna(0).clip(0, num_bands).to_numpy(np.int8)


def _column(rows: pd.DataFrame, name: str) -> pd.Series:
    return rows[name] if name in rows else pd.Series(None, index=rows.index, dtype=object)


def _text(rows: pd.DataFrame, name: str) -> npt.NDArray[np.object_]:
    of_row, texts = pd.factorize(_column(rows, name))  # one text in memory, however many rows have it
    return np.array([*texts, ""], dtype=object)[of_row]  # -1, where unknown, is the last
