"""Connected components as bounded joins, alike on every engine.

Large-star and small-star in turn (Kiveris, Lattanzi, Mirrokni, Rastogi, Vassilvitskii: "Connected Components in
MapReduce and Beyond", SoCC 2014). An edge points from a node to a lesser one; each step hangs nodes onto lesser ones:

    large-star   each greater neighbour of u hangs onto the least of u and its neighbours
    small-star   u and each lesser neighbour of u hang onto the least of these

    e - d - c - b - a     large   e-c  d-b  c-a  b-a      small   e-c  d-b  c-a  b-a
                          large   e-a  d-a  c-a  b-a      done: every node hangs onto the least of its component
"""

from __future__ import annotations

from typing import Final

import narwhals as nw

from features.identity.frames import Frame, kept, num_rows, stacked, strings

# Rounds grow with the logarithm of the longest path: a path of a million nodes takes some 20.
_MAX_ROUNDS: Final = 200


def components(links: Frame) -> Frame:
    """Return each linked node with the least node of its component.

        node_a  node_b        node  root
        b       c             a     a
        a       b       ->    b     a
        x       y             c     a
                              x     x
                              y     x

    Args:
        links: node_a, node_b; text.

    Returns:
        node, root; one row a node of ``links``.
    """
    ends = links.select(*strings("node_a", "node_b"))
    edges = ends.filter(nw.col("node_a") != nw.col("node_b")).select(
        nw.max_horizontal("node_a", "node_b").alias("child"), nw.min_horizontal("node_a", "node_b").alias("parent")
    )
    edges = kept(edges.unique())
    for _ in range(_MAX_ROUNDS):
        if _are_stars(edges):
            break
        edges = kept(_small_star(_large_star(edges)))
    else:
        raise AssertionError(f"components: not done after {_MAX_ROUNDS} rounds")
    alone = ends.select(nw.col("node_a").alias("node"), nw.col("node_a").alias("root"))
    alone = alone.join(edges.select(nw.col("child").alias("node")), on="node", how="anti")
    roots = edges.select(nw.col("parent").alias("node"), nw.col("parent").alias("root"))
    leaves = edges.select(nw.col("child").alias("node"), nw.col("parent").alias("root"))
    return kept(stacked(leaves, stacked(roots, alone).unique()))


def _large_star(edges: Frame) -> Frame:
    back = edges.select(nw.col("child").alias("node"), nw.col("parent").alias("near"))
    forth = edges.select(nw.col("parent").alias("node"), nw.col("child").alias("near"))
    near = stacked(back, forth)
    least = near.group_by("node").agg(nw.col("near").min().alias("least"))
    hung = near.filter(nw.col("near") > nw.col("node")).join(least, on="node", how="inner")
    return hung.select(nw.col("near").alias("child"), nw.min_horizontal("node", "least").alias("parent")).unique()


def _small_star(edges: Frame) -> Frame:
    least = edges.group_by("child").agg(nw.col("parent").min().alias("least"))
    moved = edges.join(least, on="child", how="inner").filter(nw.col("parent") != nw.col("least"))
    moved = moved.select(nw.col("parent").alias("child"), nw.col("least").alias("parent"))
    return stacked(least.select("child", nw.col("least").alias("parent")), moved).unique()


def _are_stars(edges: Frame) -> bool:
    """Whether every node hangs onto one node, and that one onto none."""
    middle = edges.select(nw.col("parent").alias("child")).join(edges.select("child"), on="child", how="semi")
    parents = edges.group_by("child").agg(nw.len().alias("parents"))
    undecided = parents.filter(nw.col("parents") > 1).select("child")
    return num_rows(stacked(middle, undecided)) == 0
