"""Many events to measure tables with: a simulated shop, its customers copied with noise.

Each copy has its own ids, loses one session in ten, and is shifted by whole days.
"""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Final

from features.engine import private_connection
from features.event_log import EventLog
from features.settings import EngineSettings, ShopSettings
from features.sources.synthetic import generate

SEED: Final = 5
USERS, ITEMS, DAYS = 3000, 2000, 365


def event_log(work: Path, num_events: int, engine: EngineSettings) -> EventLog:
    """Return the log of so many events in a directory, with items, users, coupons and plan beside it; made if missing."""
    if (work / "event_log.parquet").exists():
        return EventLog.open(work / "event_log.parquet")
    shop = work / "shop"
    if not shop.exists():
        generate(shop, num_users=USERS, num_items=ITEMS, num_days=DAYS, seed=SEED, engine=engine)
    with private_connection(engine, beside=work) as connection:
        connection.execute(f"CREATE VIEW events AS FROM read_parquet('{shop}/events.parquet')")
        ((found,),) = connection.execute("SELECT count(*) FROM events").fetchall()
        copies = round(num_events / found / 0.9 + 0.5)
        ids = ", ".join(
            f"{name} || '-' || copy AS {name}"
            for name in ("user_id", "event_id", "session_id", "order_id", "device_id")
        )
        shift = "INTERVAL 1 DAY * (hash(user_id, copy) % 7)::INT"
        connection.execute(f"""
            COPY (SELECT * REPLACE ({ids}, ts - {shift} AS ts) FROM events, range({copies}) AS r(copy)
                  WHERE hash(coalesce(session_id, event_id), copy) % 10 > 0 LIMIT {num_events})
            TO '{work}/events.parquet' (FORMAT parquet)""")
        for name in ("users", "coupons"):
            connection.execute(f"""
                COPY (SELECT * REPLACE (user_id || '-' || copy AS user_id)
                      FROM read_parquet('{shop}/{name}.parquet'), range({copies}) AS r(copy))
                TO '{work}/{name}.parquet' (FORMAT parquet)""")
        for name in ("items", "plan"):
            connection.execute(f"COPY (FROM read_parquet('{shop}/{name}.parquet')) TO '{work}/{name}.parquet'")
    settings = ShopSettings.load(shop)
    settings.save(work)
    return EventLog.build(work, work / "event_log.parquet", shop=settings, engine=engine)


def cpu_s() -> float:
    """Return the CPU seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_mb() -> float:
    """Return the most memory of this process alone: ``ru_maxrss`` would start from that of its parent."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
