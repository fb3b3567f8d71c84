"""The identity graph: links with what became of them, ids with their customer; built whole or brought up to date."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import narwhals as nw

from features.identity.components import components
from features.identity.evidence import LINK_COLUMNS, combined_links, node
from features.identity.frames import Frame, kept, num_rows, stacked
from features.identity.linking import USED, judged_links, nodes_of
from features.identity.settings import IdentitySettings
from features.tables.expressions import frame_of

CUSTOMER_ID: Final = "customer_id"
ID_COLUMNS: Final = ("id", "id_type", CUSTOMER_ID, "neighbourhood", "first_seen", "last_seen")
JUDGED_COLUMNS: Final = (*LINK_COLUMNS, "status")


@dataclass(frozen=True, kw_only=True, eq=False)
class IdentityGraph:
    """What the links say, as frames of one engine.

    Args:
        links: ``JUDGED_COLUMNS``, one row a pair of ids.
        ids: ``ID_COLUMNS``, one row an id of any link. ``neighbourhood`` is the same for all ids that any chain of
            links joins, whatever their status: what happens in one neighbourhood touches no other.
    """

    links: Any
    ids: Any

    @classmethod
    def build(cls, links: Any, denials: Any, settings: IdentitySettings) -> IdentityGraph:
        """Link ids into customers.

        Args:
            links: ``LINK_COLUMNS``, one row a pair (``combined_links``); a pandas, DuckDB or PySpark frame.
            denials: id_a, type_a, id_b, type_b: pairs that are not one customer; of the same engine.
            settings: types and limits.
        """
        frame = kept(frame_of(links).select(*LINK_COLUMNS))
        judged, roots = judged_links(frame, _pairs(denials), settings)
        around = components(judged).select("node", nw.col("root").alias("neighbourhood"))
        ids = _named(judged, roots, settings).join(around, on="node", how="left").select(*ID_COLUMNS)
        return cls(links=judged.select(*JUDGED_COLUMNS).to_native(), ids=kept(ids).to_native())

    def updated(self, links: Any, denials: Any, settings: IdentitySettings) -> IdentityGraph:
        """Add links seen since; the same as ``build`` from all links, at the cost of what they touch.

        Only neighbourhoods that a new link or a denial reaches are linked again.

        Args:
            links: ``LINK_COLUMNS``, one row a pair; of rows that the graph has not seen.
            denials: all of them, as in ``build``; one that was withdrawn since needs a ``build``.
            settings: as in ``build``.
        """
        new, known = kept(frame_of(links).select(*LINK_COLUMNS)), frame_of(self.ids)
        touched = kept(self._touched(new, frame_of(denials)))
        inside = known.join(touched, on="neighbourhood", how="semi").select("id", "id_type")
        old = frame_of(self.links)
        mark = inside.select(nw.col("id").alias("id_a"), nw.col("id_type").alias("type_a"))
        again = old.join(mark, on=["id_a", "type_a"], how="semi").select(*LINK_COLUMNS)
        fresh = IdentityGraph.build(combined_links(again.to_native(), new.to_native()), denials, settings)
        rest = old.join(mark, on=["id_a", "type_a"], how="anti").select(*JUDGED_COLUMNS)
        others = known.join(touched, on="neighbourhood", how="anti").select(*ID_COLUMNS)
        return IdentityGraph(
            links=kept(stacked(rest, frame_of(fresh.links))).to_native(),
            ids=kept(stacked(others, frame_of(fresh.ids))).to_native(),
        )

    def _touched(self, new: Frame, denials: Frame) -> Frame:
        """The neighbourhoods that hold an end of a new link or of a denial."""
        parts = [
            pairs.select(nw.col(f"id_{x}").alias("id"), nw.col(f"type_{x}").alias("id_type"))
            for pairs in (new, denials)
            for x in "ab"
        ]
        ends = stacked(*parts).unique()
        return frame_of(self.ids).join(ends, on=["id", "id_type"], how="semi").select("neighbourhood").unique()


def _pairs(denials: Any) -> Frame:
    """Denied pairs as nodes in the order of the links, and the one that leaves."""
    rows = frame_of(denials).select(node("id_a", "type_a").alias("a"), node("id_b", "type_b").alias("leaves"))
    ends = (nw.min_horizontal("a", "leaves").alias("node_a"), nw.max_horizontal("a", "leaves").alias("node_b"))
    return kept(rows.select(*ends, "leaves").unique())


def _named(judged: Frame, roots: Frame, settings: IdentitySettings) -> Frame:
    """Each id with its customer: the account seen first in the component, or the id seen first where none is there.

    An id's instants are those of all links that it is an end of, so that they hold whatever becomes of the links.
    """
    ends = stacked(*(judged.select(nw.col(f"node_{x}").alias("node"), "first_seen", "last_seen") for x in "ab"))
    seen = ends.group_by("node").agg(nw.col("first_seen").min(), nw.col("last_seen").max())
    ids = nodes_of(judged).join(roots, on="node", how="inner").join(seen, on="node", how="inner")
    order = nw.when(nw.col("id_type").is_in(list(settings.accounts))).then(nw.lit(0)).otherwise(nw.lit(1))
    ids = kept(ids.with_columns(order.alias("order"), nw.lit(1).alias("one")))
    place = nw.col("one").cum_sum().over("root", order_by=["order", "first_seen", "node"]).cast(nw.Int64)
    first = ids.with_columns(place.alias("place")).filter(nw.col("place") == 1)
    return ids.join(first.select("root", nw.col("id").alias(CUSTOMER_ID)), on="root", how="left")


def num_customers(graph: IdentityGraph) -> int:
    """Return how many customers the linked ids make."""
    return num_rows(frame_of(graph.ids).select(CUSTOMER_ID).unique())


def used(links: Any) -> Frame:
    """Return the links whose two ends are one customer."""
    return frame_of(links).filter(nw.col("status") == USED)
