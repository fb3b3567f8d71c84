"""Recency, frequency, monetary value, each with a score from 1 to 5."""

from __future__ import annotations

import datetime as dt

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.tables.expressions import day_number, frame_of
from features.tables.ranks import with_below, with_total

NUM_SCORES = 5


def rfm(purchases: IntoFrameT, *, as_of: dt.date) -> IntoFrameT:
    """Return one row a buyer: recency_days, frequency, monetary and their scores, 5 the best.

    A score is the fifth of buyers that a value falls in; equal values score alike::

        monetary     100  200  200  300  900        five buyers
        rank           1    2    2    4    5        the lowest of equals
        score          1    2    2    4    5        1 + 5 x (rank - 1) // 5

    Args:
        purchases: from ``purchases``, of events up to ``as_of``.
        as_of: the local day on which recency is 0.

    Returns:
        user_id, recency_days, frequency (orders), monetary (minor units), recency_score, frequency_score,
        monetary_score.

    Source: Hughes, Strategic Database Marketing (1994).
    """
    rows = frame_of(purchases).select(
        c.USER_ID,
        (nw.lit(as_of.toordinal()) - day_number("last_purchase_day")).alias("recency_days"),
        nw.col("num_orders").alias("frequency"),
        "monetary",
    )
    places = {"recency_days": "recency_score", "frequency": "frequency_score", "monetary": "monetary_score"}
    for name, score in places.items():
        rows = with_below(rows, name, score, descending=name == "recency_days")
    rows = with_total(rows, "buyers")
    fifth = (
        (nw.col(score) * NUM_SCORES // nw.col("buyers") + 1).cast(nw.Int64).alias(score) for score in places.values()
    )
    return rows.select(c.USER_ID, *places, *fifth).to_native()
