"""Which items a request's filters leave."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from features.catalog import ItemCatalog
from features.errors import did_you_mean
from features.vocabulary import FIRST
from serving.api.errors import RequestError
from serving.api.schemas import Filters
from serving.kept import kept

Ints = npt.NDArray[np.integer]
_NOTHING: Final = (None, None, None, None)


class CatalogFilter:
    """Answers filters over one catalogue; recent answers are kept.

    Args:
        catalog: attributes by item code.
        shown: what may be shown at all, bool ``[V]``; how much a filter leaves is judged by what it leaves of these.
    """

    def __init__(self, catalog: ItemCatalog, shown: npt.NDArray[np.bool_]) -> None:
        self._shown = shown
        self._price = catalog.price
        self._category, self._categories = factorised(catalog.category)
        self._brand, self._brands = factorised(catalog.brand)
        self._answers = kept(self._select, maxsize=128)

    def codes(self, filters: Filters) -> Ints | None:
        """Return the codes of items that may be shown and that a filter leaves, rising; ``None`` where it asks of no attribute.

        Raises:
            RequestError: the catalogue knows no such category or brand.
        """
        asked = (filters.category, filters.brand, filters.min_price, filters.max_price)
        return None if asked == _NOTHING else self._answers(*asked)

    def _select(self, category: str | None, brand: str | None, lowest: int | None, highest: int | None) -> Ints:
        keep = self._shown.copy()
        keep[:FIRST] = False
        if category is not None:
            keep &= np.isin(self._category, self._under(category))
        if brand is not None:
            keep &= self._brand == self._known_brand(brand)
        if lowest is not None or highest is not None:
            highest = np.iinfo(np.int64).max if highest is None else highest
            keep &= (self._price >= (lowest or 0)) & (self._price <= highest)
        return np.flatnonzero(keep)

    def _under(self, category: str) -> list[int]:
        """Return the rows of ``category`` itself and of all below it."""
        wanted = category.strip("/")
        rows = [row for name, row in self._categories.items() if name == wanted or name.startswith(f"{wanted}/")]
        if not rows or not wanted:
            raise _unknown("category", category, self._categories)
        return rows

    def _known_brand(self, brand: str) -> int:
        if brand not in self._brands or not brand:
            raise _unknown("brand", brand, self._brands)
        return self._brands[brand]


def factorised(text: npt.NDArray[np.object_]) -> tuple[Ints, dict[str, int]]:
    """Return for each text the row of its name, and the rows by name."""
    names, rows = np.unique(text.astype(str), return_inverse=True)
    return rows, {str(name): row for row, name in enumerate(names)}


def _unknown(what: str, found: str, known: dict[str, int]) -> RequestError:
    hint = did_you_mean(found, [name for name in known if name])
    return RequestError(422, f"unknown_{what}", f"filters.{what}: the catalogue knows no {what} {found!r}.{hint}")
