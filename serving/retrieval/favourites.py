"""What to show when nothing is known to rank by: the segment's favourites, then the shop's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.catalog import ItemCatalog
from features.vocabulary import FIRST
from serving.retrieval.item_index import Ask

Ints = npt.NDArray[np.integer]


@dataclass(frozen=True, kw_only=True, eq=False)
class Favourites:
    """The shop's recent bestsellers, best first.

    Args:
        item: codes ``[F]``.
        score: float32 ``[F]``, non-increasing.
        top_category: first step of each one's category path, str ``[F]``.
    """

    item: Ints
    score: npt.NDArray[np.float32]
    top_category: npt.NDArray[np.object_]

    @classmethod
    def load(cls, path: Path, catalog: ItemCatalog) -> Favourites:
        """Read a part's favourites; items that may not be shown are left out."""
        rows = pd.read_parquet(path).sort_values(["score", "item_code"], ascending=[False, True])
        codes = rows["item_code"].to_numpy(np.int64)
        shown = (codes >= FIRST) & (codes < len(catalog))
        shown[shown] = catalog.available[codes[shown]]
        return cls(
            item=codes[shown],
            score=rows["score"].to_numpy(np.float32)[shown],
            top_category=np.array([name.split("/")[0] for name in catalog.category[codes[shown]]], dtype=object),
        )

    def top(self, ask: Ask, *, category: str = "") -> tuple[Ints, npt.NDArray[np.float32], int]:
        """Return codes and scores of the best favourites that a question allows, and how many are of ``category``.

        Args:
            ask: k, and what is excluded or allowed.
            category: this top-level category comes first and the rest of the shop fills the list, its scores
                capped by those before, so that scores never rise; all in one order where blank.
        """
        keep = ~np.isin(self.item, ask.excluded)
        if ask.allowed is not None:
            keep &= np.isin(self.item, ask.allowed)
        liked = self.top_category == category if category else np.zeros(len(self.item), bool)
        of_category = np.flatnonzero(keep & liked)[: ask.k]
        rows = np.concatenate([of_category, np.flatnonzero(keep & ~liked)])[: ask.k]
        return self.item[rows], np.minimum.accumulate(self.score[rows]), len(of_category)
