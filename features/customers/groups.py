"""Groups with names: RFM segments, value tiers, and those that a shop asks for, each by a rule that is stated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.tables.expressions import frame_of
from features.tables.ranks import with_below, with_total

CHAMPION: Final = "champion"
LOYAL: Final = "loyal"
POTENTIAL: Final = "potential_loyalist"
NEW: Final = "new"
PROMISING: Final = "promising"
ATTENTION: Final = "need_attention"
SLEEPY: Final = "about_to_sleep"
RISK: Final = "at_risk"
CANNOT_LOSE: Final = "cannot_lose"
HIBERNATING: Final = "hibernating"
LOST: Final = "lost"

# By recency score (a row), and the mean of frequency and monetary score, rounded up (a column: 1, 2, 3, 4, 5).
SEGMENTS: Final[dict[int, tuple[str, str, str, str, str]]] = {
    5: (NEW, POTENTIAL, POTENTIAL, CHAMPION, CHAMPION),
    4: (PROMISING, POTENTIAL, POTENTIAL, LOYAL, CHAMPION),
    3: (PROMISING, SLEEPY, ATTENTION, LOYAL, LOYAL),
    2: (HIBERNATING, SLEEPY, ATTENTION, RISK, RISK),
    1: (LOST, HIBERNATING, RISK, CANNOT_LOSE, CANNOT_LOSE),
}
RFM_SEGMENTS: Final = tuple(dict.fromkeys(name for row in SEGMENTS.values() for name in row))
REST: Final = "rest"


def rfm_segment(scores: IntoFrameT) -> IntoFrameT:
    """Return one row a buyer with the segment of its scores: ``SEGMENTS``, in which every combination has one.

        recency 5, frequency 4, monetary 3      ->      row 5, column (4 + 3 + 1) // 2 = 4: champion

    Args:
        scores: user_id, recency_score, frequency_score, monetary_score (1 to 5).

    Returns:
        user_id, rfm_segment.
    """
    buyers = frame_of(scores).filter(~nw.col("recency_score").is_null())
    worth = (nw.col("frequency_score") + nw.col("monetary_score") + 1) // 2
    cell = (nw.col("recency_score") * 10 + worth).cast(nw.Int64)
    segment = nw.lit(LOST)
    for name in RFM_SEGMENTS:
        cells = [10 * row + place for row, names in SEGMENTS.items() for place, n in enumerate(names, 1) if n == name]
        segment = nw.when(cell.is_in(cells)).then(nw.lit(name)).otherwise(segment)
    return buyers.select(c.USER_ID, segment.alias("rfm_segment")).to_native()


def value_tier(values: IntoFrameT, *, percents: Sequence[int]) -> IntoFrameT:
    """Return one row a customer of known value with the smallest share of customers that holds it.

        percents 1, 5, 20 of 200 customers      ->      top_1: 2, top_5: the next 8, top_20: the next 30, rest: 160

    Equal values share the better tier.

    Args:
        values: user_id, customer_lifetime_value.
        percents: rising.

    Returns:
        user_id, value_tier.
    """
    value = "customer_lifetime_value"
    known = frame_of(values).filter(~nw.col(value).is_null()).select(c.USER_ID, value)
    sized = with_total(with_below(known, value, "better", descending=True), "size")
    tier = nw.lit(REST)
    for percent in reversed(percents):
        tier = nw.when(nw.col("better") * 100 < nw.col("size") * percent).then(nw.lit(f"top_{percent}")).otherwise(tier)
    return sized.select(c.USER_ID, tier.alias("value_tier")).to_native()


@dataclass(frozen=True, kw_only=True)
class Group:
    """A group that a shop asks for.

    Args:
        name: of the group.
        rule: the sentence that says who is in it.
        needs: columns of the customer table that it reads.
        holds: the same rule as an expression; a missing value is no member.
    """

    name: str
    rule: str
    needs: tuple[str, ...]
    holds: nw.Expr


def _score(name: str) -> nw.Expr:
    return nw.col(name).fill_null(0)


_BEST: Final = 4  # of five: the better two fifths
GROUPS: Final = (
    Group(
        name="high_value",
        rule="Lifetime value among the highest fifth: value_tier is not rest.",
        needs=("value_tier",),
        holds=nw.col("value_tier").fill_null(REST) != REST,
    ),
    Group(
        name="price_sensitive",
        rule="Buys much more when an item is discounted: price_sensitivity is above that of four in five buyers.",
        needs=("price_sensitivity",),
        holds=nw.col("price_sensitivity").rank("min", descending=True) * 5 <= nw.col("price_sensitivity").count(),
    ),
    Group(
        name="one_time_buyer",
        rule="One order so far: frequency is 1.",
        needs=("frequency",),
        holds=_score("frequency") == 1,
    ),
    Group(
        name="big_spender",
        rule="Spent more than three in five buyers: monetary_score is 4 or 5.",
        needs=("monetary_score",),
        holds=_score("monetary_score") >= _BEST,
    ),
    Group(
        name="worth_winning_back",
        rule="Likely to be lost, and worth it: churn_risk is at least .5 and monetary_score 4 or 5.",
        needs=("churn_risk", "monetary_score"),
        holds=(nw.col("churn_risk").fill_null(0.0) >= 0.5) & (_score("monetary_score") >= _BEST),
    ),
    Group(
        name="browser",
        rule="Looked and never bought: num_interactions is at least 1, frequency is 0.",
        needs=("num_interactions", "frequency"),
        holds=(_score("num_interactions") >= 1) & (_score("frequency") == 0),
    ),
)


def members(customers: IntoFrameT, group: Group) -> IntoFrameT:
    """Return the user ids of a group.

    Args:
        customers: the customer table's frame, of any engine.
        group: one of ``GROUPS``, or another.

    Returns:
        user_id.
    """
    rows: nw.LazyFrame[Any] = frame_of(customers)
    return rows.with_columns(group.holds.alias("in_group")).filter(nw.col("in_group")).select(c.USER_ID).to_native()
