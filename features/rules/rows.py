"""The events that rules read: the log's rows up to an instant, with the instant as a number and the item's attributes.

user_id  ts                    item_id     ->   user_id  at_us             item_id  category  amount  units ...
ann      2024-05-01 10:00 UTC  i1               ann      1714557600000000  i1       food/tea  600     2
"""

from __future__ import annotations

import datetime as dt
from typing import Final
from zoneinfo import ZoneInfo

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.rules.known_fields import EVENT_FIELDS, ITEM_FIELDS
from features.tables.expressions import amount, frame_of, order_key, units
from features.tables.instants import EPOCH_US, with_epoch_us

AT_US: Final = "at_us"  # UTC microseconds since 1970
ORDER_KEY: Final = "order_key"
_FIELDS: Final = tuple(name for name in EVENT_FIELDS if name not in ITEM_FIELDS)
EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def rule_rows(events: IntoFrameT, items: IntoFrameT, *, as_of_us: int) -> IntoFrameT:
    """Return what rules may read of the log at an instant: nothing after it.

    Args:
        events: rows of the event log, of one purpose.
        items: the contract's items.
        as_of_us: UTC microseconds; events at it still count.

    Returns:
        user_id, event_type, at_us, local_day, order_key, amount (minor units), units, and the fields of
        ``EVENT_FIELDS``.
    """
    rows = frame_of(with_epoch_us(events)).filter(nw.col(EPOCH_US) <= as_of_us)
    rows = rows.select(
        c.USER_ID, c.EVENT_TYPE, nw.col(EPOCH_US).cast(nw.Int64).alias(AT_US), c.LOCAL_DAY, *_FIELDS,
        order_key().alias(ORDER_KEY), amount().alias("amount"), units().alias("units"),
    )  # fmt: skip
    known = frame_of(items).select(c.ITEM_ID, *ITEM_FIELDS)
    return rows.join(known, on=c.ITEM_ID, how="left").to_native()


def end_of_day_us(day: dt.date, zone: ZoneInfo) -> int:
    """Return the last microsecond of a local day: as of it, all that happened on the day counts.

    >>> end_of_day_us(dt.date(1970, 1, 1), ZoneInfo("UTC"))
    86399999999
    """
    midnight = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), tzinfo=zone)
    return instant_us(midnight) - 1


def instant_us(instant: dt.datetime) -> int:
    """Return an aware instant as UTC microseconds since 1970."""
    return (instant - EPOCH) // dt.timedelta(microseconds=1)
