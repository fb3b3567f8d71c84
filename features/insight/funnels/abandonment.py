"""Carts and checkouts that were left: how often, where, and what they held.

cart       what a customer put in during one visit (a ``session_id``; the local day where there is none)
abandoned  nothing of it was bought within the window; judged once the window has passed
value      price x quantity of what was put in, of lines neither bought nor taken out again

A line is an item in a cart. Events of one instant are taken in this order: put in, taken out, checkout, bought; those of
one kind in the order of their ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, cast, get_args

import pandas as pd

from features import columns as c
from features.contract.tables import EVENTS, USERS
from features.errors import ConfigError, did_you_mean
from features.insight.collecting import collected
from features.insight.definitions import check_choice
from features.insight.funnels.rows import columns_sql
from features.insight.funnels.steps import check_days
from features.insight.intervals import LEVEL, clustered, effective_number, ratio
from features.rules.conditions import DAY_US
from features.tables.expressions import frame_of, is_type
from features.tables.sql import run

Of = Literal["cart", "checkout"]
NONE: Final = "(none)"
_DEVICE: Final = "device"  # of the users table
_AFTER: Final = "ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING"
LOCAL_WEEK: Final = "local_week"  # its Monday
# Sums over customers, of whose carts some were left.
_SQUARES: Final = {
    "came_sq": ("num_abandoned", "num_abandoned"),
    "came_of": ("num_abandoned", "num_carts"),
    "of_sq": ("num_carts", "num_carts"),
}
_DEVICES: Final = f"SELECT {c.USER_ID}, max({_DEVICE}) AS {_DEVICE} FROM {{users}} GROUP BY {c.USER_ID}"
_PLACE: Final = f"CASE {c.EVENT_TYPE} WHEN '{c.CART}' THEN 0 WHEN '{c.REMOVE_FROM_CART}' THEN 1 WHEN '{c.CHECKOUT}' THEN 2 ELSE 3 END"
_MICROS: Final = f"unix_micros({c.TS})"


def abandonment(
    events: object,
    *,
    last_at_us: int,
    of: Of = "cart",
    by: Sequence[str] = (),
    window_days: float = 1.0,
    users: object | None = None,
    level: float = LEVEL,
) -> pd.DataFrame:
    """Return how many carts or checkouts were abandoned, and what was left in them.

        local_day   num_carts  num_abandoned  rate               num_left  value_left  num_open
        2024-05-01  120        84             0.70 [.61, .77]    140       412,300     3

    Args:
        events: rows of the event log.
        last_at_us: the log's last instant, UTC microseconds.
        of: ``cart``: visits in which something was put in the cart. ``checkout``: visits with a checkout; abandoned if
            the customer bought nothing at all within the window after the first of them.
        by: text columns of events, ``local_day``, ``local_week`` (its Monday), or ``device`` with ``users``; as the first
            event of the cart or checkout has it, ``(none)`` where it has none.
        window_days: how long after it was last put in a line may still be bought.
        users: the contract's users; their ``device`` is joined where ``by`` names it. A customer of several rows, as one
            has who came under several ids, counts once.
        level: of the intervals.

    Returns:
        ``by``; num_carts (or num_checkouts) that are judged, num_abandoned, rate, rate_low, rate_high (Wilson's, for
        as many independent carts as they are worth: a customer's are alike);
        num_left (lines) and value_left (minor units) of the abandoned; num_open: their window is not over, and they are
        not judged, whether bought or not: else the last days would hold the bought ones alone; num_customers whose
        carts are judged; worth (``features.insight.intervals.effective_number``).

    Raises:
        ConfigError: a column is unknown, or the window is not positive.
    """
    check_choice("of", of, get_args(Of))
    check_days("window_days", window_days)
    _check_by(by, users)
    kinds = (c.CART, c.REMOVE_FROM_CART, c.PURCHASE, *([c.CHECKOUT] if of == "checkout" else []))
    rows = frame_of(events).filter(is_type(*kinds))
    if _DEVICE in by:
        rows = rows.join(frame_of(run(_DEVICES, users=users)), on=c.USER_ID, how="left")
    window_us = round(window_days * DAY_US)
    text = f"{_visits_sql(of, by, window_us)} {_summary_sql(by, last_at_us - window_us)}"
    table = collected(run(text, rows=cast(object, rows.to_native())))
    return _with_rates(table, of, by, level)


def _check_by(by: Sequence[str], users: object | None) -> None:
    texts = [column.name for column in EVENTS.columns if column.kind == "text" and column.name != c.EVENT_TYPE]
    known = [c.LOCAL_DAY, LOCAL_WEEK, _DEVICE, *texts]
    assert _DEVICE in USERS.column_names
    for name in by:
        if name not in known:
            raise ConfigError(f"by: expected one of {', '.join(known)}, found {name!r}.{did_you_mean(name, known)}")
    if _DEVICE in by and users is None:
        raise ConfigError("by: expected the users table beside 'device', which is a column of it, found none.")


def _visits_sql(of: Of, by: Sequence[str], window_us: int) -> str:
    """One row a visit: its lines that were left, whether it was converted, and the columns to group by."""
    groups = "".join(f", {_text(name)} AS by_{n}" for n, name in enumerate(by))
    visit = f"coalesce({c.SESSION_ID}, concat('day ', CAST(CAST({c.LOCAL_DAY} AS DATE) AS STRING)))"
    did = f"""
    did AS (
        SELECT {c.USER_ID}, {c.ITEM_ID}, {c.EVENT_ID}, {c.EVENT_TYPE}, {visit} AS visit, {_MICROS} AS us, {_PLACE} AS place,
               coalesce({c.QUANTITY}, 1) * coalesce({c.PRICE}, 0) AS worth{groups} FROM {{rows}})"""
    visits = _cart_visits_sql if of == c.CART else _checkout_visits_sql
    return f"WITH {did}, {_carts_sql(window_us)}, {visits([f'by_{n}' for n in range(len(by))], window_us)}"


def _carts_sql(window_us: int) -> str:
    way = f"PARTITION BY {c.USER_ID}, {c.ITEM_ID} ORDER BY us, place, {c.EVENT_ID} {_AFTER}"
    never = window_us + 1
    return f"""
    next AS (
        SELECT *, {_first_us(c.PURCHASE)} OVER way AS bought_us, {_first_us(c.REMOVE_FROM_CART)} OVER way AS removed_us
        FROM did WHERE {c.EVENT_TYPE} <> '{c.CHECKOUT}' WINDOW way AS ({way})),
    lines AS (
        SELECT {c.USER_ID}, visit, {c.ITEM_ID}, max(us) AS last_us, CAST(sum(worth) AS BIGINT) AS worth,
               max(CASE WHEN bought_us - us <= {window_us} THEN 1 ELSE 0 END) AS bought,
               max_by(coalesce(removed_us - us, {never}), struct(us, {c.EVENT_ID})) <= {window_us} AS removed
        FROM next WHERE {c.EVENT_TYPE} = '{c.CART}' GROUP BY {c.USER_ID}, visit, {c.ITEM_ID}),
    carts AS (
        SELECT {c.USER_ID}, visit, max(last_us) AS last_us, max(bought) AS done,
               CAST(sum(CASE WHEN bought = 0 AND NOT removed THEN 1 ELSE 0 END) AS BIGINT) AS num_left,
               CAST(sum(CASE WHEN bought = 0 AND NOT removed THEN worth ELSE 0 END) AS BIGINT) AS value_left
        FROM lines GROUP BY {c.USER_ID}, visit)"""


def _cart_visits_sql(by: Sequence[str], window_us: int) -> str:  # noqa: ARG001 (as of checkouts)
    return f"""
    starts AS (
        SELECT {c.USER_ID}, visit{_of_first(by)} FROM did WHERE {c.EVENT_TYPE} = '{c.CART}' GROUP BY {c.USER_ID}, visit),
    visits AS (
        SELECT {columns_sql([c.USER_ID, "last_us", "done", "num_left", "value_left"], "carts")}{_more(by)}
        FROM carts JOIN starts ON carts.{c.USER_ID} = starts.{c.USER_ID} AND carts.visit = starts.visit)"""


def _checkout_visits_sql(by: Sequence[str], window_us: int) -> str:
    way = f"PARTITION BY {c.USER_ID} ORDER BY us, place, {c.EVENT_ID} {_AFTER}"
    return f"""
    paid AS (
        SELECT *, {_first_us(c.PURCHASE)} OVER way AS bought_us
        FROM did WHERE {c.EVENT_TYPE} IN ('{c.PURCHASE}', '{c.CHECKOUT}') WINDOW way AS ({way})),
    starts AS (
        SELECT {c.USER_ID}, visit, min(us) AS last_us{_of_first(by)},
               min_by(CASE WHEN bought_us - us <= {window_us} THEN 1 ELSE 0 END, struct(us, {c.EVENT_ID})) AS done
        FROM paid WHERE {c.EVENT_TYPE} = '{c.CHECKOUT}' GROUP BY {c.USER_ID}, visit),
    visits AS (
        SELECT starts.{c.USER_ID}, starts.last_us, starts.done, coalesce(carts.num_left, 0) AS num_left,
               coalesce(carts.value_left, 0) AS value_left{_more(by)}
        FROM starts LEFT JOIN carts ON carts.{c.USER_ID} = starts.{c.USER_ID} AND carts.visit = starts.visit)"""


def _first_us(event_type: str) -> str:
    return f"min(CASE WHEN {c.EVENT_TYPE} = '{event_type}' THEN us END)"


def _of_first(by: Sequence[str]) -> str:
    return "".join(f", min_by({name}, struct(us, {c.EVENT_ID})) AS {name}" for name in by)


def _more(by: Sequence[str]) -> str:
    return "".join(f", starts.{name}" for name in by)


def _text(name: str) -> str:
    days = {c.LOCAL_DAY: c.LOCAL_DAY, LOCAL_WEEK: f"date_trunc('week', {c.LOCAL_DAY})"}
    column = f"CAST({days[name]} AS DATE)" if name in days else name
    return f"coalesce(CAST({column} AS STRING), '{NONE}')"


def _summary_sql(by: Sequence[str], settled_us: int) -> str:
    names = columns_sql([f"by_{n}" for n in range(len(by))])
    settled = f"last_us <= {settled_us}"
    left = f"done = 0 AND {settled}"
    sums = {
        "num_carts": f"CASE WHEN {settled} THEN 1 ELSE 0 END",
        "num_abandoned": f"CASE WHEN {left} THEN 1 ELSE 0 END",
        "num_left": f"CASE WHEN {left} THEN num_left ELSE 0 END",
        "value_left": f"CASE WHEN {left} THEN value_left ELSE 0 END",
        "num_open": f"CASE WHEN NOT {settled} THEN 1 ELSE 0 END",
    }
    each = ", ".join(f"sum({one}) AS {name}" for name, one in sums.items())
    whole = {name: name for name in sums} | {name: f"{a} * {b}" for name, (a, b) in _SQUARES.items()}
    whole["num_customers"] = "CASE WHEN num_carts > 0 THEN 1 ELSE 0 END"
    of_all = ", ".join(f"CAST(coalesce(sum({one}), 0) AS BIGINT) AS {name}" for name, one in whole.items())
    grouped = f"{names}{names and ', '}"
    return f"""
        SELECT {grouped}{of_all} FROM (SELECT {grouped}{each} FROM visits GROUP BY {grouped}{c.USER_ID})
        {f"GROUP BY {names}" if by else ""}"""


def _with_rates(table: pd.DataFrame, of: Of, by: Sequence[str], level: float) -> pd.DataFrame:
    table = table.rename(columns={f"by_{n}": name for n, name in enumerate(by)} | {"num_carts": f"num_{of}s"})
    for name in {c.LOCAL_DAY, LOCAL_WEEK}.intersection(by):
        table[name] = pd.to_datetime(table[name])
    number, left = table[f"num_{of}s"], table["num_abandoned"]
    squares = {name: table.pop(name) for name in _SQUARES}
    table["worth"] = effective_number(left, number, customers=table["num_customers"], **squares)
    low, high = clustered(left, number, table["worth"], level=level)
    place = len(by) + 2
    for name, values in (("rate_high", high), ("rate_low", low), ("rate", ratio(left, number))):
        table.insert(place, name, values)
    return table.sort_values(list(by)).reset_index(drop=True) if by else table
