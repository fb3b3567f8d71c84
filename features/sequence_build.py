"""From the event log to vocabularies and sequences: sorted in DuckDB, handed over as Arrow, kept as numpy."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa

from features import columns as c
from features.catalog import ItemCatalog
from features.engine import sql_text
from features.event_log import EventLog
from features.sequences import EVENT_ARRAYS, Sequences
from features.settings import ShopSettings
from features.vocabulary import FIRST, Vocabulary


def build_vocabulary(
    connection: duckdb.DuckDBPyConnection, log: EventLog, items: duckdb.DuckDBPyRelation, *, shop: ShopSettings
) -> Vocabulary:
    """Return all items of the log and of the items table, most events first, then by id.

    Only events that enter a sequence count; an item without any is known all the same.

    Args:
        connection: runs the query.
        log: the event log.
        items: relation with a column ``item_id``.
        shop: says which event types enter a sequence.
    """
    log.relation(connection).create_view("all_events", replace=True)
    items.create_view("all_items", replace=True)
    ids = connection.sql(f"""
        SELECT item_id FROM (
            SELECT item_id, count(*) FILTER ({is_sequence_event(shop)}) AS num_events
            FROM all_events WHERE item_id IS NOT NULL GROUP BY item_id
            UNION ALL SELECT item_id, 0 FROM all_items
        ) GROUP BY item_id ORDER BY sum(num_events) DESC, item_id""").to_arrow_table()
    return Vocabulary.from_ids(ids[c.ITEM_ID].to_pylist())


def build_users(connection: duckdb.DuckDBPyConnection, log: EventLog, *, shop: ShopSettings) -> Vocabulary:
    """Return the users who have a sequence, by id: row ``u`` of the sequences is code ``u + 2``."""
    log.relation(connection).create_view("all_events", replace=True)
    ids = connection.sql(f"""
        SELECT DISTINCT user_id FROM all_events WHERE {is_sequence_event(shop)} ORDER BY user_id""").to_arrow_table()
    return Vocabulary.from_ids(ids[c.USER_ID].to_pylist())


def build_sequences(
    connection: duckdb.DuckDBPyConnection,
    log: EventLog,
    *,
    vocabulary: Vocabulary,
    users: Vocabulary,
    catalog: ItemCatalog,
    shop: ShopSettings,
) -> Sequences:
    """Return each user's item events that may serve personalisation, in the log's order.

    Args:
        connection: runs the query.
        log: the event log.
        vocabulary: codes of the items.
        users: gives each user its row.
        catalog: gives each event the price band of its item.
        shop: says which event types enter a sequence.
    """
    codes = np.arange(FIRST, len(vocabulary), dtype=np.int32)
    bands = pa.array(np.asarray(catalog.price_band[FIRST:], np.int8))
    known_items = pa.table({c.ITEM_ID: pa.array(vocabulary.ids, pa.string()), "item": codes, "price_band": bands})
    rows = np.arange(len(users.ids), dtype=np.int64)
    known_users = pa.table({c.USER_ID: pa.array(users.ids, pa.string()), "user_row": rows})
    types = pa.table(
        {
            c.EVENT_TYPE: list(c.EVENT_TYPE_CODES),
            "type_code": pa.array(c.EVENT_TYPE_CODES.values(), pa.int8()),
        }
    )
    for name, table in (("known_items", known_items), ("known_users", known_users), ("known_types", types)):
        connection.register(name, table)
    # The file is sorted by (user_id, ts, event_id), so a row's place in it is the order we want.
    events = connection.sql(f"""
        SELECT user_row, item, type_code AS event_type, epoch_us(ts) AS ts, price_band
        FROM read_parquet({sql_text(log.path)}, file_row_number = true)
        JOIN known_items USING (item_id) JOIN known_users USING (user_id) JOIN known_types USING (event_type)
        WHERE {is_sequence_event(shop)}
        ORDER BY file_row_number""").to_arrow_table()
    lengths = np.bincount(events["user_row"].to_numpy(), minlength=len(rows))
    return Sequences.from_arrays(
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        **{name: events[name].to_numpy() for name in EVENT_ARRAYS},
    )


def is_sequence_event(shop: ShopSettings) -> str:
    """Return SQL, DuckDB's and Spark's, that tells whether a row of the log enters a sequence."""
    types = ", ".join(map(sql_text, shop.event_types))
    return f"{c.FOR_PERSONALISATION} AND {c.ITEM_ID} IS NOT NULL AND {c.EVENT_TYPE} IN ({types})"
