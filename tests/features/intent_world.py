"""Worlds of visits for purchase intent, and what is known at a moment, said slowly."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from features.event_log import EventLog
from features.settings import ShopSettings
from features.tables.visits import VISIT_EVENTS
from tests.features.tiny_shop import event, write_shop

GAP_S = 30 * 60
START = dt.datetime(2024, 3, 4, 9, tzinfo=dt.UTC)
Event = tuple[float, str, str | None]  # second since START, type, item
CATEGORIES = {f"i{number}": f"c{number % 3}" for number in range(6)}


def slow_known(events: Sequence[Event], now: float) -> dict[str, float]:
    """What is known at second ``now``: each number by its own definition; hour and weekday are UTC's."""
    told = sorted({one for one in events if one[0] <= now and one[1] in VISIT_EVENTS}, key=lambda one: one[0])
    visits: list[list[Event]] = []
    for one in told:
        if not visits or one[0] - visits[-1][-1][0] > GAP_S:
            visits.append([])
        visits[-1].append(one)
    *past, this = visits
    start = this[0][0]
    items = [item for _, _, item in this if item is not None]
    leaves = ("purchase", "remove_from_cart")
    put = {
        item: max(at for at, kind, one in told if kind == "cart" and one == item)
        for _, kind, item in told
        if kind == "cart"
    }
    cart = {item: at for item, at in put.items() if not any(k in leaves and o == item and t >= at for t, k, o in told)}
    bought = [at for visit in past for at, kind, _ in visit if kind == "purchase"]
    began = START + dt.timedelta(seconds=start)
    return {
        **{kind: sum(one[1] == kind for one in this) for kind in VISIT_EVENTS},
        "items": len(set(items)),
        "categories": len({CATEGORIES[item] for item in items}),
        "most_views": max((sum(one[1:] == ("view", item) for one in this) for item in items), default=0),
        "in_cart": sum(at >= start for at in cart.values()),
        "left_in_cart": sum(at < start for at in cart.values()),
        "seconds": now - start,
        "silent_seconds": now - this[-1][0],
        "hour": began.hour,
        "weekday": began.isoweekday(),
        "past_visits": len(past),
        "past_buying_visits": sum(any(kind == "purchase" for _, kind, _ in visit) for visit in past),
        "days_since_purchase": (start - max(bought)) / 86_400 if bought else -1,
        "days_since_visit": (start - past[-1][-1][0]) / 86_400 if past else -1,
    }  # fmt: skip


def random_events(seed: int, num_events: int = 60) -> list[Event]:
    """One customer's events, many at one instant, some told twice, with pauses around the gap."""
    chance, at, events = random.Random(seed), 0, []
    for _ in range(num_events):
        at += chance.choice((0, 0, 20, 60, 600, GAP_S - 1, GAP_S, GAP_S + 1, 90_000))
        kind = chance.choice((*VISIT_EVENTS, "view", "view", "cart", "cart", "message_opened", "refund"))
        item = (
            chance.choice(list(CATEGORIES)) if kind not in ("search", "login", "checkout", "message_opened") else None
        )
        events.append((at, kind, item))
    return events


def rows_of(user: str, events: Sequence[Event]) -> list[dict[str, Any]]:
    return [event(user, kind, START + dt.timedelta(seconds=at), item) for at, kind, item in events]


def build_log(directory: Path, rows: list[dict[str, Any]], **tables: Any) -> tuple[EventLog, Path]:
    """The log, and the items file."""
    items = [{"item_id": item, "category": category} for item, category in CATEGORIES.items()]
    write_shop(directory, events=rows, items=items, **tables)
    return EventLog.build(directory, directory / "log.parquet", shop=ShopSettings()), directory / "items.parquet"


def shop_of_carts(*, num_visits: int = 6_000, num_users: int = 500, in_cart: float = 0.4, seed: int = 0) -> list[Any]:
    """A view; a minute later, in two of five visits, a cart, bought with 0.6; of the others one in twenty buys outright."""
    chance, rows = random.Random(seed), []
    for number in range(num_visits):
        at, item = number * 1_200 + chance.random() * 600, chance.choice(list(CATEGORIES))
        puts = chance.random() < in_cart
        events: list[Event] = [(at, "view", item)]
        if puts:
            events.append((at + 60, "cart", item))
        if chance.random() < (0.6 if puts else 0.05):
            events.append((at + 120, "purchase", item))
        rows += rows_of(f"u{chance.randrange(num_users):03}", events)
    return rows
