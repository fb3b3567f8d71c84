"""Moments inside past visits, from an event log: what was known then, and whether the visit ended in a purchase.

    one visit:   view      view view cart                   purchase
    moments:     |    .    |    |    |  .                   |         asked at events, and while nothing happens
    came:        1    1    1    1    1  1                   0

The k-th event of a visit is drawn with a chance of 1/k, so that a visit of n events gives about log n moments and long
visits do not dominate. The chance may depend on what is known at the moment, never on what comes: if each visit's
moments weighed 1 together, the early moments of those that go on, and buy, would count less than they happen.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt

from features import columns as c
from features.engine import private_connection, sql_text
from features.event_log import EventLog
from features.intent.visit import KNOWN, LEAVES_CART, Visitor
from features.settings import EngineSettings
from features.tables.visits import VISIT_EVENTS

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]

# A few dozen weights need no more; customers are drawn whole, so that their past is complete.
MOST_EVENTS: Final = 1_000_000
_SHORTEST_SILENCE_US: Final = 1_000_000
_ROWS_A_BATCH: Final = 100_000
_SEED: Final = 0

logger = logging.getLogger(__name__)

Row = tuple[int, str, str | None, str | None, int, int]  # at_us, event_type, item_id, category, hour, weekday


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """M moments of many visits.

    Args:
        known: as ``visit.KNOWN``, float64 ``[M, R]``.
        came: whether a purchase came later in the same visit, ``[M]``.
        next_seconds: from then to the visit's next event, infinite where there is none, ``[M]``.
        visit, customer: their numbers, ``[M]``.
        start_us: when the visit began, ``[M]``.
        at_event: asked right at an event, not while nothing happened, ``[M]``.
        bought: whether the visit has a purchase at all, ``[M]``.
        num_visits: visits that were looked at.
        num_bought: visits with a purchase.
        num_led: those with another event before the last purchase.
    """

    known: Floats
    came: Bools
    next_seconds: Floats
    visit: Ints
    customer: Ints
    start_us: Ints
    at_event: Bools
    bought: Bools
    num_visits: int
    num_bought: int
    num_led: int

    def __len__(self) -> int:
        return len(self.came)

    def where(self, keep: Bools) -> Moments:
        """Return some of the moments."""
        arrays = {name: getattr(self, name)[keep] for name in _ARRAYS}
        return dataclasses.replace(self, **arrays)


_ARRAYS: Final = ("known", "came", "next_seconds", "visit", "customer", "start_us", "at_event", "bought")


def read_moments(
    log: EventLog,
    items: Path,
    *,
    gap_minutes: int,
    forgotten: Callable[[str], bool] = lambda _: False,
    engine: EngineSettings = EngineSettings(),
    most_events: int = MOST_EVENTS,
) -> Moments:
    """Return moments of a log's visits, of rows that may serve personalisation.

    Visits that the end of the log may have cut off are left out.

    Args:
        log: the clean log.
        items: the contract's items, a Parquet file.
        gap_minutes: a longer pause ends a visit.
        forgotten: whether a customer is left out.
        engine: memory limit, threads, where to spill.
        most_events: about how many events are read; customers are drawn by their id.
    """
    gap_us, last_us = gap_minutes * 60_000_000, round(log.last_at.timestamp() * 1e6)
    collected = _Collected(gap_us=gap_us, until_us=last_us - gap_us, chance=random.Random(_SEED))
    with private_connection(engine, beside=log.path.parent) as connection:
        rows = _rows(connection, log, items, share=most_events / log.num_events)
        for user, events in itertools.groupby(rows, key=lambda row: row[0]):
            if not forgotten(user):
                collected.add_customer([row[1:] for row in events])
    moments = collected.moments()
    logger.info(
        "purchase intent: %d moments of %d visits, %d with a purchase",
        len(moments),
        moments.num_visits,
        moments.num_bought,
    )
    return moments


def _rows(
    connection: duckdb.DuckDBPyConnection, log: EventLog, items: Path, *, share: float
) -> Iterator[tuple[str, int, str, str | None, str | None, int, int]]:
    """Yield customer, instant, type, item, category, hour and weekday; by customer and time, what leaves a cart last."""
    log.relation(connection, purpose=c.PERSONALISATION).create_view("consented")
    names, leaves = (", ".join(map(sql_text, texts)) for texts in (VISIT_EVENTS, LEAVES_CART))
    drawn = "" if share >= 1 else f"AND md5_number_lower(user_id) % 1000000 < {round(share * 1e6)}"
    result = connection.execute(f"""
        SELECT user_id, epoch_us(ts) AS at_us, event_type, item_id, category, {c.LOCAL_HOUR}, isodow({c.LOCAL_DAY})
        FROM consented LEFT JOIN (SELECT item_id, category FROM read_parquet({sql_text(items)})) USING (item_id)
        WHERE event_type IN ({names}) {drawn}
        ORDER BY user_id, at_us, event_type IN ({leaves}), event_type, item_id""")
    while batch := result.fetchmany(_ROWS_A_BATCH):
        yield from batch


class _Collected:
    """Moments of one customer after the other."""

    def __init__(self, *, gap_us: int, until_us: int, chance: random.Random) -> None:
        self._gap_us, self._until_us, self._chance = gap_us, until_us, chance
        self._known: list[tuple[float, ...]] = []
        self._rest: list[tuple[bool, float, int, int, int, bool, bool]] = []
        self._num_visits = self._num_bought = self._num_led = self._num_customers = 0

    def add_customer(self, events: Sequence[Row]) -> None:
        visitor, begin = Visitor(self._gap_us), 0
        for number in range(1, len(events) + 1):
            if number == len(events) or events[number][0] - events[number - 1][0] > self._gap_us:
                self._add_visit(visitor, events[begin:number])
                begin = number
        self._num_customers += 1

    def _add_visit(self, visitor: Visitor, events: Sequence[Row]) -> None:
        is_whole = events[-1][0] <= self._until_us
        bought_us = max((row[0] for row in events if row[1] == c.PURCHASE), default=-1)
        told = 0
        for now_us, at_event, next_us in self._drawn(events) if is_whole else ():
            while told < len(events) and events[told][0] <= now_us:
                visitor.add(*events[told][:4])
                told += 1
            self._known.append(visitor.known(now_us, hour=events[0][4], weekday=events[0][5]))
            numbers = (self._num_visits, self._num_customers, events[0][0])
            self._rest.append((now_us < bought_us, (next_us - now_us) / 1e6, *numbers, at_event, bought_us >= 0))
        for row in events[told:]:
            visitor.add(*row[:4])
        if is_whole:
            self._num_visits += 1
            self._num_bought += bought_us >= 0
            self._num_led += any(row[0] < bought_us and row[1] != c.PURCHASE for row in events)

    def _drawn(self, events: Sequence[Row]) -> Iterator[tuple[int, bool, float]]:
        """Yield instants, in order: whether at an event, and the next event's instant."""
        instants = sorted({row[0] for row in events})
        for number, (at_us, next_us) in enumerate(zip(instants, [*instants[1:], math.inf], strict=True), start=1):
            if self._chance.random() * number < 1:
                yield at_us, True, next_us
            if self._chance.random() * number < 1:
                silence = _SHORTEST_SILENCE_US * (self._gap_us / _SHORTEST_SILENCE_US) ** self._chance.random()
                if at_us + silence < next_us:
                    yield at_us + round(silence), False, next_us

    def moments(self) -> Moments:
        columns = list(zip(*self._rest, strict=True)) or [()] * (len(_ARRAYS) - 1)
        kinds = (bool, np.float64, np.int64, np.int64, np.int64, bool, bool)
        rest = [np.array(values, kind) for values, kind in zip(columns, kinds, strict=True)]
        return Moments(
            known=np.array(self._known, np.float64).reshape(-1, len(KNOWN)),
            **dict(zip(_ARRAYS[1:], rest, strict=True)),
            num_visits=self._num_visits,
            num_bought=self._num_bought,
            num_led=self._num_led,
        )
