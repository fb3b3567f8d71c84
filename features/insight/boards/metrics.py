"""The figures of a board: what each is, of one customer and of all.

Each customer has counts; a metric is the sum of a count, or the sum of one over the sum of another:

    average_order = sum of revenue / sum of orders
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from features import columns as c
from features.errors import ConfigError, did_you_mean
from features.tables.expressions import order_sql
from features.tables.visits import VISIT_EVENTS

Unit = Literal["count", "share", "money", "number"]

_AMOUNT: Final = "coalesce(quantity, 1) * coalesce(price, 0)"
_IN_SHOP: Final = ", ".join(f"'{name}'" for name in VISIT_EVENTS)


def _any(condition: str) -> str:
    return f"max(CASE WHEN {condition} THEN 1 ELSE 0 END)"


def _is(event_type: str) -> str:
    return f"event_type = '{event_type}'"


def _orders(condition: str = "true") -> str:
    return f"count(DISTINCT CASE WHEN {_is(c.PURCHASE)} AND {condition} THEN {order_sql()} END)"


def _sum(value: str, event_type: str) -> str:
    return f"sum(CASE WHEN {_is(event_type)} THEN {value} ELSE 0 END)"


# Of one customer's rows in a group; ``is_first_day`` says whether the row's day is the first of the customer's log.
CUSTOMER_COUNTS: Final = {
    "active": _any(f"event_type IN ({_IN_SHOP})"),
    "new": _any(f"is_first_day AND event_type IN ({_IN_SHOP})"),
    "bought": _any(_is(c.PURCHASE)),
    "views": _sum("1", c.VIEW),
    "carts": _sum("1", c.CART),
    "carted": _any(_is(c.CART)),
    "carted_and_bought": f"least({_any(_is(c.CART))}, {_any(_is(c.PURCHASE))})",
    "orders": _orders(),
    "coupon_orders": _orders("coupon_id IS NOT NULL"),
    "units": _sum("coalesce(quantity, 1)", c.PURCHASE),
    "revenue": _sum(_AMOUNT, c.PURCHASE),
    "refunded": _sum(_AMOUNT, c.REFUND),
}


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure.

    Args:
        name: as boards say it.
        of: the count that is summed.
        over: the count whose sum it is divided by; none for a plain sum.
        unit: how it is written.
    """

    name: str
    of: str
    over: str = ""
    unit: Unit = "count"


METRICS: Final = {
    metric.name: metric
    for metric in (
        Metric(name="active_customers", of="active"),
        Metric(name="new_customers", of="new"),
        Metric(name="buyers", of="bought"),
        Metric(name="views", of="views"),
        Metric(name="carts", of="carts"),
        Metric(name="orders", of="orders"),
        Metric(name="units", of="units"),
        Metric(name="revenue", of="revenue", unit="money"),
        Metric(name="refunded", of="refunded", unit="money"),
        Metric(name="conversion", of="bought", over="active", unit="share"),
        Metric(name="cart_to_purchase", of="carted_and_bought", over="carted", unit="share"),
        Metric(name="average_order", of="revenue", over="orders", unit="money"),
        Metric(name="units_per_order", of="units", over="orders", unit="number"),
        Metric(name="orders_per_buyer", of="orders", over="bought", unit="number"),
        Metric(name="revenue_per_customer", of="revenue", over="active", unit="money"),
        Metric(name="coupon_use", of="coupon_orders", over="orders", unit="share"),
        Metric(name="refund_rate", of="refunded", over="revenue", unit="share"),
    )
}


def metric_named(name: object, *, where: str) -> Metric:
    """Return a metric.

    Raises:
        ConfigError: there is none of this name.
    """
    if not isinstance(name, str) or name not in METRICS:
        hint = did_you_mean(str(name), METRICS)
        raise ConfigError(f"{where}: expected a metric ({', '.join(METRICS)}), found {name!r}.{hint}")
    return METRICS[name]
