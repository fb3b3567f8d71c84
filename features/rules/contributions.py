"""What each event adds to a leaf's level, and for how long.

    {events: view, at_least: 3, within_days: 14}      a view adds 1 from its instant until 14 days later
    {events: cart, not_followed_by: purchase,         a cart adds 1 from 24 h after it until the purchase
     of_same: item, for_hours: 24}
    {orders: {amount: {at_least: 1000}}}              an order of that size adds 1 from its last line on

A contribution is a row: the key's columns, at_us (of the event), item_id, thing (what is counted once), weight,
start_us, end_us.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import narwhals as nw

from features import columns as c
from features.rules.comparisons import fields_pass
from features.rules.conditions import DAY_US, HOUR_US, Distinct, EventTest, FieldTest, OpenTest, OrderTest
from features.rules.parse import SHARE_PARTS
from features.rules.rows import AT_US, ORDER_KEY
from features.rules.spells import END_US, FOREVER, START_US, Frame, stacked
from features.tables.expressions import day_number, is_type, marks, top_category

WEIGHT: Final = "weight"
THING: Final = "thing"


def contributions(leaf: EventTest | OpenTest | OrderTest, rows: Frame, by: Sequence[str]) -> Frame:
    """Return what adds to a leaf's level.

    Args:
        leaf: of the log.
        rows: from ``rule_rows``.
        by: the key's columns; rows without an item are left out where it is one of them.
    """
    if isinstance(leaf, OrderTest):
        return _of_orders(leaf, rows, by)
    return _of_open(leaf, rows, by) if isinstance(leaf, OpenTest) else _of_events(leaf, rows, by)


def share_contributions(leaf: EventTest, rows: Frame, by: Sequence[str]) -> Frame:
    """Return weights whose sum is 0 or more where the share of passing events is at least ``share_at_least``."""
    assert leaf.share_at_least is not None
    passed = marks(fields_pass(leaf.where)) * SHARE_PARTS - leaf.share_at_least
    matching = _with_keys(rows, by).filter(is_type(*leaf.events))
    return _row(matching, by, passed, nw.lit(""), leaf.within_days)


def _of_events(leaf: EventTest, rows: Frame, by: Sequence[str]) -> Frame:
    matching = _passing(_with_keys(rows, by).filter(is_type(*leaf.events)), leaf.where)
    thing = nw.lit("") if leaf.distinct is None else _thing(leaf.distinct)
    matching = matching.filter(~thing.is_null()) if leaf.distinct else matching
    weight = nw.lit(1) if leaf.sum_of is None else nw.col(leaf.sum_of)
    return _row(matching, by, weight, thing, leaf.within_days)


def _of_orders(leaf: OrderTest, rows: Frame, by: Sequence[str]) -> Frame:
    lines = _with_keys(rows, by).filter(is_type(c.PURCHASE))
    keys = tuple(dict.fromkeys((*by, c.USER_ID, ORDER_KEY)))
    orders = lines.with_columns(nw.lit(1).cast(nw.Int64).alias("lines")).group_by(*keys).agg(
        nw.col(AT_US).max(), *(nw.col(name).sum() for name in ("amount", "units", "lines"))
    )  # fmt: skip
    if c.ITEM_ID not in by:
        orders = orders.with_columns(nw.lit(None).cast(nw.String).alias(c.ITEM_ID))
    return _row(_passing(orders, leaf.tests), by, nw.lit(1), nw.lit(""), leaf.within_days)


def _of_open(leaf: OpenTest, rows: Frame, by: Sequence[str]) -> Frame:
    """An event is answered by the first follower behind it; one cumulative minimum from the end finds it.

    Instants are doubled, so that a follower of another type at the same instant lies behind, of its own type before::

        cart 10, purchase 10   opener 19, follower 20    answered at 10
        purchase 10, again 30  openers 21 and 61, followers 20 and 60    the first is answered at 30
    """
    rows = _with_keys(rows, by).filter(is_type(*leaf.events, *leaf.not_followed_by))
    same = _same(leaf, by)
    rows = rows.filter(~nw.col(same[-1]).is_null()) if leaf.of_same else rows
    kept = tuple(dict.fromkeys((*same, *by, AT_US, c.ITEM_ID)))
    late = marks(is_type(*leaf.not_followed_by)) * 2 - 1
    openers = _passing(rows.filter(is_type(*leaf.events)), leaf.where).select(
        *kept, (nw.col(AT_US) * 2 + late).alias("place"), nw.lit(2 * FOREVER).cast(nw.Int64).alias("answer")
    )
    followers = rows.filter(is_type(*leaf.not_followed_by)).select(
        *kept, (nw.col(AT_US) * 2).alias("place"), (nw.col(AT_US) * 2).alias("answer")
    )
    both = stacked([openers, followers])
    next_answer = nw.col("answer").cum_min(reverse=True).over(*same, order_by="place")
    waited = both.with_columns(next_answer.alias("answered")).filter(nw.col("answer") == 2 * FOREVER)
    return _spans_of_open(waited, leaf, by)


def _spans_of_open(waited: Frame, leaf: OpenTest, by: Sequence[str]) -> Frame:
    start = nw.col(AT_US) + round(leaf.for_hours * HOUR_US)
    answered = nw.col("answered") // 2
    latest = nw.lit(FOREVER) if leaf.within_days is None else nw.col(AT_US) + round(leaf.within_days * DAY_US)
    end = nw.when(answered < latest).then(answered).otherwise(latest)
    spans = waited.with_columns(start.cast(nw.Int64).alias(START_US), end.cast(nw.Int64).alias(END_US))
    spans = spans.with_columns(nw.lit(1).cast(nw.Int64).alias(WEIGHT), nw.lit("").alias(THING))
    return spans.filter(nw.col(END_US) > nw.col(START_US)).select(*_columns(by))


def _row(matching: Frame, by: Sequence[str], weight: nw.Expr, thing: nw.Expr, within_days: float | None) -> Frame:
    end = nw.lit(FOREVER) if within_days is None else nw.col(AT_US) + round(within_days * DAY_US)
    spans = matching.with_columns(
        weight.cast(nw.Int64).alias(WEIGHT), thing.alias(THING),
        nw.col(AT_US).alias(START_US), end.cast(nw.Int64).alias(END_US),
    )  # fmt: skip
    return spans.select(*_columns(by))


def _passing(rows: Frame, where: Sequence[FieldTest]) -> Frame:
    return rows.filter(fields_pass(where)) if where else rows


def _columns(by: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*by, AT_US, c.ITEM_ID, THING, WEIGHT, START_US, END_US)))


def _with_keys(rows: Frame, by: Sequence[str]) -> Frame:
    return rows.filter(~nw.col(c.ITEM_ID).is_null()) if c.ITEM_ID in by else rows


def _same(leaf: OpenTest, by: Sequence[str]) -> tuple[str, ...]:
    of_same = {"item": c.ITEM_ID, "session": c.SESSION_ID, "order": ORDER_KEY}
    return tuple(dict.fromkeys((*by, *([of_same[leaf.of_same]] if leaf.of_same else []))))


def _thing(distinct: Distinct) -> nw.Expr:
    if distinct == "day":
        return day_number(c.LOCAL_DAY).cast(nw.String)
    if distinct == "category":
        return top_category()
    return nw.col({"item": c.ITEM_ID, "order": ORDER_KEY, "session": c.SESSION_ID, "brand": c.BRAND}[distinct])
