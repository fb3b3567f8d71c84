"""The ledger of loyalty points, one row a movement, worked out from the log in its order.

user_id  local_day   ts                points  reason          event_id
ann      2024-05-01  2024-05-01 10:00  12      purchase        e1
ann      2024-05-01  2024-05-01 10:00  5       login           e2
ann      2024-05-09  2024-05-09 18:30  -12     refund          e9
ann      2025-05-01  -                 -5      expired         -

A customer's points sum up to its balance.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, groupby, islice
from typing import Any, Final, NamedTuple, TypeVar

import duckdb
import pyarrow as pa

from features import columns as c
from features.customers.loyalty.account import Account
from features.customers.loyalty.rules import LoyaltyRules
from features.engine import sql_text
from features.tables import sql

FrameT = TypeVar("FrameT")
EVENT_ORDER: Final = (c.USER_ID, "epoch_us", c.EVENT_ID)
_STANDINGS_A_BATCH: Final = 10_000
REDEEMED: Final = "redeemed"
EXPIRED: Final = "expired"
LEDGER_SCHEMA: Final = pa.schema(
    {
        c.USER_ID: pa.string(),
        c.LOCAL_DAY: pa.date32(),
        c.TS: pa.timestamp("us", tz="UTC"),
        "points": pa.int64(),
        "reason": pa.string(),
        c.EVENT_ID: pa.string(),
    }
)
STANDING_SCHEMA: Final = pa.schema(
    {
        c.USER_ID: pa.string(),
        "loyalty_points": pa.int64(),
        "loyalty_expiring_points": pa.int64(),
        "loyalty_next_step": pa.int64(),
        "loyalty_points_missing": pa.int64(),
    }
)


class Movement(NamedTuple):
    """One change of a balance; ``epoch_us`` and ``event_id`` are missing where points lapsed."""

    user_id: str
    local_day: dt.date
    epoch_us: int | None
    points: int
    reason: str
    event_id: str | None


class LoyaltyEvent(NamedTuple):
    """A row of the log that may move points, with the category of its item."""

    user_id: str
    local_day: dt.date
    epoch_us: int
    event_id: str | None
    event_type: str
    item_id: str | None
    order_id: str | None
    coupon_id: str | None
    units: int
    price: int | None
    category: str | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Ledger:
    """All movements, and where each customer stands.

    Args:
        movements: columns as in ``LEDGER_SCHEMA``, in order of customer and time.
        standings: columns as in ``STANDING_SCHEMA``, one row a customer with a movement.
    """

    movements: pa.Table
    standings: pa.Table


def build_ledger(
    rows: duckdb.DuckDBPyRelation,
    items: duckdb.DuckDBPyRelation,
    rules: LoyaltyRules,
    *,
    as_of: dt.date,
    minor_units: int,
) -> Ledger:
    """Work out all movements up to the end of ``as_of``.

    Args:
        rows: rows of the event log up to ``as_of``.
        items: item_id, category.
        rules: of the scheme.
        as_of: last local day.
        minor_units: minor units in one whole unit of the currency.
    """
    moving = loyalty_events(rows, items, rules)
    reader = moving.order(", ".join(EVENT_ORDER)).to_arrow_reader()
    return ledger_of(_events(reader), rules, as_of=as_of, minor_units=minor_units)


def loyalty_events(rows: FrameT, items: FrameT, rules: LoyaltyRules) -> FrameT:
    """Return the rows that may move points, with columns as in ``LoyaltyEvent``, in any order.

    Args:
        rows: rows of the event log, a DuckDB relation or a PySpark frame.
        items: item_id, category.
        rules: of the scheme.
    """
    kinds = ", ".join(map(sql_text, sorted({c.PURCHASE, c.REFUND, *rules.events})))
    return sql.run(
        f"""
        SELECT e.user_id, e.local_day, unix_micros(e.ts) AS epoch_us, e.event_id, e.event_type, e.item_id, e.order_id,
               e.coupon_id, coalesce(e.quantity, 1) AS units, e.price, i.category
        FROM {{rows}} e LEFT JOIN {{items}} i ON e.item_id = i.item_id WHERE e.event_type IN ({kinds})""",
        rows=rows,
        items=items,
    )


def standings_of(
    batches: Iterator[pa.RecordBatch], *, rules: LoyaltyRules, as_of: dt.date, minor_units: int
) -> Iterator[pa.RecordBatch]:
    """Yield where customers stand, as ``STANDING_SCHEMA``, from their ``loyalty_events`` in ``EVENT_ORDER``."""
    found = (standing for _, standing in _accounts(_events(batches), rules, as_of=as_of, minor_units=minor_units))
    while lot := list(islice(found, _STANDINGS_A_BATCH)):
        yield pa.record_batch([list(values) for values in zip(*lot, strict=True)], schema=STANDING_SCHEMA)


def ledger_of(events: Iterable[LoyaltyEvent], rules: LoyaltyRules, *, as_of: dt.date, minor_units: int) -> Ledger:
    """Return the ledger of events that are in order of customer and time."""
    movements: list[Movement] = []
    standings: list[tuple[Any, ...]] = []
    for moved, standing in _accounts(events, rules, as_of=as_of, minor_units=minor_units):
        movements += moved
        standings.append(standing)
    ledger = [list(values) for values in zip(*movements, strict=True)] or [[] for _ in LEDGER_SCHEMA]
    standing_ = [list(values) for values in zip(*standings, strict=True)] or [[] for _ in STANDING_SCHEMA]
    return Ledger(
        movements=pa.table(ledger, schema=LEDGER_SCHEMA), standings=pa.table(standing_, schema=STANDING_SCHEMA)
    )


def _events(batches: Iterable[pa.RecordBatch]) -> Iterator[LoyaltyEvent]:
    rows = (zip(*(column.to_pylist() for column in batch.columns), strict=True) for batch in batches)
    return map(LoyaltyEvent._make, chain.from_iterable(rows))


def _accounts(
    events: Iterable[LoyaltyEvent], rules: LoyaltyRules, *, as_of: dt.date, minor_units: int
) -> Iterator[tuple[list[Movement], tuple[Any, ...]]]:
    """Yield the movements and the standing of each customer with a movement."""
    for user_id, own in groupby(events, key=lambda event: event.user_id):
        account = Account(expire_days=rules.expire_days)
        if moved := list(_movements(user_id, account, own, rules, as_of=as_of, minor_units=minor_units)):
            yield moved, _standing(user_id, account, rules, as_of)


def _movements(
    user_id: str,
    account: Account,
    events: Iterable[LoyaltyEvent],
    rules: LoyaltyRules,
    *,
    as_of: dt.date,
    minor_units: int,
) -> Iterator[Movement]:
    done: set[tuple[Any, ...]] = set()  # what counts once: an event type a day, a coupon an order
    for event in events:
        yield from _lapsed(user_id, account, event.local_day)
        for points, reason in _moved(account, event, rules, done, minor_units):
            if points:
                yield Movement(user_id, event.local_day, event.epoch_us, points, reason, event.event_id)
    yield from _lapsed(user_id, account, as_of)


def _lapsed(user_id: str, account: Account, day: dt.date) -> Iterator[Movement]:
    for end, points in account.lapse(day):
        yield Movement(user_id, end, None, -points, EXPIRED, None)


def _moved(
    account: Account, event: LoyaltyEvent, rules: LoyaltyRules, done: set[tuple[Any, ...]], minor_units: int
) -> Iterator[tuple[int, str]]:
    if event.event_type == c.REFUND:
        yield -account.refund(event.order_id, event.item_id or "", event.units), c.REFUND
    elif event.event_type == c.PURCHASE:
        yield from _redeemed(account, event, rules, done)
        times = rules.multiplier(event.category, event.local_day)
        per_unit = rules.points_per_unit * times * Fraction(event.price or 0, minor_units)
        points = account.buy(event.local_day, event.order_id, event.item_id or "", units=event.units, per_unit=per_unit)
        yield points, c.PURCHASE
    elif _first(done, (event.event_type, event.local_day)):
        points = rules.events[event.event_type]
        account.earn(event.local_day, points)
        yield points, event.event_type


def _redeemed(
    account: Account, event: LoyaltyEvent, rules: LoyaltyRules, done: set[tuple[Any, ...]]
) -> Iterator[tuple[int, str]]:
    """Spend a step's points on the first row of an order with its coupon; one the balance does not cover is no step."""
    step = next((step for step in rules.steps if step.coupon is not None and step.coupon == event.coupon_id), None)
    if step is None or not _first(done, (step.coupon, event.order_id or event.local_day)):
        return
    if account.spend(step.points):
        yield -step.points, REDEEMED


def _first(done: set[tuple[Any, ...]], key: tuple[Any, ...]) -> bool:
    if key in done:
        return False
    done.add(key)
    return True


def _standing(user_id: str, account: Account, rules: LoyaltyRules, as_of: dt.date) -> tuple[Any, ...]:
    expiring = account.expiring_by(as_of + dt.timedelta(days=rules.expiring_days))
    step = rules.next_step(account.balance)
    target = step.points if step else None
    return user_id, account.balance, expiring, target, None if target is None else target - account.balance
