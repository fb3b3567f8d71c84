"""Which items of a release a rule means, as arrays by item code."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from features.catalog import ItemCatalog
from features.surfaces import DAY_US
from features.vocabulary import FIRST
from serving.kept import kept
from serving.merchandising.rules import CapOf, ItemMatch
from serving.retrieval.catalog_filter import factorised

Ints = npt.NDArray[np.integer]
Flags = npt.NDArray[np.bool_]

REGION_LABEL: Final = "region:"


class Shelf:
    """A catalogue, asked by category, brand, label, price and age.

    Args:
        catalog: attributes by code.
        item_codes: codes by id.
    """

    def __init__(self, catalog: ItemCatalog, item_codes: dict[str, int]) -> None:
        self._catalog = catalog
        self._codes = item_codes
        self.groups = kept(self._groups, maxsize=32)
        self.sold_in = kept(self._sold_in, maxsize=256)

    def __len__(self) -> int:
        return len(self._catalog)

    def code_of(self, item_id: str) -> int:
        """Return an item's code, 0 where it is not known."""
        return self._codes.get(item_id, 0)

    def matching(self, match: ItemMatch, *, minor_units: int, now_us: int) -> Flags:
        """Return which items are meant, bool ``[V]``; PAD and UNKNOWN never are."""
        catalog = self._catalog
        found = np.arange(len(catalog)) >= FIRST
        if match.items:
            found &= self._marked(self.code_of(one) for one in match.items)
        if match.category:
            found &= self._under(match.category)
        if match.brand:
            found &= np.isin(self._brand[0], [self._brand[1].get(one, -1) for one in match.brand])
        if match.label:
            found &= np.logical_or.reduce([self._labelled(one) for one in match.label])
        if match.min_price is not None:
            found &= catalog.price >= match.min_price * minor_units
        if match.max_price is not None:
            found &= (catalog.price >= 0) & (catalog.price <= match.max_price * minor_units)
        if match.max_age_days is not None:
            created = catalog.created_at_us
            found &= (created > 0) & (now_us - created <= match.max_age_days * DAY_US)
        return found

    def unknown(self, match: ItemMatch) -> list[tuple[str, str, Iterable[str]]]:
        """Return what a rule names and this catalogue does not know: field, word, and the known words."""
        labels = {one for labels in self._labels for one in labels}
        known: dict[str, Iterable[str]] = {"items": self._codes, "brand": self._brand[1], "label": labels}
        found = [
            (name, word, words) for name, words in known.items() for word in getattr(match, name) if word not in words
        ]
        paths = self._category[1]
        return found + [("category", path, paths) for path in match.category if not self._under((path,)).any()]

    def _sold_in(self, region: str) -> Flags:
        """Return what is sold in a region: items without a label ``region:...``, and those with its own."""
        free = {row for row, labels in enumerate(self._labels) if not any(x.startswith(REGION_LABEL) for x in labels)}
        own = {row for row, labels in enumerate(self._labels) if f"{REGION_LABEL}{region}" in labels}
        return np.isin(self._label, sorted(free | own))

    def _groups(self, of: CapOf, level: int) -> Ints:
        """Return a number for each item's brand, or category path cut to ``level`` steps (0: all), ``[V]``; -1 for none."""
        rows, names = self._brand if of == "brand" else self._category
        cut = ["/".join(name.split("/")[:level]) if level and of == "category" else name for name in names]
        numbers = {name: number for number, name in enumerate(sorted(set(cut) - {""}))}
        return np.array([numbers.get(name, -1) for name in cut], np.int64)[rows]

    def _under(self, paths: Iterable[str]) -> Flags:
        rows, names = self._category
        wanted = [row for name, row in names.items() if any(name == p or name.startswith(f"{p}/") for p in paths if p)]
        return np.isin(rows, wanted)

    def _labelled(self, label: str) -> Flags:
        return np.isin(self._label, [row for row, labels in enumerate(self._labels) if label in labels])

    def _marked(self, codes: Iterable[int]) -> Flags:
        marked = np.zeros(len(self), bool)
        marked[list(codes)] = True
        return marked

    @cached_property
    def _category(self) -> tuple[Ints, dict[str, int]]:
        return factorised(self._catalog.category)

    @cached_property
    def _brand(self) -> tuple[Ints, dict[str, int]]:
        return factorised(self._catalog.brand)

    @cached_property
    def _label(self) -> Ints:
        return factorised(self._catalog.labels)[0]

    @cached_property
    def _labels(self) -> list[frozenset[str]]:
        """Labels of each distinct text."""
        return [frozenset(filter(None, text.split("|"))) for text in factorised(self._catalog.labels)[1]]
