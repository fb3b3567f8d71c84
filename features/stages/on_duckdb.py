"""The stages on DuckDB: one process, out of core, within a memory limit."""

from __future__ import annotations

import logging
from typing import Final

import pandas as pd

from features.catalog import ItemCatalog
from features.contract.read import copy_items
from features.customers.table import CustomerTable
from features.demand.stock import STOCK_FILE, write_stock
from features.engine import private_connection
from features.manifest import (
    CATALOG_FILE,
    CUSTOMERS_FILE,
    ITEMS_FILE,
    PANEL_DIRECTORY,
    SEQUENCES_DIRECTORY,
    USERS_FILE,
    VOCABULARY_FILE,
)
from features.panel.build import build_panel
from features.privacy.consents import CONSENTS_FILE, ConsentBook
from features.refresh.linked_log import refreshed_identity, refreshed_log
from features.sequence_build import build_users, build_vocabulary, write_sequences
from features.stages.interface import Build, Finished

logger = logging.getLogger(__name__)


class DuckDBStages:
    """See ``Stages``."""

    name: Final = "duckdb"

    def identity(self, build: Build) -> Finished:
        """Link ids where rows of two stand together."""
        about = refreshed_identity(build.data, build.out, build.refresh, shop=build.shop, engine=build.engine)
        return Finished(counts={"linked_ids": about["ids"] if about else 0})

    def event_log(self, build: Build) -> Finished:
        """Sort the events, or the days of them that changed."""
        log, refresh = refreshed_log(
            build.data, build.out, build.refresh, identity=build.identity, shop=build.shop, engine=build.engine
        )
        return Finished(counts={"events": log.num_events}, refresh=refresh)

    def consents(self, build: Build) -> Finished:
        """Keep what each customer granted last."""
        book = ConsentBook.build(
            build.data, shop=build.shop, engine=build.engine, identity=build.identity, spill=build.out
        )
        book.save(build.out / CONSENTS_FILE)
        return Finished()

    def vocabulary(self, build: Build) -> Finished:
        """Count items and list users."""
        with private_connection(build.engine, beside=build.out) as connection:
            copy_items(connection, build.data / ITEMS_FILE, build.out / ITEMS_FILE)
            items = connection.read_parquet(str(build.out / ITEMS_FILE))
            vocabulary = build_vocabulary(connection, build.log, items, shop=build.shop)
            vocabulary.save(build.out / VOCABULARY_FILE)
            num_users = build_users(connection, build.log, build.out / USERS_FILE, shop=build.shop)
        frame = pd.read_parquet(build.out / ITEMS_FILE)
        catalog = ItemCatalog.from_items(frame, vocabulary, num_price_bands=build.shop.num_price_bands)
        catalog.save(build.out / CATALOG_FILE)
        return Finished(counts={"items": len(vocabulary.ids), "sequence_users": num_users})

    def sequences(self, build: Build) -> Finished:
        """Sort the events that may serve personalisation."""
        out, log = build.out, build.log
        with private_connection(build.engine, beside=out) as connection:
            num_events, num_users = write_sequences(
                connection,
                log,
                out / SEQUENCES_DIRECTORY,
                vocabulary=out / VOCABULARY_FILE,
                catalog=out / CATALOG_FILE,
                shop=build.shop,
            )
        logger.info("sequences: %d of %d events, %d users", num_events, log.num_events, num_users)
        return Finished(counts={"sequence_events": num_events})

    def customers(self, build: Build) -> Finished:
        """Join the parts of the customer table."""
        items, target = build.out / ITEMS_FILE, build.out / CUSTOMERS_FILE
        number = CustomerTable.write(build.log, items, target, data=build.data, shop=build.shop, engine=build.engine)
        return Finished(counts={"customers": number})

    def panel(self, build: Build) -> Finished:
        """Count units, views and carts by item and period."""
        panel = build_panel(build.log, build.data, shop=build.shop, settings=build.panel, engine=build.engine)
        panel.save(build.out / PANEL_DIRECTORY)
        return Finished(counts={"panel_items": panel.num_items, "panel_days": panel.num_periods})

    def stock(self, build: Build) -> Finished:
        """Take from the newest counts what was sold since."""
        with private_connection(build.engine, beside=build.out) as connection:
            write_stock(connection, build.log, build.data, build.out / STOCK_FILE)
        return Finished()
