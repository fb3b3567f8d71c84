"""The customers part: who each customer is and what each did lately. Personal data: it stays in the store."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Final

import numpy as np

from features import columns as c
from features.build import IDENTITY_DIRECTORY, ITEMS_FILE, FeatureSet
from features.customers.table import CustomerTable
from features.errors import DataError
from features.files import read_json
from features.identity.build import MAP_FILE
from features.identity.graph import CUSTOMER_ID
from features.identity.map import IdentityMap
from features.intent.fit import learn_intent
from features.privacy.consents import CONSENTS_FILE, ConsentBook
from features.release import layout
from features.release.erasure import ErasedUsers
from features.release.part import MANIFEST_FILE, Part, write_part
from features.release.release import ReleaseStore
from features.release.rule_files import RuleFiles
from features.settings import EngineSettings
from features.vocabulary import Vocabulary

log = logging.getLogger(__name__)

# More than any tower reads, so that "seen" and "bought before" filters have something to go by.
MAX_HISTORY_EVENTS: Final = 1_000


def write_customers_part(
    features: FeatureSet,
    store: ReleaseStore,
    *,
    max_history_events: int = MAX_HISTORY_EVENTS,
    engine: EngineSettings = EngineSettings(),
) -> Part:
    """Write the customer table, tags, audiences, intent, consents, links and recent history of all but those to forget.

    Args:
        features: what `footfall features` built; its sequences hold only what may be used for personalisation.
        store: release store; its erasure list is applied.
        max_history_events: the most recent events kept a user.
        engine: where the rules of tags and audiences are computed.

    Raises:
        ConfigError: a rule of the shop's is not as it should be.
    """
    erased = store.erasures.load()
    kept = np.array([user not in erased for user in features.users.ids], dtype=bool)
    with write_part(store.root, "customers", data_fingerprint=features.fingerprint) as draft:
        Vocabulary.from_ids(features.users.ids[kept]).save(draft.directory / layout.USERS)
        features.vocabulary.save(draft.directory / layout.HISTORY_VOCABULARY)
        histories = features.sequences.take(np.flatnonzero(kept)).last(max_history_events)
        histories.save(draft.directory / layout.HISTORIES)
        table = CustomerTable.load(features.customers)
        to_forget = table.frame[c.USER_ID].map(lambda user: user in erased).astype(bool)
        known = table.frame[~to_forget]
        kept_table = dataclasses.replace(table, frame=known.reset_index(drop=True))
        kept_table.save(draft.directory / layout.CUSTOMERS)
        RuleFiles(
            features=features,
            customers=kept_table,
            erased=erased,
            directory=draft.directory,
            engine=engine,
            max_events=max_history_events,
        ).write(previous_tags=_newest_file(store, layout.TAGS))
        _write_who_they_are(features, erased, draft.directory)
        intent = learn_intent(
            features.event_log,
            features.directory / ITEMS_FILE,
            shop=features.shop,
            forgotten=erased.__contains__,
            engine=engine,
        )
        intent.save(draft.directory / layout.INTENT)
        draft.about.update(
            intent=intent.about | {"reason": intent.reason},
            as_of=table.as_of.isoformat(),
            num_customers=len(known),
            currency=features.shop.currency,
            minor_units=features.shop.minor_units,
        )
    part = store.latest_part("customers")
    assert part is not None, "a part was just written"
    log.info("customers part %s: %d customers, %d erased", part.version, len(known), int((~kept).sum()))
    return part


def newest_consents(store: ReleaseStore) -> ConsentBook | None:
    """Return the newest customers part's consents, ``None`` where no part holds any.

    They lie outside releases as the erasure list does: a release that is served again brings back no consent.
    """
    path = _newest_file(store, layout.CONSENTS)
    return None if path is None else ConsentBook.load(path)


def newest_links(store: ReleaseStore) -> IdentityMap:
    """Return the newest customers part's links, empty where no part holds any."""
    path = _newest_file(store, layout.IDENTITIES)
    return IdentityMap.empty() if path is None else IdentityMap.load(path)


def _newest_file(store: ReleaseStore, name: str) -> Path | None:
    """Return a file of the newest part that holds a sound one; the other files of the part are not read."""
    for directory in sorted((Path(store.root) / "parts" / "customers").glob("[!.]*"), reverse=True):
        try:
            digest = read_json(directory / MANIFEST_FILE)["files"].get(name)
            if digest is not None and store.digest_of(directory / name) == digest:
                return directory / name
            trouble = "" if digest is None else "it is damaged"
        except (DataError, OSError, KeyError, TypeError, AttributeError) as error:
            trouble = str(error)
        if trouble:
            log.warning("%s: %s; an older part's is read instead", directory / name, trouble)
    return None


def _write_who_they_are(features: FeatureSet, erased: ErasedUsers, directory: Path) -> None:
    """Write consents and links; features that were built before there were any lack the file."""
    consents, links = features.directory / CONSENTS_FILE, features.directory / IDENTITY_DIRECTORY / MAP_FILE
    if consents.is_file():
        ConsentBook.load(consents).without(erased).save(directory / layout.CONSENTS)
    if links.is_file():
        known = IdentityMap.load(links)
        forgotten = [any(str(id_) in erased for id_ in ids) for ids in known.frame[["id", CUSTOMER_ID]].to_numpy()]
        frame = known.frame[~np.array(forgotten, dtype=bool)].reset_index(drop=True)
        dataclasses.replace(known, frame=frame, about={}).save(directory / layout.IDENTITIES)
