"""What lies on the shelves when the log ends."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import duckdb
import pandas as pd

from features import columns as c
from features.contract.tables import INVENTORY
from features.engine import sql_text
from features.errors import DataError
from features.event_log import EventLog
from features.parquet import is_table, names_of, scan
from features.tables.item_days import item_days

logger = logging.getLogger(__name__)

STOCK_FILE: Final = (
    "stock.parquet"  # item_id, day (of the newest count), stock (counted), on_hand (less units sold since)
)


def write_stock(
    connection: duckdb.DuckDBPyConnection, log: EventLog, data: Path, path: Path, *, days: Path | None = None
) -> int:
    """Write each item's newest count of stock, and what is left of it when the log ends; nothing without a table.

    A count is of a day's opening, so the units sold from that day on have left the shelf; what arrived since is not
    known. A count of the morning after the log is the newest that may be used.

    Args:
        connection: from ``features.engine``.
        log: the clean log; all of its purchases are counted, as a count and no profile.
        data: a data directory; ``inventory`` may be missing.
        path: the file to write.
        days: what ``features.tables.item_days`` made of all rows of the log on a cluster, in Parquet.

    Returns:
        items with a count.

    Raises:
        DataError: the table is not the contract's.
    """
    source = data / f"{INVENTORY.name}.parquet"
    if not is_table(source):
        return 0
    sold = item_days(log.relation(connection)) if days is None else connection.read_parquet(names_of(days))
    sold.create_view("stock_item_days")
    try:
        connection.execute(f"""
            COPY (
                WITH newest AS (
                    SELECT item_id, day, stock FROM {scan(source)}
                    WHERE day <= {sql_text(str(log.last_day))}::DATE + 1
                    QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY day DESC) = 1
                )
                SELECT newest.item_id, day, stock, greatest(stock - coalesce(sum(num_units), 0), 0)::BIGINT AS on_hand
                FROM newest LEFT JOIN stock_item_days AS sold
                    ON sold.item_id = newest.item_id AND sold.{c.LOCAL_DAY} >= newest.day
                GROUP BY newest.item_id, day, stock ORDER BY newest.item_id
            ) TO {sql_text(path)} (FORMAT parquet)""")
    except duckdb.Error as error:
        raise DataError(f"{source}: expected the contract's table, found something else ({error}).") from None
    num_items = int(pd.read_parquet(path, columns=[c.ITEM_ID]).shape[0])
    logger.info("stock: newest counts of %d items", num_items)
    return num_items
