"""From the event log to vocabularies and sequences: sorted in DuckDB, streamed as Arrow into files of numpy arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from features import columns as c
from features.engine import sql_text
from features.event_log import EventLog
from features.parquet import names_of
from features.sequences import event_arrays
from features.settings import ShopSettings
from features.vocabulary import FIRST, Vocabulary

_BATCH_ROWS: Final = 1 << 18


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


def build_users(connection: duckdb.DuckDBPyConnection, log: EventLog, path: Path, *, shop: ShopSettings) -> int:
    """Write the users who have a sequence, by id, as ``Vocabulary.save`` does: row ``u`` of the sequences is code ``u + 2``.

    Args:
        connection: runs the query.
        log: the event log.
        path: the file to write.
        shop: says which event types enter a sequence.

    Returns:
        Their number.
    """
    log.relation(connection).create_view("all_events", replace=True)
    users = connection.sql(f"""
        SELECT DISTINCT user_id FROM all_events WHERE {is_sequence_event(shop)} ORDER BY user_id""").to_arrow_table()
    pq.write_table(pa.table({"id": users[c.USER_ID].combine_chunks()}), path)
    return len(users)


def write_sequences(
    connection: duckdb.DuckDBPyConnection,
    log: EventLog,
    directory: Path,
    *,
    vocabulary: Path,
    catalog: Path,
    shop: ShopSettings,
) -> tuple[int, int]:
    """Write each user's item events that may serve personalisation, in the log's order, as ``Sequences.load`` reads them.

    Only one batch of events and 8 bytes a user are in memory beside what DuckDB takes.

    Args:
        connection: runs the queries.
        log: the event log, one file.
        directory: to write, one ``.npy`` an array.
        vocabulary: what ``Vocabulary.save`` wrote of the items.
        catalog: what ``ItemCatalog.save`` wrote; gives each event the price band of its item.
        shop: says which event types enter a sequence.

    Returns:
        Numbers of events and of users.
    """
    [source] = names_of(log.path)
    log.relation(connection).create_view("all_events", replace=True)
    lengths = connection.sql(f"""
        SELECT count(*) AS n FROM all_events WHERE {is_sequence_event(shop)}
        GROUP BY user_id ORDER BY user_id""").to_arrow_table()["n"]
    offsets = np.concatenate([[0], np.cumsum(lengths.to_numpy(), dtype=np.int64)])
    types = " ".join(f"WHEN {sql_text(name)} THEN {code}" for name, code in c.EVENT_TYPE_CODES.items())
    # The file is sorted by (user_id, ts, event_id), so a row's place in it is the order we want.
    events = connection.sql(f"""
        WITH codes AS (
            SELECT v.id AS item_id, k.file_row_number::INT AS item, k.price_band
            FROM read_parquet({sql_text(vocabulary)}, file_row_number = true) v
            JOIN read_parquet({sql_text(catalog)}, file_row_number = true) k
                ON k.file_row_number = v.file_row_number + {FIRST}
        )
        SELECT item, (CASE event_type {types} END)::TINYINT AS event_type, epoch_us(ts) AS ts, price_band
        FROM (
            SELECT item_id, event_type, ts, file_row_number FROM read_parquet({sql_text(source)}, file_row_number = true)
            WHERE {is_sequence_event(shop)}
        ) JOIN codes USING (item_id) ORDER BY file_row_number""").to_arrow_reader(_BATCH_ROWS)
    _fill(event_arrays(directory, int(offsets[-1])), events)
    np.save(directory / "offsets.npy", offsets)
    return int(offsets[-1]), len(offsets) - 1


def _fill(arrays: Mapping[str, npt.NDArray[Any]], events: Iterable[pa.RecordBatch]) -> None:
    first = 0
    for batch in events:
        for name, array in arrays.items():
            array[first : first + len(batch)] = batch[name].to_numpy()
        first += len(batch)
    assert all(len(array) == first for array in arrays.values()), "every event's item is in the vocabulary"


def is_sequence_event(shop: ShopSettings) -> str:
    """Return SQL, DuckDB's and Spark's, that tells whether a row of the log enters a sequence."""
    types = ", ".join(map(sql_text, shop.event_types))
    return f"{c.FOR_PERSONALISATION} AND {c.ITEM_ID} IS NOT NULL AND {c.EVENT_TYPE} IN ({types})"
