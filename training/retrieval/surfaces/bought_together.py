"""What is bought along with an item: learned from baskets, not from what is viewed or alike.

A basket is the purchases of one customer with one ``order_id``, or of one local day where there is none.

**How likely.** A basket of n items gives each pair of them the weight 1 / (n - 1): each item hands out one vote. With
w_ij the votes and d_i = sum_j w_ij, the chance that a vote of i goes to j is shrunk towards the habits of i's category
k, and these towards the shop's (m = ``prior_baskets``)::

    p_j      = d_j / sum d                           how often j takes a vote at all
    p_j|k    = (w_kj + m p_j)   / (d_k + m)
    p_j|i    = (w_ij + m p_j|k) / (d_i + m)          the score
    lift_ij  = p_j|i / p_j

**Which pairs.** c_ij baskets hold both, of N that hold two items or more. The null is e_ij = d_i d_j / N: each basket
of several items takes each item by its popularity. Baskets of one item, which can hold no pair, are no evidence
against one. (A null that also keeps the number of partners each item met (Chung and Lu 2002) takes more of the large
baskets' habits away, and with them a fifth of the hits in later baskets of a grocer.) A pair is kept if

*   at least ``min_support`` baskets hold both, and they speak against the null (G², Dunning 1993);
*   of one leaf category: also against the null times what any two items of that category exceed it by. Items that are
    alike are bought by the same people; these two must stand out among them;
*   viewed together in sessions: bought together more often than any two items that are viewed together. Two kettles
    are compared in a session, and one of them is bought: substitutes.

**Too few baskets.** An item's list is filled up with what comes with its category (p_j|k), of other categories than
its own, marked by support 0.
"""

from __future__ import annotations

from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from features.catalog import ItemCatalog
from features.vocabulary import FIRST
from training.retrieval.surfaces.settings import DEFAULT_TOGETHER, BoughtTogetherSettings

Ints = npt.NDArray[np.integer]

COLUMNS: Final = ("item_code", "neighbour_code", "score", "support", "lift")
# Votes are counted in whole parts, so that the order in which threads add up changes nothing.
_VOTE: Final = 1_000_000


def bought_together(
    connection: duckdb.DuckDBPyConnection,
    catalog: ItemCatalog,
    *,
    candidates: Ints,
    settings: BoughtTogetherSettings = DEFAULT_TOGETHER,
) -> pd.DataFrame:
    """Return each item's complements, best first: ``item_code, neighbour_code, score, support, lift``.

    Codes are int32, score and lift float32, support int32: baskets that hold both, 0 where the category speaks for
    the item. Rows are in order of item and falling score.

    Args:
        connection: holds the view ``usable`` (see ``UsableRows.define``).
        catalog: gives the categories.
        candidates: item codes that may be shown.
        settings: evidence asked for, prior, lengths.
    """
    _register_items(connection, catalog, candidates)
    _count_pairs(connection, settings)
    _count_joint_views(connection, settings)
    _score_pairs(connection, settings)
    _score_categories(connection, settings)
    return _lists(connection, settings)


def _register_items(connection: duckdb.DuckDBPyConnection, catalog: ItemCatalog, candidates: Ints) -> None:
    """Register ``known``: leaf category (-1 where unknown) and whether it may be shown, by item."""
    codes = np.arange(FIRST, len(catalog), dtype=np.int32)
    category = pd.Series(catalog.category[FIRST:], dtype=object)
    leaf = pd.factorize(category.where(category != "", None))[0].astype(np.int32)
    shown = np.isin(codes, candidates)
    connection.register("known", pa.table({"item": codes, "leaf": leaf, "shown": shown}))


def _count_pairs(connection: duckdb.DuckDBPyConnection, settings: BoughtTogetherSettings) -> None:
    """Make ``pairs`` (item < neighbour), ``totals`` by item, and ``directed`` with both orders of each pair."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE lines AS
        WITH line AS (
            SELECT DISTINCT hash(user_id, order_id, CASE WHEN order_id IS NULL THEN local_day END) AS basket, item
            FROM usable WHERE event_type = 'purchase'
        ), sized AS (
            SELECT basket, count(*) - 1 AS partners FROM line GROUP BY basket
            HAVING count(*) BETWEEN 2 AND {settings.max_basket}
        )
        SELECT basket, item, partners FROM line JOIN sized USING (basket)""")
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE pairs AS
        SELECT a.item AS item, b.item AS neighbour,
               sum({_VOTE} // a.partners) / {_VOTE} AS votes, count(*) AS support
        FROM lines AS a JOIN lines AS b ON a.basket = b.basket AND a.item < b.item GROUP BY ALL""")
    connection.execute("""
        CREATE OR REPLACE TEMP VIEW directed AS
        SELECT item, neighbour, votes, support FROM pairs UNION ALL
        SELECT neighbour, item, votes, support FROM pairs""")
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE totals AS
        SELECT item, leaf, shown, count(*) AS votes, count(*) / sum(count(*)) OVER () AS share,
               (SELECT count(DISTINCT basket) FROM lines)::DOUBLE AS baskets
        FROM lines JOIN known USING (item) GROUP BY item, leaf, shown""")


def _count_joint_views(connection: duckdb.DuckDBPyConnection, settings: BoughtTogetherSettings) -> None:
    """Make ``browsed``: baskets to expect of each pair that is viewed together, at the shop's rate."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE browsed AS
        WITH looked AS (
            SELECT DISTINCT hash(user_id, session_id, CASE WHEN session_id IS NULL THEN local_day END) AS visit, item
            FROM usable WHERE event_type = 'view'
        ), sized AS (
            SELECT visit FROM looked GROUP BY visit HAVING count(*) BETWEEN 2 AND {settings.max_visit}
        ), visit AS (
            SELECT visit, item FROM looked SEMI JOIN sized USING (visit)
        ), joint AS (
            SELECT a.item AS item, b.item AS neighbour, count(*) AS views
            FROM visit AS a JOIN visit AS b ON a.visit = b.visit AND a.item < b.item GROUP BY ALL
        ), rate AS (
            SELECT sum(support) / sum(views) AS bought FROM joint LEFT JOIN pairs USING (item, neighbour)
        )
        SELECT item, neighbour, views * (SELECT bought FROM rate) AS expected
        FROM joint SEMI JOIN pairs USING (item, neighbour)""")


def _score_pairs(connection: duckdb.DuckDBPyConnection, settings: BoughtTogetherSettings) -> None:
    """Make ``kept``: pairs whose baskets speak for them, in both orders, with the null's and the browsers' share."""
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE alike AS
        WITH found AS (
            SELECT a.leaf AS leaf, 2 * sum(pairs.support) AS support
            FROM pairs JOIN totals AS a ON pairs.item = a.item JOIN totals AS b ON pairs.neighbour = b.item
            WHERE a.leaf = b.leaf AND a.leaf >= 0 GROUP BY a.leaf
        ), expected AS (
            SELECT leaf, (sum(votes) ** 2 - sum(votes ** 2)) / max(baskets) AS support
            FROM totals WHERE leaf >= 0 GROUP BY leaf
        )
        SELECT leaf, greatest(1, (found.support + 1) / (expected.support + 1)) AS excess
        FROM found JOIN expected USING (leaf)""")
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE kept AS
        WITH expected AS (
            SELECT pairs.item, pairs.neighbour, pairs.votes, pairs.support, browsed.expected AS by_browsing,
                   a.votes * b.votes / a.baskets
                       * CASE WHEN a.leaf = b.leaf THEN coalesce(excess, 1) ELSE 1 END AS by_chance
            FROM pairs JOIN totals AS a ON pairs.item = a.item JOIN totals AS b ON pairs.neighbour = b.item
            LEFT JOIN alike ON a.leaf = alike.leaf
            LEFT JOIN browsed ON pairs.item = browsed.item AND pairs.neighbour = browsed.neighbour
            WHERE pairs.support >= {settings.min_support} AND (a.shown OR b.shown)
        )
        SELECT item, neighbour, votes, support FROM expected
        WHERE support > by_chance AND support > coalesce(by_browsing, 0)
          AND 2 * (support * ln(support / by_chance) - support + by_chance) >= {settings.min_evidence}""")


def _score_categories(connection: duckdb.DuckDBPyConnection, settings: BoughtTogetherSettings) -> None:
    """Make ``habits``: the chance that a vote of a leaf category goes to each item, before the item's own baskets."""
    prior = settings.prior_baskets
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE habits AS
        WITH shelves AS (
            SELECT leaf, sum(votes) AS votes FROM totals WHERE leaf >= 0 GROUP BY leaf
        ), joint AS (
            SELECT totals.leaf AS leaf, neighbour, sum((directed.votes * {_VOTE})::BIGINT) / {_VOTE} AS votes
            FROM directed JOIN totals USING (item) WHERE totals.leaf >= 0 GROUP BY ALL
        )
        SELECT joint.leaf AS leaf, neighbour, share, joint.votes AS votes,
               (joint.votes + {prior} * share) / (shelves.votes + {prior}) AS chance
        FROM joint JOIN shelves USING (leaf)
        JOIN (SELECT item AS neighbour, share FROM totals) USING (neighbour)""")


def _lists(connection: duckdb.DuckDBPyConnection, settings: BoughtTogetherSettings) -> pd.DataFrame:
    prior = settings.prior_baskets
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE own AS
        WITH both_ways AS (
            SELECT item, neighbour, votes, support FROM kept UNION ALL
            SELECT neighbour, item, votes, support FROM kept
        ), scored AS (
            SELECT both_ways.item AS item, both_ways.neighbour AS neighbour, both_ways.support AS support,
                   (both_ways.votes + {prior} * coalesce(chance, b.share)) / (a.votes + {prior}) AS score,
                   score / b.share AS lift
            FROM both_ways JOIN totals AS a ON both_ways.item = a.item JOIN totals AS b ON both_ways.neighbour = b.item
            LEFT JOIN habits ON a.leaf = habits.leaf AND both_ways.neighbour = habits.neighbour
            WHERE b.shown
        )
        SELECT item, neighbour, score, support, lift, row_number() OVER best AS place FROM scored
        WINDOW best AS (PARTITION BY item ORDER BY score DESC, support DESC, neighbour)
        QUALIFY place <= {settings.max_neighbours}""")
    frame: pd.DataFrame = connection.sql(f"""
        WITH complements AS (
            SELECT habits.leaf AS leaf, neighbour, chance, chance / share AS lift
            FROM habits JOIN known ON habits.neighbour = known.item
            WHERE known.shown AND known.leaf <> habits.leaf AND habits.votes > 1
            QUALIFY row_number() OVER (PARTITION BY habits.leaf ORDER BY chance DESC, neighbour) <= {2 * settings.fill_to}
        ), lengths AS (
            SELECT item, count(*) AS length, min(score) AS lowest FROM own GROUP BY item
        ), fill AS (
            SELECT known.item AS item, neighbour, least(chance, coalesce(lowest, chance)) AS score, 0 AS support,
                   complements.lift AS lift, chance,
                   row_number() OVER (PARTITION BY known.item ORDER BY chance DESC, neighbour) AS place,
                   coalesce(length, 0) AS length
            FROM known JOIN complements USING (leaf) LEFT JOIN lengths ON known.item = lengths.item
            ANTI JOIN own ON known.item = own.item AND complements.neighbour = own.neighbour
            WHERE known.item <> neighbour AND coalesce(length, 0) < {settings.fill_to}
        )
        SELECT item::INTEGER AS item_code, neighbour::INTEGER AS neighbour_code, score::FLOAT AS score,
               support::INTEGER AS support, lift::FLOAT AS lift
        FROM (
            SELECT item, neighbour, score, support, lift, place FROM own UNION ALL
            SELECT item, neighbour, score, support, lift, length + place FROM fill
            WHERE length + place <= {settings.fill_to}
        ) ORDER BY item, place""").df()
    return frame[list(COLUMNS)]
