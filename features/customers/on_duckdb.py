"""The customer table on one machine: some users after the other, so that what is held follows from the settings.

Parts are made by ranges of users with about equal numbers of events (``features.customers.assembly``), and joined by
ranges with equal numbers of users, in order of user_id.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from features import columns as c
from features.customers.assembly import assemble, gather, kept_name
from features.customers.context import Context
from features.customers.parts import Part
from features.customers.workbench import DuckWorkbench
from features.engine import private_connection, sql_name, sql_text
from features.event_log import EventLog
from features.settings import EngineSettings, ShopSettings

# What parts make of so many events stays within 2 GB: visits, interest and occasions are each up to a row an event.
EVENTS_A_RANGE: Final = 20_000_000
# Joined at a time: some 75 columns of each user, and a hash table for each part.
USERS_A_RANGE: Final = 200_000
_SEEN: Final = "seen"


def customer_tables(
    event_log: EventLog,
    items: Path,
    *,
    data: Path | None,
    as_of: dt.date,
    shop: ShopSettings,
    engine: EngineSettings,
    parts: Sequence[Part],
    events_a_range: int = EVENTS_A_RANGE,
    users_a_range: int = USERS_A_RANGE,
) -> Iterator[pa.Table]:
    """Yield the customer table in pieces, in order of user_id; at least one piece.

    Args:
        event_log: the clean log.
        items: the contract's items table, a Parquet file.
        data: a data directory with the contract's other tables, or nothing.
        as_of: last local day that is looked at.
        shop: the shop's settings.
        engine: memory limit, threads, where to spill; beside the log where that is empty.
        parts: what to put together.
        events_a_range: that parts are made of at a time.
        users_a_range: that are joined at a time.
    """
    with private_connection(engine, beside=event_log.path.parent) as connection:
        rows = event_log.relation(connection, purpose=c.ANALYTICS).filter(f"{c.LOCAL_DAY} <= DATE '{as_of}'")
        bench = DuckWorkbench(connection=connection, threads=threads_of(connection))
        context = Context(
            bench=bench, rows=rows, items=connection.read_parquet(str(items)), as_of=as_of, shop=shop, data=data
        )
        seen = bench.keep(_SEEN, rows.aggregate(f"{c.USER_ID}, count(*) AS num_events", c.USER_ID))
        ranges = _ranges(seen, "num_events", events_a_range) if event_log.num_events > events_a_range else []
        if len(ranges) > 1:
            gather(context, parts, map(rows.filter, ranges))
        columns = {name: frame.columns[1:] for name, frame in assemble(context, parts).items()}
        for chosen in _ranges(seen, "1", users_a_range):
            yield connection.sql(_joined(columns, chosen)).to_arrow_table()


def threads_of(connection: duckdb.DuckDBPyConnection) -> int:
    """Return how many threads a connection uses."""
    return int(connection.execute("SELECT current_setting('threads')").fetchall()[0][0])


def _ranges(seen: duckdb.DuckDBPyRelation, weight: str, size: int) -> list[str]:
    """Return conditions that part users, in order of their ids, into ranges of about ``size`` in sum of ``weight``."""
    place = f"(sum({weight}) OVER (ORDER BY {c.USER_ID}) - {weight}) // {size} AS place"
    firsts = seen.select(f"{c.USER_ID}, {place}").aggregate(f"place, min({c.USER_ID}) AS first", "place")
    starts = [first for (first,) in firsts.order("place").select("first").fetchall()][1:]
    from_ = ["true", *(f"{c.USER_ID} >= {sql_text(start)}" for start in starts)]
    until = [*(f"{c.USER_ID} < {sql_text(start)}" for start in starts), "true"]
    return [" AND ".join(both) for both in zip(from_, until, strict=True)]


def _joined(columns: dict[str, list[str]], chosen: str) -> str:
    """Return SQL of one row a user of a range, sorted; a part's columns are missing where it has no row of the user."""
    selected, joins = [f"seen.{c.USER_ID}"], []
    some = partial("(SELECT * FROM {table} WHERE {chosen})".format, chosen=chosen)
    for part, names in columns.items():
        alias = sql_name(part)
        selected += [f"{alias}.{sql_name(name)}" for name in names]
        table = some(table=sql_name(kept_name(part)))
        joins.append(f"LEFT JOIN {table} AS {alias} ON {alias}.{c.USER_ID} = seen.{c.USER_ID}")
    return f"SELECT {', '.join(selected)} FROM {some(table=_SEEN)} AS seen {' '.join(joins)} ORDER BY seen.{c.USER_ID}"
