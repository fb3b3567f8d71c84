"""A release in memory, every file of which was checked before anything read it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features import columns as c
from features.catalog import ItemCatalog
from features.errors import ReleaseError
from features.identity.map import IdentityMap
from features.privacy.consents import ConsentBook
from features.release import Part, PartKind, Release, ReleaseStore, layout
from features.release.customers_part import newest_consents, newest_links
from features.release.erasure import ErasedUsers
from features.vocabulary import UNKNOWN, Vocabulary
from serving.customers.book import CustomerBook
from serving.customers.rule_book import RuleBook
from serving.demand.book import DemandBook
from serving.history.stored import Histories
from serving.release.sources import current_of
from serving.retrieval.catalog_filter import CatalogFilter
from serving.retrieval.favourites import Favourites
from serving.retrieval.item_index import ItemIndex
from serving.retrieval.user_tower import UserTower
from serving.surfaces.clock import wall_clock_us
from serving.surfaces.tables import SurfaceTables

_log = logging.getLogger(__name__)
# What a state takes over from one over the same retrieval part.
_RETRIEVAL_FIELDS: Final = (
    "model_version",
    "vocabulary",
    "item_ids",
    "item_codes",
    "catalog",
    "filters",
    "knows_event_type",
    "tower",
    "index",
    "favourites",
    "surfaces",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ReleaseState:
    """All that answering needs of one release; optional parts are ``None`` where the release lacks them.

    Args:
        release_id: which release.
        digests: of the manifests of its parts, by kind.
        model_version: version of its retrieval part.
        vocabulary: of the items.
        item_ids: str ``[V]`` by code; blank for PAD and UNKNOWN.
        item_codes: the other way round.
        catalog: attributes by code.
        knows_event_type: whether the tower was trained on an event type, bool by code.
        consents: of the newest customers part of the store, which may be of another release.
        links: whose ids are whose, of the same part.
    """

    release_id: str
    digests: Mapping[PartKind, str]
    model_version: str
    vocabulary: Vocabulary
    item_ids: npt.NDArray[np.object_]
    item_codes: dict[str, int]
    catalog: ItemCatalog
    filters: CatalogFilter
    knows_event_type: npt.NDArray[np.bool_]
    tower: UserTower
    index: ItemIndex
    favourites: Favourites
    histories: Histories | None
    customers: CustomerBook | None
    rules: RuleBook | None
    demand: DemandBook | None
    surfaces: SurfaceTables
    consents: ConsentBook
    links: IdentityMap

    def name(self, code: int) -> str:
        """Return an item's title, its id where it has none."""
        return str(self.catalog.title[code] or self.item_ids[code])

    @classmethod
    def load(cls, store: ReleaseStore, release_id: str = "", *, reuse: Sequence[ReleaseState] = ()) -> ReleaseState:
        """Check a release, file by file, and read it.

        Args:
            store: where releases are.
            release_id: the store's current one where empty.
            reuse: releases that are in memory: parts that one of them names too are not read again, and are held once.

        Raises:
            ReleaseError: there is none, or a file is missing, damaged or does not fit; the message names it.
        """
        release = open_release(store, release_id)
        part = release.part("retrieval")
        if part is None:
            raise ReleaseError(
                f"Release {release.release_id}: expected a retrieval part, found {sorted(release.parts)}; "
                "train one and promote again."
            )
        try:
            state = cls._from_parts(release, part, store, reuse)
        except (KeyError, ValueError, OSError) as error:
            raise ReleaseError(f"Release {release.release_id}: cannot be read ({error!r}); promote another.") from error
        _log.info(
            "loaded release %s: %d items, %d with histories, customers %s, demand %s",
            *(state.release_id, state.index.num_available, len(state.histories.users.ids) if state.histories else 0),
            *("yes" if state.customers else "no", "yes" if state.demand else "no"),
        )
        return state

    @classmethod
    def _from_parts(
        cls, release: Release, part: Part, store: ReleaseStore, reuse: Sequence[ReleaseState]
    ) -> ReleaseState:
        digests = {kind: one.sha256 for kind, one in release.parts.items()}
        held = {
            kind: next((one for one in reuse if one.digests.get(kind) == digest), None)
            for kind, digest in digests.items()
        }
        items = _retrieval(part, held.get("retrieval"))
        links, consents = newest_links(store), _consents(store)
        customers = release.part("customers")
        histories = Histories.load(customers, items["vocabulary"], links=links) if customers else None
        book = _customer_book(customers, links, held.get("customers")) if customers else None
        remembered = None if histories is None else _remembered(histories, store.erasures.load(), consents)
        surfaces = items["surfaces"].counting(remembered, book, available=items["catalog"].available)
        return cls(
            **items | {"surfaces": surfaces},
            release_id=release.release_id,
            digests=digests,
            histories=histories,
            customers=book,
            rules=_rules(customers, book, held.get("customers")) if customers and book else None,
            demand=_demand(release.part("demand"), held.get("demand")),
            consents=consents,
            links=links,
        )


def open_release(store: ReleaseStore, release_id: str = "") -> Release:
    """Check every file of a release against its digest, without reading what the files mean.

    Raises:
        ReleaseError: nothing was promoted yet, or a file is missing or damaged; the message names it.
    """
    return store.open(release_id or current_of(store))


def _retrieval(part: Part, same: ReleaseState | None) -> dict[str, Any]:
    """Return what a retrieval part holds, by field; from a state over the same part where there is one."""
    if same is not None:
        return {name: getattr(same, name) for name in _RETRIEVAL_FIELDS}
    vocabulary = Vocabulary.load(part.path(layout.VOCABULARY))
    catalog = ItemCatalog.load(part.path(layout.CATALOG))
    if len(catalog) != len(vocabulary):
        raise ReleaseError(
            f"{part.path(layout.CATALOG)}: expected {len(vocabulary)} rows, one a code, found {len(catalog)}."
        )
    index = ItemIndex.load(
        vectors=part.path(layout.ITEM_VECTORS), index=part.path(layout.INDEX), available=catalog.available
    )
    return {
        "model_version": part.version,
        "vocabulary": vocabulary,
        "item_ids": np.concatenate([np.array(["", ""], object), vocabulary.ids]),
        "item_codes": {id_: code for code, id_ in enumerate(vocabulary.ids, start=UNKNOWN + 1)},
        "catalog": catalog,
        "filters": CatalogFilter(catalog, index.shows(np.arange(len(catalog)))),
        "knows_event_type": _known_event_types(part.about["event_types"]),
        "tower": UserTower(part.path(layout.USER_TOWER), max_length=int(part.about["max_length"])),
        "index": index,
        "favourites": Favourites.load(part.path(layout.FAVOURITES), catalog),
        "surfaces": SurfaceTables.load(part, catalog),
    }


def _rules(part: Part, book: CustomerBook, same: ReleaseState | None) -> RuleBook | None:
    return RuleBook.load(part, book) if same is None else same.rules


def _demand(part: Part | None, same: ReleaseState | None) -> DemandBook | None:
    if part is None:
        return None
    return DemandBook.load(part) if same is None else same.demand


def _consents(store: ReleaseStore) -> ConsentBook:
    found = newest_consents(store)
    if found is None:
        _log.warning("no customers part holds consents; build the features again, or everyone counts as having granted")
    return ConsentBook.of_default(granted=True) if found is None else found


def _remembered(histories: Histories, erased: ErasedUsers, consents: ConsentBook) -> Histories:
    """Return the histories that may speak for customers alike: of nobody erased, or without consent."""
    ids = histories.users.ids
    kept = consents.holding(ids, c.PERSONALISATION, wall_clock_us())
    kept &= np.array([user not in erased for user in ids], dtype=bool)
    if kept.all():
        return histories
    rows = np.flatnonzero(kept)
    return replace(histories, users=Vocabulary.from_ids(ids[rows]), sequences=histories.sequences.take(rows))


def _customer_book(part: Part, links: IdentityMap, same: ReleaseState | None) -> CustomerBook:
    if same is not None and same.customers is not None:
        return replace(same.customers, links=links)
    as_of = part.about.get("as_of")
    return CustomerBook.load(
        part.path(layout.CUSTOMERS),
        as_of=None if as_of is None else str(as_of),
        currency=part.about.get("currency"),
        minor_units=int(part.about.get("minor_units", 1)),
        links=links,
    )


def _known_event_types(names: Iterable[str]) -> npt.NDArray[np.bool_]:
    known = np.zeros(len(c.EVENT_TYPE_CODES) + 1, bool)
    known[0] = True  # a log without event types leaves them 0
    known[[c.EVENT_TYPE_CODES[name] for name in names]] = True
    return known
