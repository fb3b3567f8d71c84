"""A small shop in which every part of the customer table has something to say."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path
from typing import Any

from features import columns as c
from features.settings import ProfileSettings, ShopSettings
from tests.features.tiny_shop import event, utc, write_shop

NUM_USERS = 160
NUM_ITEMS = 14
NUM_DAYS = 260
SHOP = ShopSettings(time_zone="Europe/Paris", profile=ProfileSettings(min_chances=1))
_KINDS = (
    *("view", "view", "view", "view", "cart", "favorite", "purchase", "purchase", "purchase", "refund", "login"),
    *("message_sent", "message_delivered", "message_bounced", "message_opened", "message_clicked"),
)
_LOYALTY = """
points_per_unit: 1
categories: {food: 2}
events: {login: 5}
steps: [{points: 25, coupon: k1}]
expire_days: 90
"""


def write_customer_shop(directory: Path, *, seed: int = 7) -> Path:
    """Write a data directory of ``SHOP`` with events, items, users, coupons, a plan and points."""
    draw = random.Random(seed)
    write_shop(
        directory,
        shop=SHOP,
        events=_events(draw),
        items=[_item(number) for number in range(NUM_ITEMS)],
        users=[_user(number, draw) for number in range(0, NUM_USERS, 2)],
        coupons=[_coupon(number) for number in range(NUM_USERS)],
        plan=[_planned(number, draw) for number in range(400)],
    )
    (directory / "loyalty.yaml").write_text(_LOYALTY, encoding="utf-8")
    return directory


def _events(draw: random.Random) -> list[dict[str, Any]]:
    rows = []
    for user in range(NUM_USERS):
        first, last = sorted(draw.sample(range(NUM_DAYS), 2))
        for _ in range(draw.choice([2, 12, 24, 40])):
            at = utc("2024-01-01") + dt.timedelta(days=draw.randint(first, last), minutes=draw.randrange(24 * 60))
            kind = draw.choice(_KINDS)
            item = f"i{draw.randrange(NUM_ITEMS)}" if kind in c.ITEM_EVENT_TYPES else None
            rows.append(event(f"u{user:03}", kind, at, item, event_id=f"e{len(rows):05}", **_details(draw, at)))
    return rows


def _details(draw: random.Random, at: dt.datetime) -> dict[str, Any]:
    return {
        "session_id": draw.choice([None, f"s{at:%m%d}"]),
        "order_id": draw.choice([None, f"o{at:%m%d}"]),
        "quantity": draw.choice([None, 1, 2]),
        "price": draw.choice([None, 180, 199, 199, 199, 250]),
        "region": draw.choice([None, "north", "south"]),
        "device_id": draw.choice([None, "d1", "d2"]),
        "channel": draw.choice([None, "direct", "email"]),
        "dwell_ms": draw.choice([None, 1500, 20_000]),
        "medium": draw.choice([None, "email", "push"]),
        "campaign": draw.choice([None, "spring", "summer"]),
        "coupon_id": draw.choice([None, None, "k1", "k2"]),
    }


def _item(number: int) -> dict[str, Any]:
    path = ["food/fruit", "food/bread", "home", "home/garden/hose", None, ""][number % 6]
    price, cost = (None if number == 3 else 100 + number), [50, None, 70][number % 3]
    return {"item_id": f"i{number}", "category": path, "brand": f"b{number % 5}", "price": price, "cost": cost}


def _user(number: int, draw: random.Random) -> dict[str, Any]:
    signed = utc("2023-12-31 23:30") + dt.timedelta(hours=number)
    return {"user_id": f"u{number:03}", "membership": draw.choice([None, "plus"]), "signup_at": signed}


def _coupon(number: int) -> dict[str, Any]:
    issued = utc("2024-01-01")
    return {"coupon_id": f"k{1 + number % 2}", "user_id": f"u{number:03}", "issued_at": issued, "value": 50 + number}


def _planned(number: int, draw: random.Random) -> dict[str, Any]:
    return {
        "item_id": f"i{number % NUM_ITEMS}",
        "day": dt.date(2024, 1, 1) + dt.timedelta(days=number // 2),
        "announced_at": utc("2023-12-01"),
        "promotion": draw.choice([None, 0.0, 0.2]),
        "display": draw.choice([None, 1.0]),
        "mailer": draw.choice([0.0, 1.0]),
    }
