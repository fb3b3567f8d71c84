"""Vocabularies and sequences on a cluster; the last step streams what the cluster sorted into arrays.

    on the cluster   events counted by item  ->  vocabulary.parquet           all items by code, read by the driver
                     item events with codes  ->  one Parquet file a range of users, sorted as the log is
                     users of these          ->  users.parquet
    on the driver    file after file         ->  sequences/*.npy

The driver holds one batch of rows at a time, the items, and 8 bytes a user.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import columns as c
from features.catalog import ItemCatalog
from features.engine import sql_text
from features.event_log import EventLog
from features.parquet import files_of, names_of
from features.sequence_build import is_sequence_event
from features.sequences import EVENT_ARRAYS, event_arrays
from features.settings import ShopSettings
from features.spark.scratch import kept, read_parts, write_parts
from features.tables.sql import run
from features.vocabulary import FIRST, Vocabulary

_BATCH_ROWS: Final = 1 << 18
_USERS: Final = pa.schema([("id", pa.string())])  # as ``Vocabulary.save`` writes


def build_vocabulary(session: Any, log: EventLog, items: Path, *, shop: ShopSettings, scratch: Path) -> Vocabulary:
    """Return what ``features.sequence_build.build_vocabulary`` does: all items, most events first, then by id.

    Args:
        session: from ``features.spark.session``.
        log: the event log.
        items: the contract's items table.
        shop: says which event types enter a sequence.
        scratch: directory that all workers see.
    """
    counted = run(
        f"""SELECT item_id, sum(num_events) AS num_events FROM (
                SELECT item_id, count(*) FILTER (WHERE {is_sequence_event(shop)}) AS num_events
                FROM {{log}} WHERE item_id IS NOT NULL GROUP BY item_id
                UNION ALL SELECT item_id, 0 FROM {{items}}
            ) GROUP BY item_id""",
        log=read_parts(session, log.path),
        items=read_parts(session, items),
    )
    counts = kept(counted, scratch / "item_counts.parquet")
    ordered = run("SELECT item_id FROM {counts} ORDER BY num_events DESC, item_id", counts=counts)
    ids = write_parts(ordered, scratch / "item_ids.parquet")
    return Vocabulary.from_ids(pq.read_table(names_of(ids))[c.ITEM_ID].to_pylist())


def build_users(session: Any, log: EventLog, path: Path, *, shop: ShopSettings, scratch: Path) -> int:
    """Write the users who have a sequence, by id, as ``Vocabulary.save`` does, and return their number.

    Args:
        session: from ``features.spark.session``.
        log: the event log.
        path: the file; users pass through the driver, batch after batch.
        shop: says which event types enter a sequence.
        scratch: directory that all workers see.
    """
    text = f"SELECT DISTINCT {c.USER_ID} AS id FROM {{log}} WHERE {is_sequence_event(shop)} ORDER BY id"
    users = write_parts(run(text, log=read_parts(session, log.path)), scratch / "users.parquet")
    num_users = 0
    with pq.ParquetWriter(path, _USERS) as writer:
        for file in files_of(users):
            for batch in pq.ParquetFile(file).iter_batches(_BATCH_ROWS):
                writer.write_batch(pa.record_batch([batch["id"].cast(pa.string())], schema=_USERS))
                num_users += len(batch)
    return num_users


def sort_sequences(
    session: Any,
    log: EventLog,
    *,
    vocabulary: Vocabulary,
    catalog: ItemCatalog,
    shop: ShopSettings,
    scratch: Path,
    num_files: int,
) -> Path:
    """Write the events of all sequences, with codes, to a directory of files in order; return it.

    Args:
        session: from ``features.spark.session``.
        log: the event log.
        vocabulary: codes of the items.
        catalog: gives each event the price band of its item.
        shop: says which event types enter a sequence.
        scratch: directory that all workers see.
        num_files: into how many ranges of users the events are cut.
    """
    codes = np.arange(FIRST, len(vocabulary), dtype=np.int32)
    bands = pa.array(np.asarray(catalog.price_band[FIRST:], np.int8))
    known = pa.table({c.ITEM_ID: pa.array(vocabulary.ids, pa.string()), "item": codes, "price_band": bands})
    pq.write_table(known, scratch / "item_codes.parquet")
    types = " ".join(f"WHEN {sql_text(name)} THEN {code}" for name, code in c.EVENT_TYPE_CODES.items())
    events = run(
        f"""SELECT {c.USER_ID}, {c.TS}, {c.EVENT_ID}, item, price_band, unix_micros({c.TS}) AS us,
                   CAST(CASE {c.EVENT_TYPE} {types} END AS TINYINT) AS type_code
            FROM {{log}} JOIN {{known}} USING ({c.ITEM_ID}) WHERE {is_sequence_event(shop)}""",
        log=read_parts(session, log.path),
        known=read_parts(session, scratch / "item_codes.parquet"),
    )
    by_user = events.repartitionByRange(num_files, c.USER_ID).sortWithinPartitions(c.USER_ID, c.TS, c.EVENT_ID)
    columns = (c.USER_ID, "item", "type_code AS event_type", "us AS ts", "price_band")
    return write_parts(by_user.selectExpr(*columns), scratch / "sequences.parquet")


def stream_sequences(events: Path, out: Path) -> tuple[int, int]:
    """Write what ``sort_sequences`` wrote as ``Sequences.load`` reads it, one batch in memory at a time.

    Args:
        events: the directory of sorted events.
        out: directory to write, one ``.npy`` an array.

    Returns:
        Numbers of events and of users.
    """
    num_events = sum(pq.read_metadata(file).num_rows for file in files_of(events))
    arrays = event_arrays(out, num_events)
    stops = [np.zeros(1, np.int64)]  # of each user's events, by batch
    before: str | None = None
    for first, batch in _batches(events):
        for name, array in arrays.items():
            array[first : first + len(batch)] = batch[name].to_numpy()
        runs = pc.run_end_encode(batch[c.USER_ID])
        if runs.values[0].as_py() == before:  # the user of the batch before has more events
            stops[-1] = stops[-1][:-1]
        stops.append(first + np.asarray(runs.run_ends, np.int64))
        before = runs.values[-1].as_py()
    offsets = np.concatenate(stops)
    np.save(out / "offsets.npy", offsets)
    return num_events, len(offsets) - 1


def _batches(events: Path) -> Iterator[tuple[int, pa.RecordBatch]]:
    first = 0
    for file in files_of(events):
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(_BATCH_ROWS, columns=[c.USER_ID, *EVENT_ARRAYS]):
                if len(batch):
                    yield first, batch
                    first += len(batch)
