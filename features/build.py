"""From a data directory to a feature directory: every table, sequence and panel that models read.

data/events.parquet ...   ->   out/identity/           which ids are one customer; absent where nothing links two
                               out/event_log.parquet   clean, sorted, flagged, by customer
                               out/consents.parquet    from when on each purpose may use a customer's rows
                               out/vocabulary.parquet  items by code
                               out/users.parquet       users by row of the sequences
                               out/catalog.parquet     attributes by item code
                               out/items.parquet       the contract's table
                               out/sequences/          personalisation only
                               out/customers.parquet   analytics only
                               out/panel/              analytics only
                               out/tags.yaml ...       the shop's own rules, where it has any
                               out/sources.json        digests of what was read, by file and by day
                               out/manifest.json       settings, counts, sha256 of each file

An earlier build at ``out`` is brought up to date where it can be (``features.refresh``); their rows are the same as if
everything had been built anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import hashlib
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pandas as pd

from features.catalog import ItemCatalog
from features.contract.read import copy_items
from features.customers.table import CustomerTable
from features.demand.stock import STOCK_FILE, write_stock
from features.engine import memory_explained, private_connection
from features.event_log import EventLog
from features.files import read_json, sha256_of_file, staged_directory, write_json
from features.manifest import (
    EVENT_LOG_FILE,
    FEATURES_FORMAT,
    IDENTITY_DIRECTORY,
    MANIFEST_FILE,
    read_manifest,
    refuse_foreign_directory,
)
from features.panel.build import PanelSettings, build_panel
from features.panel.demand_panel import DemandPanel
from features.privacy.consents import CONSENTS_FILE, ConsentBook
from features.refresh.linked_log import refreshed_identity, refreshed_log
from features.refresh.plan import Refresh, code_digest, plan_refresh
from features.refresh.sources import SOURCES_FILE
from features.release.part import git_revision
from features.rules.shop_files import RULE_FILES, copy_rule_files
from features.sequence_build import build_sequences, build_users, build_vocabulary
from features.sequences import Sequences
from features.settings import EngineSettings, ShopSettings
from features.vocabulary import Vocabulary

__all__ = [
    "CATALOG_FILE",
    "CUSTOMERS_FILE",
    "EVENT_LOG_FILE",
    "IDENTITY_DIRECTORY",
    "ITEMS_FILE",
    "PANEL_DIRECTORY",
    "SEQUENCES_DIRECTORY",
    "USERS_FILE",
    "VOCABULARY_FILE",
    "FeatureSet",
    "build_features",
]

VOCABULARY_FILE: Final = "vocabulary.parquet"
USERS_FILE: Final = "users.parquet"
CATALOG_FILE: Final = "catalog.parquet"
ITEMS_FILE: Final = "items.parquet"
SEQUENCES_DIRECTORY: Final = "sequences"
CUSTOMERS_FILE: Final = "customers.parquet"
PANEL_DIRECTORY: Final = "panel"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureSet:
    """What ``build_features`` wrote, opened; large arrays are mapped, not read.

    Args:
        directory: where it is.
        shop: the shop's settings.
        event_log: the clean log.
        vocabulary: items by code.
        users: users by row of ``sequences``: row ``u`` is code ``u + 2``.
        catalog: attributes by item code.
        sequences: item events that may serve personalisation.
        customers: path of the customer table (``CustomerTable.load``).
        panel: the demand panel.
        fingerprint: of the event log and of all that was made from it: codes mean the same items in two feature
            directories of one fingerprint. Stands in every result made from it.
        about: the manifest.
    """

    directory: Path
    shop: ShopSettings
    event_log: EventLog
    vocabulary: Vocabulary
    users: Vocabulary
    catalog: ItemCatalog
    sequences: Sequences
    customers: Path
    panel: DemandPanel
    fingerprint: str
    about: dict[str, Any]

    @classmethod
    def load(cls, out: Path) -> FeatureSet:
        """Open a feature directory.

        Raises:
            DataError: it is not one, or another version of Footfall wrote it.
        """
        out = Path(out)
        about = read_manifest(out)
        log = EventLog.open(out / EVENT_LOG_FILE)
        return cls(
            directory=out,
            shop=ShopSettings.load(out),
            event_log=log,
            vocabulary=Vocabulary.load(out / VOCABULARY_FILE),
            users=Vocabulary.load(out / USERS_FILE),
            catalog=ItemCatalog.load(out / CATALOG_FILE),
            sequences=Sequences.load(out / SEQUENCES_DIRECTORY),
            customers=out / CUSTOMERS_FILE,
            panel=DemandPanel.load(out / PANEL_DIRECTORY),
            fingerprint=about["fingerprint"],
            about=about,
        )


def build_features(
    data: Path,
    out: Path,
    *,
    engine: EngineSettings = EngineSettings(),
    panel: PanelSettings | None = None,
    rebuild: bool = False,
) -> dict[str, Any]:
    """Build all features of a data directory; ``out`` appears whole or not at all.

    An earlier feature directory at ``out`` is replaced; anything else there is left alone. Where the same code built it
    with the same settings, only days whose events changed are read; where nothing changed at all, it stays. The
    manifest's ``refresh`` says which, and why.

    Args:
        data: a data directory: contract tables and ``shop.yaml``.
        out: the feature directory to write.
        engine: memory limit, threads, where to spill.
        panel: which items and how many days ahead the demand panel holds.
        rebuild: whether to read everything, whatever stands at ``out``.

    Returns:
        The manifest, as in ``out/manifest.json``.

    Raises:
        DataError: the data directory breaks the contract, or ``out`` holds something else.
        ConfigError: a setting of the shop is wrong, or the memory limit is too low.
    """
    data, out = Path(data), Path(out)
    refuse_foreign_directory(out)
    shop, panel = ShopSettings.load(data), panel or PanelSettings()
    try:
        with staged_directory(out, replace=True) as staging, memory_explained(engine):
            manifest = _build(data, out, staging, shop=shop, panel=panel, engine=engine, rebuild=rebuild)
    except _NothingToDo as found:
        return read_manifest(out) | {"refresh": found.refresh.described()}
    logger.info("features: written to %s in %.1f s", out, sum(manifest["seconds"].values()))
    return manifest


class _NothingToDo(Exception):
    def __init__(self, refresh: Refresh) -> None:
        super().__init__(refresh.why)
        self.refresh = refresh


def _build(
    data: Path,
    out: Path,
    staging: Path,
    *,
    shop: ShopSettings,
    panel: PanelSettings,
    engine: EngineSettings,
    rebuild: bool,
) -> dict[str, Any]:
    sources, refresh = plan_refresh(
        data, out, settings=_settings(shop, panel), engine=engine, spill=staging, rebuild=rebuild
    )
    if refresh.mode == "unchanged":
        raise _NothingToDo(refresh)
    shop.save(staging)
    copy_rule_files(data, staging)
    write_json(staging / SOURCES_FILE, sources.to_json())
    builder = _Builder(data=data, out=staging, shop=shop, engine=engine, refresh=refresh, seconds={})
    manifest = builder.build(panel)
    sources.expect_unchanged(data)
    write_json(staging / MANIFEST_FILE, manifest)
    return manifest


@dataclass(frozen=True, kw_only=True)
class _Builder:
    """The stages in order, each timed; later ones read what earlier ones wrote."""

    data: Path
    out: Path
    shop: ShopSettings
    engine: EngineSettings
    refresh: Refresh
    seconds: dict[str, float]

    def build(self, panel: PanelSettings) -> dict[str, Any]:
        with self._stage("identity"):
            identity = refreshed_identity(self.data, self.out, self.refresh, shop=self.shop, engine=self.engine)
        linked = self.out / IDENTITY_DIRECTORY if identity else None
        with self._stage("event_log"):
            log, refresh = refreshed_log(
                self.data, self.out, self.refresh, identity=linked, shop=self.shop, engine=self.engine
            )
        with self._stage("consents"):
            consents = ConsentBook.build(
                self.data,
                shop=self.shop,
                engine=self.engine,
                identity=linked,
                spill=self.out,
            )
            consents.save(self.out / CONSENTS_FILE)
        with self._stage("sequences"), private_connection(self.engine, beside=self.out) as connection:
            counts = self._build_sequences(connection, log)
        with self._stage("customers"):
            customers = CustomerTable.build(
                log,
                self.out / ITEMS_FILE,
                data=self.data,
                shop=self.shop,
                engine=self.engine,
            )
            customers.save(self.out / CUSTOMERS_FILE)
        with self._stage("panel"):
            demand = build_panel(log, self.data, shop=self.shop, settings=panel, engine=self.engine)
            demand.save(self.out / PANEL_DIRECTORY)
        with self._stage("stock"), private_connection(self.engine, beside=self.out) as connection:
            write_stock(connection, log, self.data, self.out / STOCK_FILE)
        counts |= {
            "events": log.num_events,
            "linked_ids": identity["ids"] if identity else 0,
            "customers": len(customers),
            "panel_items": demand.num_items,
            "panel_days": demand.num_periods,
        }
        return self._manifest(log, counts, panel) | {"refresh": refresh.described()}

    def _build_sequences(self, connection: duckdb.DuckDBPyConnection, log: EventLog) -> dict[str, int]:
        copy_items(connection, self.data / ITEMS_FILE, self.out / ITEMS_FILE)
        items = connection.read_parquet(str(self.out / ITEMS_FILE))
        vocabulary = build_vocabulary(connection, log, items, shop=self.shop)
        vocabulary.save(self.out / VOCABULARY_FILE)
        users = build_users(connection, log, shop=self.shop)
        users.save(self.out / USERS_FILE)
        frame = pd.read_parquet(self.out / ITEMS_FILE)
        catalog = ItemCatalog.from_items(frame, vocabulary, num_price_bands=self.shop.num_price_bands)
        catalog.save(self.out / CATALOG_FILE)
        sequences = build_sequences(
            connection, log, vocabulary=vocabulary, users=users, catalog=catalog, shop=self.shop
        )
        sequences.save(self.out / SEQUENCES_DIRECTORY)
        logger.info(
            "sequences: %d of %d events, %d users, %d items",
            *(sequences.num_events, log.num_events, sequences.num_users, len(vocabulary.ids)),
        )
        return {
            "sequence_events": sequences.num_events,
            "sequence_users": sequences.num_users,
            "items": len(vocabulary.ids),
        }

    def _manifest(self, log: EventLog, counts: dict[str, int], panel: PanelSettings) -> dict[str, Any]:
        source = self.data / "about.json"
        paths = sorted(p for p in self.out.rglob("*") if p.is_file())
        files = {str(path.relative_to(self.out)): sha256_of_file(path) for path in paths}
        return {
            "format": FEATURES_FORMAT,
            "created_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "git_revision": git_revision(),
            "fingerprint": _fingerprint(log, files),
            "counts": counts,
            "settings": _settings(self.shop, panel) | {"engine": dataclasses.asdict(self.engine)},
            "code": code_digest(),
            "files": files,
            "seconds": self.seconds,
            "data": read_json(source) if source.exists() else {},
        }

    @contextlib.contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)


def _settings(shop: ShopSettings, panel: PanelSettings) -> dict[str, Any]:
    return {"shop": dataclasses.asdict(shop), "panel": dataclasses.asdict(panel)}


def _fingerprint(log: EventLog, files: Mapping[str, str]) -> str:
    """Return 64 hex digits over the log's content and the other files.

    The log's alone would not do: one log with other items or other ``event_types`` gives other codes. What the rules
    of tags, audiences and triggers say changes none of what models read.
    """
    unread = (EVENT_LOG_FILE, SOURCES_FILE, *RULE_FILES)
    others = [f"{name} {digest}" for name, digest in sorted(files.items()) if name not in unread]
    return hashlib.sha256("\n".join([log.fingerprint, *others]).encode()).hexdigest()
