"""Erasure of one customer, under all linked ids, wherever this machine holds rows of them.

    store      the erasure list first, so that no answer names them from then on; customers parts of the served release and
               of every earlier one; what the service keeps beside them, wherever its settings put that
    data       the shop's tables and what was set aside from them
    features   built again from the data without them

Each step may be run again, and finds less.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any, Protocol

from features.asides import scratch_directory
from features.build import IDENTITY_DIRECTORY, FeatureSet, build_features
from features.errors import ConfigError, DataError
from features.identity.map import IdentityMap
from features.live_log.archive import LiveLog
from features.panel.source_tables import PanelSettings
from features.privacy.erase_files import erase_from_data, naming_files
from features.privacy.erase_parts import erase_from_parts
from features.privacy.person import Person, linked_ids
from features.release import ReleaseStore, layout
from features.settings import EngineSettings

logger = logging.getLogger(__name__)


class Served(Protocol):
    """What the service keeps of customers beside the parts of a store."""

    def erase(self, ids: Collection[str]) -> dict[str, int]:
        """Remove all rows of some ids; return how many there were, by place."""
        ...


def erase_customer(
    user_id: str,
    *,
    data: Path | None = None,
    features: Path | None = None,
    store: Path | None = None,
    served: Served | None = None,
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Remove a customer.

    Args:
        user_id: any id of theirs; linked ones go too.
        data: data directory.
        features: feature directory made from ``data``; it is built again.
        store: release store.
        served: what the service keeps beside its parts; goes with ``store``.
        engine: memory limit, threads, where to spill.

    Returns:
        ``ids``: how many ids went; and of each place that was given, what was removed.

    Raises:
        ConfigError: no place is given, features are given without their data, or no id.
        DataError, ReleaseError: something there is damaged; what was removed before stays removed.
    """
    if not user_id:
        raise ConfigError("--user: expected an id, found none.")
    if data is None and features is None and store is None:
        raise ConfigError("expected --data, --features or --store, found none; nothing is known of where to look.")
    if features is not None and data is None:
        raise ConfigError("--features: expected --data beside it, since features are built again from what is left.")
    if (store is None) != (served is None):
        raise ConfigError("expected a store and what is served from it together, found one of them.")
    places = Places(data=data, features=features, store=store, served=served, engine=engine)
    with scratch_directory((data or store or Path()).parent, "links") as scratch:
        person = places.find(user_id, scratch)
        report: dict[str, Any] = {"ids": len(person.ids)}
        if store is not None:
            report["store"] = places.erase_store(person.ids) | _erase_from_live_log(store, person, engine)
        if data is not None:
            report["data"] = erase_from_data(data, person, engine=engine)
    if data is not None and features is not None:
        report["features"] = places.rebuild(data, features)
    elif data is not None:
        report["features"] = "Not given: build again every feature directory that was made from this data."
    return report


class Places:
    """Where a customer's rows may be, as ``erase_customer`` takes them."""

    def __init__(
        self,
        *,
        data: Path | None,
        features: Path | None,
        store: Path | None,
        served: Served | None,
        engine: EngineSettings,
    ) -> None:
        self._data, self._features, self._served, self._engine = data, features, served, engine
        self._store = None if store is None else ReleaseStore(root=Path(store))

    def find(self, user_id: str, scratch: Path) -> Person:
        """Return the customer under all ids that the features, the data or a part link."""
        ids = {user_id}
        for part in self._store.parts("customers") if self._store is not None else ():
            if layout.IDENTITIES in part.files:
                ids |= linked_ids(IdentityMap.load(part.path(layout.IDENTITIES)), user_id)
        identity = None if self._features is None else self._features / IDENTITY_DIRECTORY
        if self._data is not None and (identity is None or not identity.is_dir()):
            found = Person.find_in_data(user_id, self._data, scratch / "identity", engine=self._engine)
        else:
            found = Person.find(user_id, [] if identity is None else [identity])
        return Person(user_id=user_id, ids=tuple(sorted(ids | set(found.ids))), visits=found.visits)

    def erase_store(self, ids: Collection[str]) -> dict[str, Any]:
        """Put the ids on the erasure list and remove what the store holds of them."""
        assert self._store is not None, "called where a store is given"
        if not Path(self._store.root).is_dir():
            raise DataError(f"{self._store.root}: expected a release store, found none.")
        listed = self._store.erasures.load()
        for id_ in ids:
            if id_ not in listed:
                self._store.erasures.add(id_)
        report: dict[str, Any] = erase_from_parts(self._store, ids)
        report |= {} if self._served is None else self._served.erase(ids)
        return report | {"still_named_in": naming_files(Path(self._store.root), ids)}

    def rebuild(self, data: Path, features: Path) -> dict[str, Any]:
        """Build the features again with the settings that they were built with."""
        panel = FeatureSet.load(features).about["settings"]["panel"]
        manifest = build_features(data, features, engine=self._engine, panel=PanelSettings(**panel), rebuild=True)
        return {"rebuilt": str(features), "events": manifest["counts"]["events"]}


def _erase_from_live_log(store: Path, person: Person, engine: EngineSettings) -> dict[str, Any]:
    """Remove a customer's rows from the archive of served events, while nobody exports."""
    log = LiveLog.of_store(store)
    if not log.days():
        return {"log_rows": 0}
    with log.locked():
        found = erase_from_data(log.directory, person, engine=engine)
    return {"log_rows": sum(found["removed"].values())}
