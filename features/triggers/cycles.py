"""How many days pass between two purchases of an item: by all customers, and by one who has a pace of their own.

    the item    median of all gaps 20 days
    ann         six gaps of 10 days; a strength of 3 draws her to the item as three gaps of 20 would
                exp((6 ln 10 + 3 ln 20) / 9) = 12.6 days

How strongly customers are drawn to the item is said by their gaps: by as much as one customer's differ among each
other, against how far customers lie apart. Gaps are compared by their logarithms, since twice and half as long are as
far off.

Sources: as ``features.repeats.item_cycles``, which estimates the same from a history's codes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import duckdb

from features import columns as c
from features.rules.live import LiveEvent

# A cycle is the median of at least so many gaps of the item; fewer say nothing.
LEAST_GAPS: Final = 5


@dataclass(frozen=True, kw_only=True)
class OwnGaps:
    """One customer's gaps between purchases of one item.

    Args:
        count: how many.
        sum_log: of the natural logarithms of their days.
    """

    count: int = 0
    sum_log: float = 0.0


NO_GAPS: Final = OwnGaps()


def own_cycle(cycle_days: float | None, strength: float | None, own: OwnGaps) -> float | None:
    """Return the days until a customer is expected to buy an item again.

    >>> round(own_cycle(20.0, 3.0, OwnGaps(count=6, sum_log=6 * math.log(10))), 1)
    12.6

    Args:
        cycle_days: the item's; nothing where it is not known.
        strength: the item counts as so many gaps of the customer's; nothing where customers do not differ.
        own: the customer's gaps of the item.
    """
    if cycle_days is None or cycle_days <= 0 or strength is None or not own.count:
        return cycle_days
    return math.exp((own.sum_log + strength * math.log(cycle_days)) / (own.count + strength))


def purchase_gaps(rows: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Return the days between two purchases of an item by one customer, on different local days.

    Args:
        rows: of the log: user_id, item_id, event_type, local_day.

    Returns:
        user_id, item_id, day (of the later purchase), gap_days; one row a gap.
    """
    return _asked(
        rows,
        "bought",
        f"""
        WITH days AS (
            SELECT DISTINCT user_id, item_id, {c.LOCAL_DAY}::DATE AS day FROM bought
            WHERE event_type = '{c.PURCHASE}' AND item_id IS NOT NULL
        )
        SELECT user_id, item_id, day, day - lag(day) OVER (PARTITION BY user_id, item_id ORDER BY day) AS gap_days
        FROM days QUALIFY gap_days IS NOT NULL""",
    )


def item_cycles(gaps: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Return item_id and cycle_days, the median, of items with ``LEAST_GAPS`` gaps or more."""
    counted = gaps.aggregate("item_id, median(gap_days) AS cycle_days, count(*) AS num_gaps", "item_id")
    return counted.filter(f"num_gaps >= {LEAST_GAPS}").select("item_id, cycle_days")


def own_gaps(gaps: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Return user_id, item_id, num_gaps and sum_log_gap."""
    return gaps.aggregate(
        "user_id, item_id, count(*) AS num_gaps, sum(ln(gap_days)) AS sum_log_gap", "user_id, item_id"
    )


def own_strength(gaps: duckdb.DuckDBPyRelation) -> float | None:
    """Return how many gaps the item's cycle counts as beside a customer's own, by moments.

    The variance of one customer's gaps over the variance of customers' means around the item's cycle; nothing where
    customers differ by no more than chance, or too few bought again to tell.
    """
    rows = _asked(
        gaps,
        "gaps",
        f"""
        WITH cycle AS (
            SELECT item_id, ln(median(gap_days)) AS middle FROM gaps GROUP BY item_id HAVING count(*) >= {LEAST_GAPS}
        ), pair AS (
            SELECT count(*) AS n, avg(ln(gap_days)) AS own, var_pop(ln(gap_days)) AS apart, any_value(middle) AS middle
            FROM gaps JOIN cycle USING (item_id) GROUP BY user_id, item_id
        )
        SELECT sum(n * apart) / nullif(sum(n - 1), 0), sum(n * (own - middle) ** 2), count(*), sum(n) FROM pair""",
    ).fetchall()
    within, around, num_pairs, num_gaps = rows[0]
    if within is None or around is None:
        return None
    between = (around - num_pairs * within) / num_gaps
    return float(within / between) if between > 0 else None


def live_gaps(events: Iterable[LiveEvent]) -> OwnGaps:
    """Return what ``own_gaps`` returns, of one customer's events with one item."""
    days = sorted({event.local_day for event in events if event.event_type == c.PURCHASE})
    logs = [math.log((day - before).days) for before, day in itertools.pairwise(days)]
    return OwnGaps(count=len(logs), sum_log=sum(logs))


def _asked(rows: duckdb.DuckDBPyRelation, name: str, query: str) -> duckdb.DuckDBPyRelation:
    """Return what a query of a relation under a name selects."""
    found = rows.query(name, query)
    assert found is not None, "a SELECT has rows"
    return found
