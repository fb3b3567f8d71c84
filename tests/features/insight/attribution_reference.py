"""Journeys by the words of their definition, event by event, and events to try them on."""

from __future__ import annotations

import datetime as dt
import random
from collections import defaultdict
from typing import Any

import pyarrow as pa

from features import columns as c
from features.contract.tables import EVENTS
from features.insight.attribution import AttributionDefinition
from tests.features.tiny_shop import arrow_table, event, utc

DAY = 86_400_000_000
START = utc("2026-03-01 00:00")


def log_of(rows: list[dict[str, Any]]) -> pa.Table:
    """Events as the log holds them, in UTC days."""
    numbered = [{"event_id": f"e{number:04d}", **row} for number, row in enumerate(rows)]
    events = arrow_table(EVENTS, numbered)
    return events.append_column(c.LOCAL_DAY, pa.array([at.date() for at in events["ts"].to_pylist()], pa.date32()))


def seen(user: str, at: float, kind: str, channel: str | None, session: str | None, **more: Any) -> dict[str, Any]:
    """One event, ``at`` days after the start."""
    at_us = round(at * DAY)
    return event(user, kind, START + dt.timedelta(microseconds=at_us), channel=channel, session_id=session, **more)


def random_log(seed: int, *, num_rows: int, num_users: int = 4, num_days: float = 50.0) -> list[dict[str, Any]]:
    """Visits of a few users with and without session ids; some of several channels, some orders in one visit."""
    generator = random.Random(seed)
    channels = [None, "direct", "email", "search", "social"]
    rows: list[dict[str, Any]] = []
    while len(rows) < num_rows:
        user, at = f"u{generator.randrange(num_users)}", generator.randrange(int(num_days * 48)) / 48
        session = generator.choice([None, f"s{generator.randrange(1000)}{user}"])
        channel = generator.choice(channels)
        for step in range(generator.randrange(1, 4)):
            kind = generator.choice(["view", "view", "cart", "purchase", "message_sent"])
            mixed = generator.choice([channel, channel, channel, generator.choice(channels)])
            order = generator.choice([None, f"o{generator.randrange(30)}{user}"]) if kind == "purchase" else None
            price = generator.choice([None, 100, 250])
            more = {"order_id": order, "price": price, "quantity": generator.choice([None, 1, 2])}
            rows.append(seen(user, at + step * generator.choice([0, 1, 20, 40]) / 1440, kind, mixed, session, **more))
    return rows


def slow_journeys(events: pa.Table, definition: AttributionDefinition) -> list[tuple[Any, ...]]:
    """Return (user, converted, path, revenue) of each journey, sorted."""
    rows = sorted(events.to_pylist(), key=lambda row: (row["user_id"], row["ts"], row["event_id"]))
    touches = _touches(rows, definition)
    found = []
    end = max(at for _, at, _ in touches) if touches else 0
    for user in sorted({row["user_id"] for row in rows}):
        own = sorted((at, name) for who, at, name in touches if who == user)
        conversions, used = _conversions(rows, user), 0
        for at, _, revenue in conversions:
            here = [touch for touch in own[used:] if touch[0] <= at]
            used += len(here)
            path = [name for when, name in here if at - when <= definition.lookback_days * DAY]
            found += _stretches(user, [t for t in here if at - t[0] > definition.lookback_days * DAY], at, definition)
            if not path:
                before = [name for when, name in own[:used] if 0 <= at - when <= definition.lookback_days * DAY]
                path = before[-1:] or ["direct"]
            found.append((user, 1, tuple(path), revenue))
        found += _stretches(user, own[used:], end, definition)
    return sorted(found)


def _stretches(user: str, touches: list[tuple[int, str]], until: int, definition: AttributionDefinition) -> list[Any]:
    length = definition.lookback_days * DAY
    cut = defaultdict(list)
    for at, name in touches:
        cut[max(until - at - 1, 0) // length].append(name)
    return [(user, 0, tuple(path), 0) for path in cut.values()]


def _touches(rows: list[dict[str, Any]], definition: AttributionDefinition) -> list[tuple[str, int, str]]:
    visits: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    gaps: dict[str, tuple[int, int]] = {}
    for row in rows:
        if row["event_type"] not in definition.touch_events:
            continue
        at, user = _us(row), row["user_id"]
        visit = row["session_id"]
        if visit is None:
            last, number = gaps.get(user, (-DAY, 0))
            number += at - last > definition.gap_minutes * 60_000_000
            gaps[user], visit = (at, number), number
        visits[user, visit].append(row)
    found = []
    for (user, _), own in visits.items():
        first: dict[str, int] = {}
        for row in own:
            name = row[definition.touch]
            if name and name not in definition.direct:
                first.setdefault(name, _us(row))
        found += [(user, at, name) for name, at in (first or {"direct": _us(own[0])}).items()]
    return found


def _conversions(rows: list[dict[str, Any]], user: str) -> list[tuple[int, str, int]]:
    orders: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["user_id"] == user and row["event_type"] == "purchase":
            orders[row["order_id"] or f"day {row['local_day']}"].append(row)
    worth = {key: sum((row["quantity"] or 1) * (row["price"] or 0) for row in own) for key, own in orders.items()}
    return sorted((_us(own[0]), key, worth[key]) for key, own in orders.items())


def _us(row: dict[str, Any]) -> int:
    return (row["ts"] - utc("1970-01-01 00:00")) // dt.timedelta(microseconds=1)
