"""How each customer's behaviour is spread over values: regions, devices, channels, categories, brands, price bands."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any, Final, TypeVar, cast

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.tables import sql
from features.tables.expressions import days_before, frame_of, grouped, is_type

FrameT = TypeVar("FrameT")
WEIGHT: Final = "weight"
# What no text says on both: values of a group in the order of another column. A field of many structs is a list.
_DUCKDB_LIST: Final = "list({column} ORDER BY rank) AS {name}"
_SPARK_LIST: Final = "sort_array(collect_list(struct(rank, {column}))).{column} AS {name}"
# Weights are whole numbers of millionths: their sums are equal on every engine, and so are ranks.
_UNIT: Final = 1_000_000


def shares(rows: IntoFrameT, value: str) -> IntoFrameT:
    """Return one row a user and value: how much of the user's weight it has, and its rank.

        user_id  channel  weight          user_id  value  weight  share  rank
        ann      direct   1               ann      email  3       .75    1
        ann      email    3        ->     ann      direct 1       .25    2

    Args:
        rows: user_id, the column ``value`` (rows without it are left out), ``weight`` (whole numbers, at least 0).
        value: name of the column.

    Returns:
        user_id, value, weight, share (of one user they sum to 1), rank (1 the largest; of equals the first by value).
        Values of no weight are left out.
    """
    known = frame_of(rows).filter(~nw.col(value).is_null()).select(c.USER_ID, nw.col(value).alias("value"), WEIGHT)
    sums = grouped(known, [c.USER_ID, "value"], nw.col(WEIGHT).sum(), whole=[WEIGHT]).filter(nw.col(WEIGHT) > 0)
    total = nw.col(WEIGHT).sum().over(c.USER_ID).cast(nw.Float64)
    sums = sums.with_columns((-nw.col(WEIGHT)).alias("order"), nw.lit(1).alias("one"))
    rank = nw.col("one").cum_sum().over(c.USER_ID, order_by=["order", "value"]).cast(nw.Int64)
    sums = sums.with_columns((nw.col(WEIGHT).cast(nw.Float64) / total).alias("share"), rank.alias("rank"))
    return sums.select(c.USER_ID, "value", WEIGHT, "share", "rank").to_native()


def top_values(shares: FrameT, name: str, *, most: int, with_shares: bool = False) -> FrameT:
    """Return one row a user: its first values as a list, best first.

    Args:
        shares: from ``shares``; a DuckDB relation, a PySpark or a pandas frame.
        name: of the list.
        most: values in it.
        with_shares: whether ``<name>_shares`` lists their shares too.

    Returns:
        user_id, name.
    """
    spark = nw.from_native(cast(Any, shares)).implementation.is_pyspark()
    listed = _SPARK_LIST if spark else _DUCKDB_LIST
    columns = [listed.format(column="value", name=name)]
    columns += [listed.format(column="share", name=f"{name}_shares")] if with_shares else []
    text = f"SELECT {c.USER_ID}, {', '.join(columns)} FROM {{shares}} WHERE rank <= {most} GROUP BY {c.USER_ID}"
    return sql.run(text, shares=shares)


def interest(
    events: IntoFrameT, *, as_of: dt.date, half_life_days: int, event_weights: Mapping[str, int]
) -> IntoFrameT:
    """Return one row a user and item: interest that halves with each ``half_life_days``, in millionths.

        view, today                          1,000,000
        view, one half-life ago                500,000
        purchase (weight 8), two ago         2,000,000

    Args:
        events: rows of the event log.
        as_of: the local day on which nothing has decayed.
        half_life_days: at least 1.
        event_weights: weight of one event by type; other types count nothing.

    Returns:
        user_id, item_id, weight (int64).
    """
    rows = frame_of(events).filter(is_type(*event_weights) & ~nw.col(c.ITEM_ID).is_null())
    of_type = nw.lit(0)
    for event_type, weight in event_weights.items():
        of_type = nw.when(is_type(event_type)).then(nw.lit(weight)).otherwise(of_type)
    rows = rows.with_columns(of_type.alias("of_type"), days_before(c.LOCAL_DAY, as_of).alias("age"))
    decay = (nw.col("age").cast(nw.Float64) * (-math.log(2) / half_life_days)).exp()
    rows = rows.with_columns((nw.col("of_type") * decay * _UNIT + 0.5).floor().cast(nw.Int64).alias(WEIGHT))
    return grouped(rows, [c.USER_ID, c.ITEM_ID], nw.col(WEIGHT).sum(), whole=[WEIGHT]).to_native()


def item_shares(interest: IntoFrameT, items: IntoFrameT, attribute: str) -> IntoFrameT:
    """Return ``shares`` of interest over an attribute of the items.

    Args:
        interest: from ``interest``.
        items: item_id and the attribute; items without it count nothing.
        attribute: such as ``category`` or ``brand``.
    """
    known = frame_of(items).select(c.ITEM_ID, attribute).filter(~nw.col(attribute).is_null())
    joined = frame_of(interest).join(known, on=c.ITEM_ID, how="inner")
    return shares(joined.select(c.USER_ID, attribute, WEIGHT).to_native(), attribute)


def event_shares(events: IntoFrameT, column: str) -> IntoFrameT:
    """Return ``shares`` of a user's rows over a column of theirs.

    Args:
        events: rows with user_id and the column.
        column: such as ``region``, ``device_id`` or ``local_hour``.
    """
    known = frame_of(events).filter(~nw.col(column).is_null()).with_columns(nw.lit(1).cast(nw.Int64).alias(WEIGHT))
    return shares(known.select(c.USER_ID, column, WEIGHT).to_native(), column)
