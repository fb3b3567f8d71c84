"""The stages of a feature build, in order, and what an implementation of them must offer.

    identity     identity/                            which ids are one customer; nothing where nothing links two
    event_log    event_log.parquet                    clean, sorted, flagged, by customer
    consents     consents.parquet                     from when on each purpose may use a customer's rows
    vocabulary   items, vocabulary, users, catalog    what is small: items by code, users by row of the sequences
    sequences    sequences/                           personalisation only
    customers    customers.parquet                    analytics only
    panel        panel/                               analytics only
    stock        stock.parquet                        nothing without counts of stock

A stage reads the data directory and what earlier stages wrote in ``Build.out``, never what they hold in memory: after a
kill the next process goes on behind the last stage that was finished. It writes what it declares and nothing else, and
leaves what earlier stages wrote as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from features.demand.stock import STOCK_FILE
from features.event_log import EventLog
from features.manifest import (
    CATALOG_FILE,
    CUSTOMERS_FILE,
    EVENT_LOG_FILE,
    IDENTITY_DIRECTORY,
    ITEMS_FILE,
    PANEL_DIRECTORY,
    SEQUENCES_DIRECTORY,
    USERS_FILE,
    VOCABULARY_FILE,
)
from features.panel.build import PanelSettings
from features.privacy.consents import CONSENTS_FILE
from features.refresh.plan import Refresh
from features.settings import EngineSettings, ShopSettings

# Stage -> what it may write in ``Build.out``: files, or directories with all that is in them.
STAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "identity": (IDENTITY_DIRECTORY,),
    "event_log": (EVENT_LOG_FILE,),
    "consents": (CONSENTS_FILE,),
    "vocabulary": (ITEMS_FILE, VOCABULARY_FILE, USERS_FILE, CATALOG_FILE),
    "sequences": (SEQUENCES_DIRECTORY,),
    "customers": (CUSTOMERS_FILE,),
    "panel": (PANEL_DIRECTORY,),
    "stock": (STOCK_FILE,),
}


@dataclass(frozen=True, kw_only=True)
class Build:
    """What every stage is told.

    Args:
        data: the data directory.
        out: where the feature directory is being made; holds what earlier stages wrote.
        shop: the shop's settings.
        panel: which items and how many days ahead the demand panel holds.
        engine: memory limit, threads, where to spill; spill beside ``out`` or in it where that is empty.
        refresh: what of an earlier feature directory holds still.
    """

    data: Path
    out: Path
    shop: ShopSettings
    panel: PanelSettings
    engine: EngineSettings
    refresh: Refresh

    @property
    def identity(self) -> Path | None:
        """The directory of linked ids; ``None`` where the identity stage linked none."""
        directory = self.out / IDENTITY_DIRECTORY
        return directory if directory.is_dir() else None

    @property
    def log(self) -> EventLog:
        """The event log, once its stage is finished."""
        return EventLog.open(self.out / EVENT_LOG_FILE)


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What a stage says of what it wrote; kept in the journal, so plain JSON.

    Args:
        counts: for the manifest.
        refresh: what became of the plan, where the stage could not keep to it.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    refresh: Refresh | None = None


class Stages(Protocol):
    """One way to do all stages: on DuckDB in this process, or on a cluster. Each method is a stage, in order.

    Tables are equal by the parity rule whoever writes them; bytes need not be. A build that one implementation began is
    not gone on with by another.
    """

    @property
    def name(self) -> str:
        """As ``EngineSettings.name`` has it."""
        ...

    def identity(self, build: Build) -> Finished:
        """Link ids; count ``linked_ids``."""
        ...

    def event_log(self, build: Build) -> Finished:
        """Clean, sort and flag the events; count ``events``."""
        ...

    def consents(self, build: Build) -> Finished:
        """Write from when on each purpose may use a customer's rows."""
        ...

    def vocabulary(self, build: Build) -> Finished:
        """Copy the items and give codes to items and users; count ``items``, ``sequence_users``."""
        ...

    def sequences(self, build: Build) -> Finished:
        """Write each user's events; count ``sequence_events``."""
        ...

    def customers(self, build: Build) -> Finished:
        """Write the customer table; count ``customers``."""
        ...

    def panel(self, build: Build) -> Finished:
        """Write the demand panel; count ``panel_items``, ``panel_days``."""
        ...

    def stock(self, build: Build) -> Finished:
        """Write what lies on the shelves when the log ends, where stock was counted."""
        ...
