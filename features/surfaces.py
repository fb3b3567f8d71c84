"""Which items each surface may answer with: the one rule that evaluation and serving both call.

    similar        every available item but the one that is asked about
    upgrade        one price band up, in the item's own category; one level up where it has none there
    new_arrivals   created in the last days

The first two functions state the rule over a whole catalogue. ``SurfaceItems`` is the same rule prepared once, for
an answer in microseconds. What is best among the allowed items is a search over item vectors.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.catalog import ItemCatalog
from features.vocabulary import FIRST

DAY_US: Final = 86_400_000_000
NEW_ARRIVAL_DAYS: Final = 28

Ints = npt.NDArray[np.integer]


def upgrade_items(catalog: ItemCatalog, code: int) -> Ints:
    """Return the available items one price band above an item's, in its category; codes rising, int64.

    A category holds what lies under it: ``a/b`` holds items of ``a/b`` and of ``a/b/c``. Where the item's own has
    none, the category one level up answers; no further, since what is far off is no better version of the item.
    Empty for an item of unknown category or price band. Bands divide a top-level category by price, so that every
    item of the next band costs more.

    Args:
        catalog: attributes by code.
        code: the item that is asked about.
    """
    category, band = str(catalog.category[code]), int(catalog.price_band[code])
    if not category or band == 0:
        return np.zeros(0, np.int64)
    step_up = catalog.available & (catalog.price_band == band + 1)
    for shelf in (category, parent(category)):
        under = np.array([path == shelf or path.startswith(f"{shelf}/") for path in catalog.category], bool)
        found = np.flatnonzero(under & step_up) if shelf else np.zeros(0, np.int64)
        if len(found):
            return found
    return np.zeros(0, np.int64)


def new_arrivals(catalog: ItemCatalog, as_of_us: int, days: int = NEW_ARRIVAL_DAYS) -> Ints:
    """Return the available items created in the ``days`` up to ``as_of_us``; codes rising, int64.

    Args:
        catalog: attributes by code; an item of unknown age is not new.
        as_of_us: UTC microseconds; what is created later is not there yet.
        days: how long an item counts as new.
    """
    created = catalog.created_at_us
    recent = (created > 0) & (created >= as_of_us - days * DAY_US) & (created <= as_of_us)
    return np.flatnonzero(recent & catalog.available)


def parent(category: str) -> str:
    """Return the category one level up, ``""`` above a top-level one.

    >>> parent("a/b/c")
    'a/b'
    """
    return category.rpartition("/")[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class SurfaceItems:
    """The rules above over one catalogue, prepared.

    Args:
        shelf: of each code's category, int64 ``[V]``, -1 where unknown; see ``parents``.
        parents: of each shelf, the shelf one level up, int64, -1 above a top-level one.
        band: of each code, int64 ``[V]``.
        num_bands: highest band + 1.
        starts: where each (shelf, band) begins in ``members``, int64 ``[shelves * num_bands + 1]``.
        members: available codes by shelf and band, rising within one.
        newest: available codes of known age, by instant of creation.
        created_us: their instants, non-decreasing.
    """

    shelf: Ints
    parents: Ints
    band: Ints
    num_bands: int
    starts: Ints
    members: Ints
    newest: Ints
    created_us: Ints

    @classmethod
    def of(cls, catalog: ItemCatalog) -> SurfaceItems:
        """Prepare a catalogue."""
        shelves = _with_ancestors(set(catalog.category))
        row_of = {path: row for row, path in enumerate(shelves)}
        shelf = np.array([row_of.get(path, -1) for path in catalog.category], np.int64)
        parents = np.array([row_of.get(parent(path), -1) for path in shelves], np.int64)
        band = catalog.price_band.astype(np.int64)
        num_bands = int(band.max(initial=0)) + 1
        sellable = np.flatnonzero(catalog.available & (shelf >= 0) & (band > 0))
        cell, code = _cells(sellable, shelf[sellable], parents, band, num_bands)
        counts = np.bincount(cell, minlength=len(shelves) * num_bands)
        dated = np.flatnonzero(catalog.available & (catalog.created_at_us > 0))
        newest = dated[np.argsort(catalog.created_at_us[dated], kind="stable")]
        return cls(
            shelf=shelf,
            parents=parents,
            band=band,
            num_bands=num_bands,
            starts=np.concatenate([[0], np.cumsum(counts)]),
            members=code[np.lexsort((code, cell))],
            newest=newest,
            created_us=catalog.created_at_us[newest],
        )

    def similar(self, code: int, *, available: npt.NDArray[np.bool_]) -> Ints:
        """Return every available item but ``code``, rising; ``available`` is the catalogue's, or a filter's."""
        found = np.flatnonzero(available)
        return found[(found != code) & (found >= FIRST)]

    def upgrade(self, code: int) -> Ints:
        """Return what ``upgrade_items`` returns."""
        shelf, band = int(self.shelf[code]), int(self.band[code])
        if band == 0:
            return self.members[:0]
        for place in (shelf, int(self.parents[shelf]) if shelf >= 0 else -1):
            found = self._members(place, band + 1)
            if len(found):
                return found
        return self.members[:0]

    def new_arrivals(self, as_of_us: int, days: int = NEW_ARRIVAL_DAYS) -> Ints:
        """Return what ``new_arrivals`` returns."""
        first = np.searchsorted(self.created_us, as_of_us - days * DAY_US, side="left")
        last = np.searchsorted(self.created_us, as_of_us, side="right")
        return np.sort(self.newest[first:last])

    def _members(self, shelf: int, band: int) -> Ints:
        if shelf < 0 or band >= self.num_bands:
            return self.members[:0]
        cell = shelf * self.num_bands + band
        return self.members[self.starts[cell] : self.starts[cell + 1]]


def _with_ancestors(paths: Iterable[str]) -> list[str]:
    """Return the paths and all categories above them, each once, in order of text.

    >>> _with_ancestors(["a/b/c", "d", ""])
    ['a', 'a/b', 'a/b/c', 'd']
    """
    found: set[str] = set()
    for path in paths:
        steps = path.split("/")
        found.update("/".join(steps[:depth]) for depth in range(1, len(steps) + 1))
    return sorted(found - {""})


def _cells(codes: Ints, shelf: Ints, parents: Ints, band: Ints, num_bands: int) -> tuple[Ints, Ints]:
    """Return (cell, code) of every item on its own shelf and on all shelves above."""
    cells: list[Ints] = [np.zeros(0, np.int64)]
    members: list[Ints] = [np.zeros(0, np.int64)]
    while len(codes):
        cells.append(shelf * num_bands + band[codes])
        members.append(codes)
        above = parents[shelf]
        codes, shelf = codes[above >= 0], above[above >= 0]
    return np.concatenate(cells), np.concatenate(members)
