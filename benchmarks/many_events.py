"""Many events to measure tables with: a simulated shop, its customers copied with noise.

Each copy has its own ids, loses one session in ten, and is shifted by whole days.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from features import columns as c
from features.engine import private_connection
from features.event_log import EventLog
from features.settings import EngineSettings, ShopSettings
from features.sources.synthetic import generate

SEED: Final = 5
USERS, ITEMS, DAYS = 3000, 2000, 365
_OWN_IDS: Final = (c.USER_ID, c.EVENT_ID, c.SESSION_ID, c.ORDER_ID, c.DEVICE_ID, c.COUPON_ID)


@dataclass(frozen=True, kw_only=True)
class Shop:
    """The shop that is copied.

    Args:
        num_users: of one copy.
        num_items: of one copy.
        num_days: that its log covers.
        own_items: whether each copy has a catalogue of its own; else all sell the same items, whose plan is kept.
    """

    num_users: int = USERS
    num_items: int = ITEMS
    num_days: int = DAYS
    own_items: bool = False


def event_log(work: Path, num_events: int, engine: EngineSettings) -> EventLog:
    """Return the log of about so many events in a directory, with items, users, coupons and plan beside it; made if missing."""
    if (work / "event_log.parquet").exists():
        return EventLog.open(work / "event_log.parquet")
    data_directory(work, num_events, engine)
    return EventLog.build(work, work / "event_log.parquet", shop=ShopSettings.load(work), engine=engine)


def data_directory(work: Path, num_events: int, engine: EngineSettings, shop: Shop = Shop()) -> None:
    """Make a data directory of about so many events, in the order they come in: by instant, give or take a week."""
    one = work / "shop"
    if not one.exists():
        generate(
            one, num_users=shop.num_users, num_items=shop.num_items, num_days=shop.num_days, seed=SEED, engine=engine
        )
    with private_connection(engine, beside=work) as connection:
        connection.execute(f"CREATE TABLE events AS FROM read_parquet('{one}/events.parquet') ORDER BY ts, event_id")
        ((found,),) = connection.execute("SELECT count(*) FROM events").fetchall()
        copies = round(num_events / found / 0.9)  # one session in ten is left out
        _copy(connection, "FROM events", copies, work / "events.parquet", own_items=shop.own_items, events=True)
        for name in ("users", "coupons", *(("items",) if shop.own_items else ())):
            source = f"FROM read_parquet('{one}/{name}.parquet')"
            _copy(connection, source, copies, work / f"{name}.parquet", own_items=shop.own_items)
        for name in () if shop.own_items else ("items", "plan"):
            connection.execute(f"COPY (FROM read_parquet('{one}/{name}.parquet')) TO '{work}/{name}.parquet'")
    ShopSettings.load(one).save(work)


def _copy(
    connection: duckdb.DuckDBPyConnection, source: str, copies: int, out: Path, *, own_items: bool, events: bool = False
) -> None:
    """Write a table's rows so many times, each copy under ids of its own; of events, sessions are left out and shifted."""
    names = connection.sql(source).columns
    own = [name for name in names if name in _OWN_IDS or (own_items and name == c.ITEM_ID)]
    replaced = [f"{name} || '-' || copy AS {name}" for name in own]
    # In order as far as each thread goes: to keep it all would hold the copies of many rows in memory.
    connection.execute("SET preserve_insertion_order = false")
    where = ""
    if events:
        replaced.append("ts - INTERVAL 1 DAY * (hash(user_id, copy) % 7)::INT AS ts")
        where = "WHERE hash(coalesce(session_id, event_id), copy) % 10 > 0"
    connection.execute(f"""
        COPY (SELECT * EXCLUDE (copy) REPLACE ({", ".join(replaced)}) FROM ({source}), range({copies}) AS r(copy) {where})
        TO '{out}' (FORMAT parquet)""")


def cpu_s() -> float:
    """Return the CPU seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_mb() -> float:
    """Return the most memory of this process alone: ``ru_maxrss`` would start from that of its parent."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
