"""A shop and a release to measure serving on: the frozen synthetic shop, a two-layer tower learned from it, its index.

Written with the project's own code: the generator, ``learn``, ``write_files`` and the part writer. A catalogue of this
size needs no more than a short training for its vectors to lie as learned ones do: near others of their kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from features import columns as c
from features.catalog import ItemCatalog
from features.columns import EVENT_TYPE_CODES, ITEM_EVENT_TYPES
from features.release import PartKind, ReleaseStore, layout, write_part
from features.repeats.blend import ForYouBlend
from features.repeats.repurchase import RepurchaseModel
from features.sequences import Sequences
from features.sources.synthetic.frames import events_table, items_table
from features.sources.synthetic.settings import SHOP, Size
from features.sources.synthetic.simulation import Simulation
from features.sources.synthetic.world import draw_world
from features.vocabulary import FIRST, Vocabulary
from training.retrieval.config import RetrievalConfig, TowerConfig
from training.retrieval.ensemble import Towers
from training.retrieval.export import favourites, write_files
from training.retrieval.indexing import user_queries
from training.retrieval.learn import Lesson, learn

MAX_LENGTH: Final = 50
DIM: Final = 64
_NUM_PRICE_BANDS: Final = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class SmallShop:
    """What a two-tower learns from.

    Args:
        vocabulary: item ids.
        catalog: by item code.
        users: customer ids.
        sequences: of item events of the shop's event types, by customer.
    """

    vocabulary: Vocabulary
    catalog: ItemCatalog
    users: Vocabulary
    sequences: Sequences

    @classmethod
    def draw(cls, *, num_items: int, num_users: int, num_days: int, seed: int = 0) -> SmallShop:
        """Simulate the frozen synthetic shop; its stock and plan, which no tower reads, are left out."""
        world = draw_world(Size(num_users=num_users, num_items=num_items, num_days=num_days, seed=seed))
        events = events_table(world, Simulation(world).run().events).to_pandas()
        items = items_table(world)
        vocabulary = Vocabulary.from_ids(items[c.ITEM_ID].to_numpy(object))
        catalog = ItemCatalog.from_items(items, vocabulary, num_price_bands=_NUM_PRICE_BANDS)
        wanted = [name for name in SHOP.event_types if name in ITEM_EVENT_TYPES]
        kept = events[events[c.EVENT_TYPE].isin(wanted) & events[c.ITEM_ID].notna()]
        users = Vocabulary.from_ids(kept[c.USER_ID].unique())
        return cls(
            vocabulary=vocabulary, catalog=catalog, users=users, sequences=_sequences(kept, vocabulary, users, catalog)
        )


def _sequences(events: pd.DataFrame, vocabulary: Vocabulary, users: Vocabulary, catalog: ItemCatalog) -> Sequences:
    user = users.encode(events[c.USER_ID].to_numpy(object)) - FIRST
    ts = events[c.TS].astype("datetime64[us, UTC]").astype("int64").to_numpy()
    order = np.lexsort((np.arange(len(user)), ts, user))
    item = vocabulary.encode(events[c.ITEM_ID].to_numpy(object))[order]
    kind = events[c.EVENT_TYPE].astype(str).map(EVENT_TYPE_CODES).to_numpy(np.int8)[order]
    lengths = np.bincount(user, minlength=len(users.ids))
    return Sequences.from_arrays(
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        item=item,
        event_type=kind,
        ts=ts[order],
        price_band=catalog.price_band[item],
    )


def learn_towers(shop: SmallShop, work: Path, *, num_steps: int) -> Towers:
    """Return a two-layer tower over the last 50 events, width 64, with content, after so many steps."""
    config = RetrievalConfig(tower=TowerConfig(dim=DIM, num_layers=2, max_length=MAX_LENGTH))
    lesson = Lesson(
        fit=shop.sequences,
        validation=None,
        catalog=shop.catalog,
        candidates=np.flatnonzero(shop.catalog.available),
        num_price_bands=_NUM_PRICE_BANDS,
    )
    return learn(lesson, config, work, num_steps=num_steps).towers


def write_release(
    shop: SmallShop, towers: Towers, root: Path, *, num_customers: int | None = None, habits: bool = False
) -> ReleaseStore:
    """Write the retrieval part as training does, customers with their histories, and make the release current.

    Args:
        shop: what was learned from.
        towers: that learned.
        root: of the store.
        num_customers: how many customers the release knows; each history stands under several ids where these are more
            than the shop's own, and under the shop's own ids where left out.
        habits: whether the part holds what customers buy again, so that ``for_you`` is blended, as training writes it.
    """
    store, as_of_us = ReleaseStore(root=root), int(shop.sequences.ts.max()) + 1
    candidates = np.flatnonzero(shop.catalog.available)
    with write_part(store.root, "retrieval", data_fingerprint="benchmark") as draft:
        about = write_files(
            draft.directory,
            towers,
            vocabulary=shop.vocabulary,
            catalog=shop.catalog,
            candidates=candidates,
            favourites=favourites(shop.sequences, shop.catalog, candidates=candidates, as_of_us=as_of_us, days=28),
            flat_index_limit=RetrievalConfig().flat_index_limit,
            queries=user_queries(towers, shop.sequences),
        )
        draft.about.update(
            about,
            dim=DIM,
            max_length=MAX_LENGTH,
            event_types=list(SHOP.event_types),
            num_price_bands=_NUM_PRICE_BANDS,
            as_of_us=as_of_us,
        )
        if habits:
            RepurchaseModel.fit(shop.sequences, shop.catalog, as_of_us=as_of_us).save(
                draft.directory / layout.REPURCHASE
            )
            ForYouBlend.plain().save(draft.directory / layout.BLEND)  # its weights do not change what it costs
    users, histories = shop.users, shop.sequences
    if num_customers is not None:
        users = Vocabulary.from_ids(np.array([f"c{number:07d}" for number in range(num_customers)], object))
        histories = shop.sequences.take(np.arange(num_customers) % len(shop.users.ids))
    with write_part(store.root, "customers", data_fingerprint="benchmark") as draft:
        pd.DataFrame({c.USER_ID: users.ids}).to_parquet(draft.directory / layout.CUSTOMERS, index=False)
        users.save(draft.directory / layout.USERS)
        shop.vocabulary.save(draft.directory / layout.HISTORY_VOCABULARY)
        histories.save(draft.directory / layout.HISTORIES)
    kinds: tuple[PartKind, ...] = ("retrieval", "customers")
    parts = {kind: part for kind in kinds if (part := store.latest_part(kind)) is not None}
    release = store.create(parts)
    store.set_current(release.release_id)
    return store
