"""The stages of a feature build on a cluster; files and meaning are those of ``features.stages``.

identity     by the driver, in DuckDB, out of core
event_log    on the cluster; by the driver one row a user whom the shop's consents name
consents     by the driver, in DuckDB
vocabulary   counted and sorted on the cluster; items by code on the driver, users streamed through it
sequences    coded and sorted on the cluster, streamed into arrays by the driver
customers    on the cluster
panel        summed by item and day on the cluster; the chosen items' arrays on the driver
stock        the same
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from features import columns as c
from features.asides import scratch_directory
from features.catalog import ItemCatalog
from features.contract.read import copy_items
from features.contract.tables import INVENTORY
from features.demand.stock import STOCK_FILE, write_stock
from features.engine import private_connection
from features.event_log import purpose_flag
from features.manifest import (
    CATALOG_FILE,
    CUSTOMERS_FILE,
    EVENT_LOG_FILE,
    ITEMS_FILE,
    PANEL_DIRECTORY,
    SEQUENCES_DIRECTORY,
    USERS_FILE,
    VOCABULARY_FILE,
)
from features.panel.build import build_panel
from features.parquet import files_of, is_table
from features.privacy.consents import CONSENTS_FILE, ConsentBook
from features.settings import EngineSettings
from features.spark.customers import build_customers
from features.spark.log import build_log
from features.spark.scratch import read_parts, write_parts
from features.spark.sequences import build_users, build_vocabulary, sort_sequences, stream_sequences
from features.spark.session import num_tasks, spark_session
from features.stages.interface import Build, Finished
from features.stages.on_duckdb import DuckDBStages
from features.tables.item_days import item_days
from features.vocabulary import Vocabulary

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def spark_stages(engine: EngineSettings, data: Path, *, beside: Path) -> Iterator[SparkStages]:
    """Yield the stages on a session of their own, which ends with the block.

    Args:
        engine: names the master.
        data: a data directory, on a file system that all workers see.
        beside: directory, on such a file system, in which what lies between two steps is kept meanwhile.

    Raises:
        ConfigError: no session starts; see ``features.spark.session``.
    """
    num_bytes = sum(file.stat().st_size for file in files_of(Path(data) / "events.parquet") if file.is_file())
    with spark_session(engine, num_bytes=num_bytes) as session, scratch_directory(beside, "spark") as scratch:
        yield SparkStages(session=session, scratch=scratch)


@dataclass(frozen=True, kw_only=True)
class SparkStages:
    """See ``features.stages.interface.Stages``.

    Args:
        session: from ``features.spark.session``.
        scratch: directory for what lies between two steps, which all workers see.
    """

    session: Any
    scratch: Path
    name: Final = "pyspark"

    def identity(self, build: Build) -> Finished:
        """See ``Stages``."""
        return DuckDBStages().identity(_on_driver(build))

    def event_log(self, build: Build) -> Finished:
        """See ``Stages``."""
        book = self.scratch / CONSENTS_FILE
        _consents(build).save(book)
        log = build_log(
            self.session,
            build.data,
            build.out / EVENT_LOG_FILE,
            shop=build.shop,
            consents=book,
            identity=build.identity,
            scratch=self.scratch,
            num_files=_num_files(build.data / "events.parquet"),
        )
        return Finished(counts={"events": log.num_events})

    def consents(self, build: Build) -> Finished:
        """See ``Stages``."""
        return DuckDBStages().consents(_on_driver(build))

    def vocabulary(self, build: Build) -> Finished:
        """See ``Stages``."""
        out, log = build.out, build.log
        with private_connection(build.engine.on_driver, beside=self.scratch) as connection:
            copy_items(connection, build.data / ITEMS_FILE, out / ITEMS_FILE)
        known = build_vocabulary(self.session, log, out / ITEMS_FILE, shop=build.shop, scratch=self.scratch)
        known.save(out / VOCABULARY_FILE)
        rows = pd.read_parquet(out / ITEMS_FILE)
        ItemCatalog.from_items(rows, known, num_price_bands=build.shop.num_price_bands).save(out / CATALOG_FILE)
        users = build_users(self.session, log, out / USERS_FILE, shop=build.shop, scratch=self.scratch)
        return Finished(counts={"items": len(known.ids), "sequence_users": users})

    def sequences(self, build: Build) -> Finished:
        """See ``Stages``."""
        log = build.log
        events = sort_sequences(
            self.session,
            log,
            vocabulary=Vocabulary.load(build.out / VOCABULARY_FILE),
            catalog=ItemCatalog.load(build.out / CATALOG_FILE),
            shop=build.shop,
            scratch=self.scratch,
            num_files=_num_files(log.path),
        )
        num_events, num_users = stream_sequences(events, build.out / SEQUENCES_DIRECTORY)
        logger.info("sequences: %d of %d events, %d users", num_events, log.num_events, num_users)
        return Finished(counts={"sequence_events": num_events})

    def customers(self, build: Build) -> Finished:
        """See ``Stages``."""
        rows = read_parts(self.session, build.log.path).filter(purpose_flag(c.ANALYTICS))
        with scratch_directory(self.scratch, "customers") as scratch:
            number = build_customers(
                self.session,
                rows,
                read_parts(self.session, build.out / ITEMS_FILE),
                build.out / CUSTOMERS_FILE,
                data=build.data,
                as_of=build.log.last_day,
                shop=build.shop,
                scratch=scratch,
            )
        return Finished(counts={"customers": number})

    def panel(self, build: Build) -> Finished:
        """See ``Stages``."""
        rows = read_parts(self.session, build.log.path).filter(purpose_flag(c.ANALYTICS))
        days = write_parts(item_days(rows), self.scratch / "item_days.parquet")
        driver = build.engine.on_driver
        panel = build_panel(build.log, build.data, shop=build.shop, settings=build.panel, engine=driver, days=days)
        panel.save(build.out / PANEL_DIRECTORY)
        return Finished(counts={"panel_items": panel.num_items, "panel_days": panel.num_periods})

    def stock(self, build: Build) -> Finished:
        """See ``Stages``."""
        if not is_table(build.data / f"{INVENTORY.name}.parquet"):
            return Finished()
        days = write_parts(item_days(read_parts(self.session, build.log.path)), self.scratch / "all_item_days.parquet")
        with private_connection(build.engine.on_driver, beside=self.scratch) as connection:
            write_stock(connection, build.log, build.data, build.out / STOCK_FILE, days=days)
        return Finished()


def _on_driver(build: Build) -> Build:
    return dataclasses.replace(build, engine=build.engine.on_driver)


def _consents(build: Build) -> ConsentBook:
    engine = build.engine.on_driver
    return ConsentBook.build(build.data, shop=build.shop, engine=engine, identity=build.identity, spill=build.out)


def _num_files(table: Path) -> int:
    return num_tasks(sum(file.stat().st_size for file in files_of(table)))
