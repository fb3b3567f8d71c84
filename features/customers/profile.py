"""The profile's parts of the customer table: orders, visits, hours, preferences, answers, price, outside tags."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Literal

import narwhals as nw
import pyarrow as pa

from features import columns as c
from features.contract.tables import COUPONS, PLAN, USERS
from features.customers.basics import buyers, traded
from features.customers.context import Context
from features.customers.parts import CustomerColumn, Gathered, Part, column
from features.customers.workbench import Frame
from features.engine import sql_text
from features.tables import answers, hours, order_habits, prices, shares, sql, visits
from features.tables import price_sensitivity as price
from features.tables.expressions import frame_of

TAG_PREFIX: Final = "tag_"
TOP: Final = 3  # values in a list of the favourite ones
_NO_USERS: Final = pa.schema({c.USER_ID: pa.string(), "membership": pa.string(), "signup_day": pa.date32()})


def all_visits(context: Context) -> Frame:
    """Return one row a visit; made once for all parts."""
    gap = context.shop.profile.visit_gap_minutes
    return context.once("visits", lambda: visits.visits(context.rows, gap_minutes=gap))


def list_prices(context: Context) -> Frame:
    """Return the list price of each item and period, of all users' rows; made once for all parts."""
    s, everyone = context.shop.profile, context.everyone
    days, percent = s.list_price_days, s.list_price_percent
    make = partial(prices.list_prices, everyone.rows, as_of=context.as_of, days=days, percent=percent)
    return everyone.once("list_prices", make)


def interest(context: Context) -> Frame:
    """Return each user's decayed interest in each item; made once for all parts."""
    s = context.shop.profile
    make = partial(
        shares.interest,
        context.rows,
        as_of=context.as_of,
        half_life_days=s.half_life_days,
        event_weights=s.event_weights,
    )
    return context.once("interest", make)


def _moments(context: Context) -> Frame:
    return context.once("moments", lambda: hours.moments(all_visits(context), context.rows))


def _orders(context: Context) -> Frame:
    rows, s = traded(context), context.shop.profile
    days, least = s.list_price_days, s.min_discount_percent
    cheap = order_habits.discounts(rows, list_prices(context), as_of=context.as_of, days=days, min_percent=least)
    others = (order_habits.days_between_orders(rows), order_habits.refunds(rows), cheap)
    return _side_by_side(order_habits.repeats(rows, buyers(context)), *others)


def _visits(context: Context) -> Frame:
    return visits.visit_habits(all_visits(context), as_of=context.as_of)


def _hour_counts(context: Context) -> Frame:
    return context.once("hour counts", lambda: hours.hour_counts(_moments(context)))


def _hour_habits(context: Context) -> Frame:
    def make() -> Frame:
        moments = _moments(context)
        favourite = ((c.LOCAL_HOUR, "active_hours"), ("weekday", "active_weekdays"))
        lists = (_top(shares.event_shares(moments, column), name) for column, name in favourite)
        return _side_by_side(hours.weekend_share(moments), *lists)

    return context.once("hour habits", make)


def _hours(context: Context) -> Frame:
    s = context.shop.profile
    written = hours.hours_to_write(_hour_counts(context), quiet_hours=s.quiet_hours, prior=s.hour_prior)
    return _side_by_side(written, _hour_habits(context))


def _mix(context: Context, column_name: str, name: str) -> Frame:
    return _top(shares.event_shares(context.rows, column_name), name, with_shares=True)


def _preferences(context: Context, attribute: str, name: str) -> Frame:
    items = context.items
    if attribute == "price_band":
        items = prices.price_bands(items, num_bands=context.shop.num_price_bands)
    return _top(shares.item_shares(interest(context), items, attribute), name, with_shares=True)


def _chances(context: Context, count: Callable[[Context], Frame], name: str) -> Frame:
    return context.once(f"chances of {name}", lambda: count(context))


def _answers(context: Context, count: Callable[[Context], Frame], name: str) -> Frame:
    rates = answers.shrunk_rates(_chances(context, count, name))
    best = frame_of(answers.best_answers(rates, min_chances=context.shop.profile.min_chances))
    return best.rename({"best": name, "best_rate": f"{name}_rate"}).to_native()


def _themes(context: Context) -> Frame:
    rows = frame_of(context.rows).with_columns(nw.coalesce("content", "campaign").alias("content"))
    return answers.message_answers(rows.to_native(), "content")


def _coupon_uses(context: Context) -> Frame:
    used = ~nw.col(c.COUPON_ID).is_null()
    return context.once("coupon uses", lambda: frame_of(traded(context)).filter(used).to_native())


def _coupon_answers(context: Context) -> Frame:
    coupons = context.by_customer(COUPONS)
    given = coupons if coupons is not None else context.empty_table(COUPONS)
    return answers.coupon_answers(_coupon_uses(context), given)


def _promotion_answers(context: Context) -> Frame:
    plan = context.contract_table(PLAN)
    return answers.promotion_answers(context.rows, plan if plan is not None else context.empty_table(PLAN))


def _occasions(context: Context) -> Frame:
    days, as_of = context.shop.profile.list_price_days, context.as_of
    return context.once(
        "occasions", lambda: price.occasions(context.rows, list_prices(context), as_of=as_of, days=days)
    )


def _price_sensitivity(context: Context) -> Frame:
    seen = _occasions(context)
    cells = context.once("price cells", lambda: price.price_cells(seen))
    slope = context.once("price slope", lambda: price.shop_slope(cells))
    slopes = context.once("item slopes", lambda: price.category_slopes(cells, context.items, slope))
    return price.price_sensitivity(seen, slopes)


def _outside(context: Context) -> Frame:
    users = context.by_customer(USERS)
    if users is None:
        return context.empty(_NO_USERS)
    tags = [name for name in frame_of(users).columns if name.startswith(TAG_PREFIX)]
    first = (nw.col(name).min() for name in ("membership", "signup_at", *tags))
    day = f"CAST(from_utc_timestamp(signup_at, {sql_text(context.shop.time_zone)}) AS DATE) AS signup_day"
    merged = frame_of(users).group_by(c.USER_ID).agg(*first).to_native()
    return sql.run(f"SELECT *, {day} FROM {{merged}}", merged=merged)


def _top(long: Frame, name: str, *, with_shares: bool = False) -> Frame:
    return shares.top_values(long, name, most=TOP, with_shares=with_shares)


def _side_by_side(first: Frame, *others: Frame) -> Frame:
    joined = frame_of(first)
    for other in others:
        joined = joined.join(frame_of(other), on=c.USER_ID, how="left")
    return joined.to_native()


def _listed(name: str, kind: Literal["texts", "wholes"], what: str, missing: str) -> tuple[CustomerColumn, ...]:
    return (
        column(name, kind, "", f"Up to three {what}, the largest share first; {missing}."),
        column(f"{name}_shares", "reals", "shares", f"The share of each of `{name}`; all values' shares sum to 1."),
    )


def _answered(name: str, kind: Literal["text", "money"], what: str, unit: str = "") -> tuple[CustomerColumn, ...]:
    evidence = "missing without `min_chances` of it and one answer"
    return (
        column(name, kind, unit, f"{what} that the customer answers to most; {evidence}."),
        column(f"{name}_rate", "share", "", f"Rate of answers to `{name}`, shrunk to the shop's."),
    )


def _gathered_chances(count: Callable[[Context], Frame], name: str) -> Gathered:
    if count is _coupon_answers:  # who was given one need not be among the users of any rows
        return Gathered(name="coupon uses", make=_coupon_uses)
    return Gathered(name=f"chances of {name}", make=partial(_chances, count=count, name=name))


_ATTRIBUTES: Final[tuple[tuple[str, str, Literal["texts", "wholes"], str], ...]] = (
    ("preferred_categories", c.CATEGORY, "texts", "category paths"),
    ("preferred_brands", c.BRAND, "texts", "brands"),
    ("preferred_price_bands", "price_band", "wholes", "price bands within the category, 1 the cheapest,"),
)
_Count = Callable[[Context], Frame]
_ANSWERS: Final[tuple[tuple[str, _Count, Literal["text", "money"], str, str], ...]] = (
    ("best_medium", lambda x: answers.message_answers(x.rows, "medium"), "text", "Message medium", ""),
    ("best_theme", _themes, "text", "Campaign theme (`content` of its messages, else `campaign`)", ""),
    ("best_coupon", _coupon_answers, "money", "Coupon size (value, first digit kept)", "minor units"),
    ("best_promotion", _promotion_answers, "text", "Promotion type (discount, display or mailer)", ""),
)
_NONE: Final = "missing where no event says"
_NO_INTEREST: Final = "missing without interest in an item that has one"

PROFILE: Final = (
    Part(
        name="orders",
        build=_orders,
        by_user=True,
        columns=(
            column(
                "repeat_rate", "share", "", "Share of the customer's orders after the first: (orders - 1) / orders."
            ),
            column("rebuy_share", "share", "", "Share of purchase rows with an item bought on an earlier day."),
            column("units_per_order", "real", "units", "Units bought by orders."),
            column(
                "days_between_orders",
                "real",
                "days",
                "Median days from one day with a purchase to the next; missing with fewer than two.",
            ),
            column("refunded", "money", "minor units", "Value of what was sent back."),
            column("refund_rate", "share", "", "Value sent back by value bought, at most 1; missing without a price."),
            column(
                "discount_share",
                "share",
                "",
                "Share of spend at `min_discount_percent` or more below the item's list price of that period.",
            ),
        ),
    ),
    Part(
        name="visits",
        build=_visits,
        by_user=True,
        columns=(
            column("num_visits", "count", "visits", "Sessions; without an id, events without a pause of 30 minutes."),
            column("num_visits_28d", "count", "visits", "Visits of the last 28 local days, `as_of` included."),
            column("active_days", "count", "days", "Distinct local days with a visit."),
            column("depth", "real", "events", "Events a visit, mean."),
            column("views_per_visit", "real", "views", "Item views a visit, mean."),
            column("dwell_seconds", "real", "seconds", "Time spent a visit, median; first to last event if not told."),
            column("visit_conversion", "share", "", "Share of visits with a purchase."),
        ),
    ),
    Part(
        name="hours",
        build=_hours,
        gathers=(
            Gathered(name="hour counts", make=_hour_counts),
            Gathered(name="hour habits", make=_hour_habits),
        ),
        columns=(
            column("num_moments", "count", "moments", "Starts of visits and messages opened: what the hours rest on."),
            column("best_hour", "hour", "local hour", "Hour to write: the largest smoothed share outside quiet hours."),
            column("best_hour_share", "share", "", "Smoothed share of the best hour, mixed with the shop's hours."),
            column("quiet_from", "hour", "local hour", "First hour of the least active `quiet_hours` in a row."),
            column("quiet_until", "hour", "local hour", "First hour after the quiet stretch."),
            column("weekend_share", "share", "", "Share of moments on Saturday and Sunday."),
            column("active_hours", "wholes", "local hours", "Up to three hours with the most moments."),
            column("active_weekdays", "wholes", "1 Monday to 7", "Up to three days of the week with the most moments."),
        ),
    ),
    *(
        Part(
            name=name,
            build=partial(_mix, column_name=source, name=name),
            columns=_listed(name, "texts", what, _NONE),
        )
        for name, source, what in (
            ("regions", c.REGION, "regions of events"),
            ("devices", c.DEVICE_ID, "devices of events"),
            ("channels", c.CHANNEL, "channels of events"),
        )
    ),
    *(
        Part(
            name=name,
            build=partial(_preferences, attribute=attribute, name=name),
            columns=_listed(name, kind, f"{what} by interest that halves every `half_life_days`", _NO_INTEREST),
            by_user=True,
        )
        for name, attribute, kind, what in _ATTRIBUTES
    ),
    *(
        Part(
            name=name,
            build=partial(_answers, count=count, name=name),
            columns=_answered(name, kind, what, unit),
            gathers=(_gathered_chances(count, name),),
        )
        for name, count, kind, what, unit in _ANSWERS
    ),
    Part(
        name="price_sensitivity",
        build=_price_sensitivity,
        gathers=(Gathered(name="occasions", make=_occasions),),
        columns=(
            column(
                "price_sensitivity",
                "real",
                "% a %",
                "How many percent more often an item is taken when it costs 1% less; shrunk to category and shop.",
            ),
            column(
                "price_information",
                "real",
                "",
                "What the customer's own occasions say, in units of the prior; 0: the figure is its categories'.",
            ),
        ),
    ),
    Part(
        name="outside",
        build=_outside,
        prefix=TAG_PREFIX,
        columns=(
            column("membership", "text", "", "As the shop's users table has it."),
            column("signup_day", "day", "", "Local day of the sign-up, from the shop's users table."),
        ),
    ),
)
