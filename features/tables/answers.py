"""What each customer answers to: message medium, campaign theme, coupon size, promotion type.

Each is counted as chances and answers of a customer and an arm, and turned into rates that are shrunk to the shop's.
"""

from __future__ import annotations

from typing import Any, Final

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.tables.expressions import frame_of, grouped, is_type, marks

ARM: Final = "arm"
_MESSAGES: Final = {
    "sent": "message_sent",
    "delivered": "message_delivered",
    "bounced": "message_bounced",
    "opened": "message_opened",
    "clicked": "message_clicked",
}
_COUNTS: Final = ("num_chances", "num_answers")
_DIGITS: Final = 12
# Bounds of the correlation within a customer: below, all customers are alike; above, each answers always or never.
_LEAST_CORRELATION: Final = 1e-3
_MOST_CORRELATION: Final = 1 - 1e-3


def message_answers(events: IntoFrameT, column: str) -> IntoFrameT:
    """Return how many messages reached each customer and how many it opened or clicked, by an arm.

    Reached are the sent without the bounced, or the delivered where these are more. A message that is opened twice
    counts no more than once for each that reached: answers are at most chances.

    Args:
        events: rows of the event log.
        column: the arm, such as ``medium`` or ``campaign``; rows without it are left out.

    Returns:
        user_id, arm, num_chances (at least 1), num_answers.
    """
    rows = frame_of(events).filter(is_type(*_MESSAGES.values()) & ~nw.col(column).is_null())
    rows = rows.with_columns(*(marks(is_type(kind)).alias(name) for name, kind in _MESSAGES.items()))
    names = list(_MESSAGES)
    sums = grouped(rows, [c.USER_ID, column], *(nw.col(name).sum() for name in names), whole=names)
    reached = nw.max_horizontal(nw.col("sent") - nw.col("bounced"), nw.col("delivered"))
    answers = nw.max_horizontal("opened", "clicked")
    return _counted(sums, column, reached, answers).to_native()


def coupon_answers(events: IntoFrameT, coupons: IntoFrameT) -> IntoFrameT:
    """Return how many coupons of each size each customer was given and how many it used.

    The size is the value with its first digit kept: 500 of 500 to 599, 1000 of 1000 to 1999.

    Args:
        events: rows of the event log; a purchase with a coupon_id uses it.
        coupons: coupon_id, user_id, value.

    Returns:
        user_id, arm (int64, minor units), num_chances, num_answers.
    """
    used = frame_of(events).filter(is_type(c.PURCHASE) & ~nw.col(c.COUPON_ID).is_null())
    used = used.select(c.USER_ID, c.COUPON_ID).unique().with_columns(nw.lit(1).cast(nw.Int64).alias("used"))
    given = frame_of(coupons).select(c.USER_ID, c.COUPON_ID, _first_digit("value").alias(ARM))
    joined = given.join(used, on=[c.USER_ID, c.COUPON_ID], how="left")
    joined = joined.with_columns(nw.col("used").fill_null(0).cast(nw.Int64))
    sums = grouped(joined, [c.USER_ID, ARM], nw.len().alias("given"), nw.col("used").sum(), whole=("given", "used"))
    return _counted(sums, ARM, nw.col("given"), nw.col("used")).to_native()


def promotion_answers(events: IntoFrameT, plan: IntoFrameT) -> IntoFrameT:
    """Return how many promoted items each customer looked at and how many of them it bought on that day.

    An item and day is one chance. It counts for each kind of promotion that the plan has for it: ``discount``
    (a promotion), ``display`` and ``mailer``.

    Args:
        events: rows of the event log.
        plan: item_id, day, promotion, display, mailer.

    Returns:
        user_id, arm, num_chances (at least 1), num_answers.
    """
    kinds = {"discount": c.PROMOTION, "display": c.DISPLAY, "mailer": c.MAILER}
    planned = frame_of(plan).select(
        c.ITEM_ID, c.DAY, *(marks(nw.col(column).fill_null(0) > 0).alias(name) for name, column in kinds.items())
    )
    planned = planned.filter(nw.any_horizontal(*(nw.col(name) > 0 for name in kinds), ignore_nulls=False))
    key = [c.USER_ID, c.ITEM_ID, c.LOCAL_DAY]
    known = frame_of(events).filter(is_type(c.VIEW, c.PURCHASE) & ~nw.col(c.ITEM_ID).is_null())
    known = known.select(*key, marks(is_type(c.VIEW)).alias("viewed"), marks(is_type(c.PURCHASE)).alias("bought"))
    # What is promoted first: of most views nothing more need be known.
    met = known.join(planned, left_on=[c.ITEM_ID, c.LOCAL_DAY], right_on=[c.ITEM_ID, c.DAY], how="inner")
    names = ("viewed", "bought")
    once = grouped(met, key, *(nw.col(name).max() for name in (*names, *kinds)), whole=[*names, *kinds])
    once = once.filter(nw.col("viewed") > 0)
    arms = [
        once.filter(nw.col(name) > 0).select(c.USER_ID, nw.lit(name).alias(ARM), "viewed", "bought") for name in kinds
    ]
    sums = grouped(nw.concat(arms), [c.USER_ID, ARM], *(nw.col(name).sum() for name in names), whole=names)
    return _counted(sums, ARM, nw.col("viewed"), nw.col("bought")).to_native()


def shrunk_rates(counts: IntoFrameT) -> IntoFrameT:
    """Return each customer's rate of answers, shrunk to the rate that its arm has in the shop.

        rate = (answers + strength * p) / (chances + strength)

    ``p`` is the arm's rate in the shop. The strength is ``1 / correlation - 1``, where the correlation of answers
    within a customer is what makes the spread of customers' rates as wide as it was found::

        S = sum n_i (p_i - p)^2,   correlation = (S / (p (1 - p)) - (G - 1)) / (N - sum n_i^2 / N - (G - 1))

    with n_i chances of customer i, N of all, G customers. Where customers differ no more than chance would have
    them, the correlation is small and everybody gets nearly the shop's rate.

    Args:
        counts: user_id, arm, num_chances, num_answers; from the functions above.

    Returns:
        user_id, arm, num_chances, num_answers, rate.

    Source: beta-binomial moments, Kleinman (1973), "Proportions with extraneous variance".
    """
    rows = frame_of(counts)
    n, k = nw.col("num_chances").cast(nw.Float64), nw.col("num_answers").cast(nw.Float64)
    rows = rows.with_columns(n.alias("n"), k.alias("k"), (n * n).alias("n2"), (k * k / n).alias("k2"))
    names = ("n", "k", "n2", "k2")
    sums = rows.group_by(ARM).agg(
        nw.len().alias("groups"), *(nw.col(name).sum().alias(f"all_{name}") for name in names)
    )
    joined = rows.join(_strengths(sums), on=ARM, how="inner")
    rate = (k + nw.col("strength") * nw.col("shop_rate")) / (n + nw.col("strength"))
    return joined.select(c.USER_ID, ARM, *_COUNTS, rate.alias("rate")).to_native()


def _strengths(sums: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    groups, chances, answers = nw.col("groups").cast(nw.Float64), nw.col("all_n"), nw.col("all_k")
    shop_rate = answers / chances
    variance = shop_rate * (1 - shop_rate)
    spread = nw.col("all_k2") - answers * answers / chances
    room = chances - nw.col("all_n2") / chances - (groups - 1)
    # Without a spread to explain, or room to tell one, customers count as alike.
    found = (answers > 0) & (answers < chances) & (room > 0)
    safe_variance = nw.when(found).then(variance).otherwise(nw.lit(1.0))
    safe_room = nw.when(found).then(room).otherwise(nw.lit(1.0))
    correlation = nw.when(found).then((spread / safe_variance - (groups - 1)) / safe_room).otherwise(nw.lit(0.0))
    bounded = nw.max_horizontal(nw.lit(_LEAST_CORRELATION), nw.min_horizontal(nw.lit(_MOST_CORRELATION), "correlation"))
    arms = sums.with_columns(correlation.alias("correlation"))
    return arms.select(ARM, shop_rate.alias("shop_rate"), (1 / bounded - 1).alias("strength"))


def best_answers(rates: IntoFrameT, *, min_chances: int) -> IntoFrameT:
    """Return the arm that each customer answers to most, where there is evidence.

    An arm is a candidate where the customer had ``min_chances`` of it and answered at least once; of equals the first.

    Args:
        rates: from ``shrunk_rates``.
        min_chances: at least 1.

    Returns:
        user_id, best (the arm), best_rate.
    """
    known = frame_of(rates).filter((nw.col("num_chances") >= min_chances) & (nw.col("num_answers") > 0))
    known = known.with_columns(nw.col("rate").max().over(c.USER_ID).alias("best_rate"))
    best = known.filter(nw.col("rate") == nw.col("best_rate"))
    found = best.group_by(c.USER_ID).agg(nw.col(ARM).min().alias("best"), nw.col("best_rate").max())
    return found.to_native()


def _counted(sums: nw.LazyFrame[Any], arm: str, chances: nw.Expr, answers: nw.Expr) -> nw.LazyFrame[Any]:
    counted = sums.select(
        c.USER_ID, nw.col(arm).alias(ARM), chances.cast(nw.Int64).alias("num_chances"), answers.alias("found")
    )
    counted = counted.filter(nw.col("num_chances") > 0)
    capped = nw.min_horizontal("num_chances", "found").cast(nw.Int64).alias("num_answers")
    return counted.select(c.USER_ID, ARM, "num_chances", capped)


def _first_digit(column: str) -> nw.Expr:
    value = nw.col(column).cast(nw.Int64)
    kept = value
    for digits in range(1, _DIGITS):
        scale = 10**digits
        kept = nw.when(value >= scale).then(value // scale * scale).otherwise(kept)
    return kept.cast(nw.Int64)
