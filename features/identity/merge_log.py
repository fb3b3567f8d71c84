"""Why each id is where it is: one row an id that joined a customer, one row a link that was left out.

at      action    customer_id  id_a  id_b  reason  evidence  count
2 May   merged    ann          d1    ann   login   login     3
4 May   left_out  d2           d2    bob   shared  event     1
"""

from __future__ import annotations

from typing import Any, Final

import narwhals as nw

from features.identity.frames import Frame, stacked
from features.identity.graph import CUSTOMER_ID, IdentityGraph, used
from features.identity.linking import USED
from features.tables.expressions import frame_of

MERGED: Final = "merged"
LEFT_OUT: Final = "left_out"
MERGE_LOG_COLUMNS: Final = (
    "at",
    "action",
    CUSTOMER_ID,
    "id_a",
    "type_a",
    "id_b",
    "type_b",
    "reason",
    "evidence",
    "count",
    "first_seen",
    "last_seen",
)
_LINK: Final = ("id_a", "type_a", "id_b", "type_b", "count", "first_seen", "last_seen")


def merge_log(graph: IdentityGraph) -> Any:
    """Return the merge log of a graph, a frame of its engine.

    ``merged``: an id other than the customer's own, with the earliest link that ties it to the customer; ``id_a`` is
    that id, ``at`` the link's first instant, ``reason`` the link's kind (stated, login, event). ``left_out``: a link
    that merges nothing, ``reason`` its status (denied, shared, ...), ``at`` its first instant, ``customer_id`` that
    of ``id_a``. ``evidence`` is the link's kind.

    Returns:
        ``MERGE_LOG_COLUMNS``.
    """
    return stacked(_merged(graph), _left_out(graph)).to_native()


def _merged(graph: IdentityGraph) -> Frame:
    """For each id but the customer's own its earliest link in use, seen from that id; of equals the least other end."""
    ids = frame_of(graph.ids).select(nw.col("id").alias("id_a"), nw.col("id_type").alias("type_a"), CUSTOMER_ID)
    joined = ids.filter(nw.col("id_a") != nw.col(CUSTOMER_ID))
    links = used(graph.links)
    both = stacked(_seen_from(links, "a", "b"), _seen_from(links, "b", "a"))
    found = both.join(joined, on=["id_a", "type_a"], how="inner").with_columns(nw.lit(1).alias("one"))
    place = nw.col("one").cum_sum().over("id_a", "type_a", order_by=["first_seen", "type_b", "id_b"]).cast(nw.Int64)
    first = found.with_columns(place.alias("place")).filter(nw.col("place") == 1)
    return first.select(
        nw.col("first_seen").alias("at"),
        nw.lit(MERGED).alias("action"),
        CUSTOMER_ID,
        *_LINK[:4],
        nw.col("reason"),
        nw.col("reason").alias("evidence"),
        *_LINK[4:],
    ).select(*MERGE_LOG_COLUMNS)


def _seen_from(links: Frame, one: str, other: str) -> Frame:
    return links.select(
        nw.col(f"id_{one}").alias("id_a"),
        nw.col(f"type_{one}").alias("type_a"),
        nw.col(f"id_{other}").alias("id_b"),
        nw.col(f"type_{other}").alias("type_b"),
        *_LINK[4:],
        "reason",
    )


def _left_out(graph: IdentityGraph) -> Frame:
    ids = frame_of(graph.ids).select(nw.col("id").alias("id_a"), nw.col("id_type").alias("type_a"), CUSTOMER_ID)
    links = frame_of(graph.links).filter(nw.col("status") != USED)
    return (
        links.join(ids, on=["id_a", "type_a"], how="left")
        .select(
            nw.col("first_seen").alias("at"),
            nw.lit(LEFT_OUT).alias("action"),
            CUSTOMER_ID,
            *_LINK[:4],
            nw.col("status").alias("reason"),
            nw.col("reason").alias("evidence"),
            *_LINK[4:],
        )
        .select(*MERGE_LOG_COLUMNS)
    )
