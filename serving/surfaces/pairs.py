"""The table of what is bought together, by item code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.vocabulary import FIRST

Ints = npt.NDArray[np.integer]

_MAX_CATEGORIES: Final = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class BoughtTogether:
    """Neighbours by item code: those of item ``i`` stand at ``offsets[i]:offsets[i + 1]``, best first.

    Args:
        offsets: int64 ``[V + 1]``.
        neighbour: codes that may be shown, int64 ``[N]``.
        score: float32 ``[N]``, non-increasing within an item.
        support: baskets that hold both, int64 ``[N]``; 0 where the item's category speaks for the pair.
        goes_with: for each category path, the paths of what is bought with its items, the commonest first.
    """

    offsets: Ints
    neighbour: Ints
    score: npt.NDArray[np.float32]
    support: Ints
    goes_with: dict[str, list[str]]

    @classmethod
    def load(cls, path: Path, *, category: npt.NDArray[np.object_], available: npt.NDArray[np.bool_]) -> BoughtTogether:
        """Read a part's table; neighbours that may not be shown are left out.

        Args:
            path: the file.
            category: paths by code, str ``[V]``.
            available: what may be shown, bool ``[V]``.
        """
        rows = pd.read_parquet(path)
        code, neighbour = rows["item_code"].to_numpy(np.int64), rows["neighbour_code"].to_numpy(np.int64)
        known = (code >= FIRST) & (code < len(available)) & (neighbour >= FIRST) & (neighbour < len(available))
        rows, code, neighbour = rows[known], code[known], neighbour[known]
        shown = available[neighbour]
        order = np.argsort(code[shown], kind="stable")  # best first within an item, as written
        counts = np.bincount(code[shown], minlength=len(available))
        return cls(
            offsets=np.concatenate([[0], np.cumsum(counts)]),
            neighbour=neighbour[shown][order],
            score=rows["score"].to_numpy(np.float32)[shown][order],
            support=rows["support"].to_numpy(np.int64)[shown][order],
            goes_with=_goes_with(category, code, neighbour, rows["support"].to_numpy(np.float64)),
        )

    def of_item(self, code: int) -> slice:
        """Return where an item's neighbours stand."""
        return slice(int(self.offsets[code]), int(self.offsets[code + 1]))


def _goes_with(
    category: npt.NDArray[np.object_], own: Ints, others: Ints, support: npt.NDArray[np.float64]
) -> dict[str, list[str]]:
    """Return, for each category, the other categories that most baskets pair it with.

    Args:
        category: paths by code, str ``[V]``.
        own: item codes ``[N]``.
        others: of their neighbours ``[N]``.
        support: baskets that hold both ``[N]``.
    """
    # Numbers: 300,000 pairs of text take long to compare.
    of_code, paths = pd.factorize(category.astype(str), sort=True)
    pairs = pd.DataFrame({"own": of_code[own], "others": of_code[others], "support": support})
    named = paths != ""
    kept = (pairs["support"] > 0) & (pairs["own"] != pairs["others"])
    kept &= named[pairs["own"]] & named[pairs["others"]]
    totals = pairs[kept].groupby(["own", "others"], sort=True)["support"].sum().reset_index()
    ordered = totals.sort_values(["own", "support", "others"], ascending=[True, False, True])
    best = ordered.groupby("own", sort=True)["others"].agg(lambda codes: list(codes[:_MAX_CATEGORIES]))
    return {str(paths[name]): [str(paths[code]) for code in codes] for name, codes in best.items()}
