"""A shop with one customer to follow through every table, and a search for what is left of somebody."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from features import columns as c
from features.settings import ShopSettings
from tests.features.tiny_shop import event, utc, write_shop

ERIN, PHONE = "erin-7f3q", "phone-9xkq"  # texts that stand in nothing else
SHOP = ShopSettings(name="tiny", time_zone="Europe/Paris", country="FR")
START = utc("2024-03-30 00:00")  # clocks go forward on the 31st


def write_erins_shop(directory: Path, *, items: int = 12) -> Path:
    """Five customers who buy, of whom Erin browses on her phone before she logs in; every table names her."""
    days = [START + dt.timedelta(hours=7 * n) for n in range(24)]
    users = ["ann", "bob", "cid", "dan", ERIN]
    events = [
        event(
            user, kind, at, f"item-{(row * 5 + place) % items}", event_id=f"{user}-{row}-{kind}", price=100, quantity=1
        )
        for row, at in enumerate(days)
        for place, user in enumerate(users)
        for kind in ("view", "purchase")
    ]
    events += [
        event(PHONE, "view", START + dt.timedelta(minutes=5), "item-3", event_id="before login", device_id=PHONE)
    ]
    events += [event(ERIN, "login", START + dt.timedelta(minutes=9), event_id="login", device_id=PHONE)]
    consents = [
        {"user_id": user, "purpose": purpose, "granted": True, "at": START - dt.timedelta(days=1)}
        for user in users
        for purpose in c.PURPOSES
    ]
    data = write_shop(
        directory,
        shop=SHOP,
        events=events,
        items=[{"item_id": f"item-{n}", "category": "a" if n % 2 else "b", "price": 100} for n in range(items)],
        users=[{"user_id": user, "region": "north"} for user in users],
        identities=[{"id_a": ERIN, "id_b": PHONE, "seen_at": START, "id_type_a": "user_id", "id_type_b": "device_id"}],
        consents=consents,
        exposures=[{"user_id": user, "item_id": "item-1", "slot": "home", "ts": START} for user in users],
        coupons=[{"coupon_id": "c1", "user_id": user, "issued_at": START, "value": 100} for user in users],
    )
    rejects = [
        {"row": 3, "reason": "price: expected 0 or more", "content": f'{{"customer": "{ERIN}", "price": -1}}'},
        {"row": 4, "reason": "price: expected 0 or more", "content": '{"customer": "ann", "price": -1}'},
    ]
    write_rejects(data, rejects)
    return data


def write_rejects(data: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa  # noqa: PLC0415

    (data / "rejects").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), data / "rejects" / "events.parquet")


def traces(directories: Iterable[Path], *words: str) -> list[str]:
    """Return every file, hidden ones too, that holds one of the words: Parquet as its values, all else as its bytes."""
    found = []
    for directory in directories:
        for path in sorted(directory.rglob("*")):
            if not path.is_file():
                continue
            content = path.read_bytes()
            if content[:4] == b"PAR1":
                table = pq.read_table(path)
                content += repr(table.to_pylist()).encode() + repr(table.schema.metadata).encode()
            if any(word.encode() in content for word in words):
                found.append(str(path))
    return found
