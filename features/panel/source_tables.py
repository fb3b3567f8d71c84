"""What a demand panel is made of: the data directory's tables, and which items it holds."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import duckdb

from features import columns as c
from features.contract.tables import INVENTORY, ITEMS, PLAN, REGRESSORS, SQL_TYPES, Table
from features.engine import sql_name, sql_text
from features.errors import ConfigError, DataError
from features.event_log import EventLog
from features.panel.demand_panel import PERIOD_DAYS
from features.parquet import is_table, names_of, scan
from features.settings import ShopSettings
from features.tables.item_days import DAY_EVENTS, item_days

_TABLES: Final = (ITEMS, PLAN, INVENTORY, REGRESSORS)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PanelSettings:
    """Which items the demand panel holds, in what periods, and how far ahead it knows.

    Args:
        frequency: ``D`` for days, ``W`` for weeks that end with the log's last day.
        min_purchases: an item needs this many purchase rows, unless it is new.
        new_item_days: an item that the catalogue created so many days before the log's end or later is new: it is kept
            whatever it sold, so that it gets a forecast; 0 keeps none.
        max_items: of the items with enough purchases, the ones with the most; of the new ones, as many again, the
            newest; 0 keeps all.
        horizon: periods after the last one for which the calendar and the plan are given.
    """

    frequency: Literal["D", "W"] = "D"
    min_purchases: int = 30
    new_item_days: int = 28
    max_items: int = 2000
    horizon: int = 14

    def __post_init__(self) -> None:
        if self.min_purchases < 1 or self.max_items < 0 or self.horizon < 1 or self.new_item_days < 0:
            raise ConfigError(
                f"panel: expected min_purchases >= 1, new_item_days >= 0, max_items >= 0, horizon >= 1, found {self}."
            )
        if self.frequency not in PERIOD_DAYS:
            raise ConfigError(f"panel.frequency: expected one of {', '.join(PERIOD_DAYS)}, found {self.frequency!r}.")


def register_tables(
    connection: duckdb.DuckDBPyConnection, log: EventLog, data: Path, *, days: Path | None = None
) -> None:
    """Make ``sold_days``, sums by item and day of what was bought, and views over the contract's tables and the rows.

    Args:
        connection: where they are made.
        log: the clean log.
        data: a data directory.
        days: what ``features.tables.item_days`` made of the log on a cluster, in Parquet; from the log where left out.
    """
    for table in _TABLES:
        _view(connection, data, table)
        _expect_keys_once(connection, table)
    rows = log.relation(connection, purpose=c.ANALYTICS)
    rows.create_view("analytics_rows")
    if days is not None:
        connection.read_parquet(names_of(days)).create_view("sold_days")
    else:
        item_days(rows.filter(f"{c.EVENT_TYPE} = '{c.PURCHASE}'")).create("sold_days")


def choose_items(
    connection: duckdb.DuckDBPyConnection, settings: PanelSettings, shop: ShopSettings, last_day: dt.date
) -> None:
    """Make table ``panel_items``: row by item id, first sale, creation, attributes; sold enough, or new."""
    limit = f"LIMIT {settings.max_items}" if settings.max_items else ""
    created = f"CAST(timezone({sql_text(shop.time_zone)}, created_at) AS DATE)"
    last = f"{sql_text(str(last_day))}::DATE"
    connection.execute(f"""
        CREATE TEMP TABLE panel_items AS
        WITH sold AS (
            SELECT item_id, min({c.LOCAL_DAY}) FILTER (num_purchases > 0) AS first_sale,
                   sum(num_purchases) AS num_purchases
            FROM sold_days GROUP BY item_id
        ), enough AS (
            SELECT item_id FROM sold WHERE num_purchases >= {settings.min_purchases}
            ORDER BY num_purchases DESC, item_id {limit}
        ), new AS (
            SELECT item_id FROM items LEFT JOIN sold USING (item_id)
            WHERE {created} > {last} - {settings.new_item_days} AND {created} <= {last}
              AND coalesce(active, true) AND coalesce(first_sale >= {created}, true)
              AND item_id NOT IN (FROM enough)
            ORDER BY created_at DESC, item_id {limit}
        )
        SELECT row_number() OVER (ORDER BY item_id) - 1 AS row, item_id, first_sale, {created} AS created,
               coalesce(category, '') AS category, coalesce(brand, '') AS brand
        FROM (FROM enough UNION ALL FROM new) LEFT JOIN sold USING (item_id) LEFT JOIN items USING (item_id)""")


def count_item_days(connection: duckdb.DuckDBPyConnection, *, days: Path | None = None) -> None:
    """Make ``item_days`` of the panel's items; those of all others, most of a large catalogue, are never made.

    Args:
        connection: with ``panel_items``.
        days: as for ``register_tables``.
    """
    if days is not None:
        connection.table("sold_days").create_view("item_days")
    else:
        item_days(connection.sql("FROM analytics_rows SEMI JOIN panel_items USING (item_id)")).create("item_days")


def days_with_items(
    connection: duckdb.DuckDBPyConnection, log: EventLog, *, days: Path | None = None
) -> tuple[dt.date, dt.date]:
    """Return the first and last day on which any item was seen or sold; messages and logins open no shop.

    Args:
        connection: with the tables of ``register_tables``.
        log: the clean log.
        days: as for ``register_tables``.
    """
    kinds = ", ".join(map(sql_text, DAY_EVENTS))
    rows = f"analytics_rows WHERE {c.ITEM_ID} IS NOT NULL AND {c.EVENT_TYPE} IN ({kinds})"
    first_day, last_day = connection.execute(
        f"SELECT min({c.LOCAL_DAY}), max({c.LOCAL_DAY}) FROM {rows if days is None else 'sold_days'}"
    ).fetchall()[0]
    return (log.first_day, log.last_day) if first_day is None else (first_day, last_day)


def _expect_keys_once(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Refuse tables that no importer wrote: `footfall data` sets duplicates aside."""
    keys = ", ".join(map(sql_name, table.key))
    found = connection.execute(
        f"SELECT {keys}, count(*) FROM {table.name} GROUP BY {keys} HAVING count(*) > 1 ORDER BY ALL LIMIT 1"
    ).fetchall()
    if found:
        *values, count = found[0]
        where = ", ".join(f"{name} {value}" for name, value in zip(table.key, values, strict=True))
        raise DataError(
            f"{table.name}: expected one row for each {', '.join(table.key)}, found {count} of {where}; import the "
            "table with `footfall data`, which keeps the first and sets the others aside."
        )


def log_left_out(connection: duckdb.DuckDBPyConnection) -> None:
    """Say how many rows are of items that the panel does not hold; the other items are answered all the same."""
    for table in (PLAN, INVENTORY, REGRESSORS):
        rows, items = connection.execute(f"""
            SELECT count(*), count(DISTINCT item_id) FROM {table.name}
            WHERE item_id IS NOT NULL AND item_id NOT IN (SELECT item_id FROM panel_items)""").fetchall()[0]
        if rows:
            logger.info("%s: %d rows of %d items that the panel does not hold are left out", table.name, rows, items)


def _view(connection: duckdb.DuckDBPyConnection, data: Path, table: Table) -> None:
    path = data / f"{table.name}.parquet"
    names = ", ".join(map(sql_name, table.column_names))
    if is_table(path):
        source = f"SELECT {names} FROM {scan(path)}"
    else:
        nothing = ", ".join(f"NULL::{SQL_TYPES[column.kind]} AS {sql_name(column.name)}" for column in table.columns)
        source = f"SELECT {nothing} WHERE false"
    try:
        connection.execute(f"CREATE TEMP VIEW {table.name} AS {source}")
    except duckdb.Error as error:
        raise DataError(
            f"{path}: expected the contract's table {table.name!r}, found something else ({error})."
        ) from None
