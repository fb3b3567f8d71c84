"""Which ids were seen together: links from the identities table and from the log.

A link is one row a pair of ids, in either order of arrival; rows of two batches add up:

    id_a  type_a   id_b  type_b     first_seen  last_seen  count  reason
    d1    device_id  ann   user_id    1 May       9 May      12     login
"""

from __future__ import annotations

from typing import Final

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.identity.frames import Frame, stacked, strings
from features.identity.settings import ACCOUNT, ALIASES, DEVICE, IdentitySettings
from features.tables.expressions import frame_of, is_type

STATED: Final = "stated"  # a row of the identities table
LOGIN: Final = "login"  # a login on the device
EVENT: Final = "event"  # another event of the account on the device
REASONS: Final = (STATED, LOGIN, EVENT)  # the strongest first
KEY: Final = ("id_a", "type_a", "id_b", "type_b")
LINK_COLUMNS: Final = (*KEY, "first_seen", "last_seen", "count", "reason")
# What the shop does to a customer says nothing of the device in the customer's hand.
_BY_THE_SHOP: Final = (c.IMPRESSION, "message_sent", "message_delivered", "message_bounced")


def stated_links(identities: IntoFrameT, settings: IdentitySettings) -> IntoFrameT:
    """Return the links of an identities table.

    A type that is missing is taken as an account for ``id_a`` and as a device for ``id_b``.

    Args:
        identities: the contract's table.
        settings: which ids to ignore.

    Returns:
        ``LINK_COLUMNS``, one row a pair.
    """
    rows = frame_of(identities).select(
        *strings("id_a", "id_b"),
        nw.col("seen_at"),
        _type("id_type_a", otherwise=ACCOUNT).alias("type_a"),
        _type("id_type_b", otherwise=DEVICE).alias("type_b"),
    )
    seen = rows.with_columns(
        nw.col("seen_at").alias("first_seen"),
        nw.col("seen_at").alias("last_seen"),
        nw.lit(1).cast(nw.Int64).alias("count"),
        nw.lit(STATED).alias("reason"),
    )
    return _added_up(_in_order(_without_ignored(seen, settings))).to_native()


def log_links(events: IntoFrameT, settings: IdentitySettings) -> IntoFrameT:
    """Return the links between the log's accounts and the devices that they were used on.

    A row whose ``user_id`` is its ``device_id`` is anonymous and links nothing.

    Args:
        events: rows of the events table or of the log.
        settings: which rows are evidence.

    Returns:
        ``LINK_COLUMNS``, one row a pair.
    """
    rows = frame_of(events).filter(~nw.col(c.DEVICE_ID).is_null() & (nw.col(c.USER_ID) != nw.col(c.DEVICE_ID)))
    wanted = {"events": ~is_type(*_BY_THE_SHOP), "logins": is_type("login"), "none": nw.col(c.USER_ID).is_null()}
    rows = rows.filter(wanted[settings.log_evidence])
    rows = rows.select(c.USER_ID, c.DEVICE_ID, c.TS, is_type("login").cast(nw.Int64).alias("login"))
    seen = rows.group_by(c.USER_ID, c.DEVICE_ID).agg(
        nw.col(c.TS).min().alias("first_seen"),
        nw.col(c.TS).max().alias("last_seen"),
        nw.len().alias("count"),
        nw.col("login").max().alias("logins"),
    )
    reason = nw.when(nw.col("logins") > 0).then(nw.lit(LOGIN)).otherwise(nw.lit(EVENT))
    seen = seen.select(
        nw.col(c.USER_ID).cast(nw.String).alias("id_a"),
        nw.lit(ACCOUNT).alias("type_a"),
        nw.col(c.DEVICE_ID).cast(nw.String).alias("id_b"),
        nw.lit(DEVICE).alias("type_b"),
        "first_seen",
        "last_seen",
        nw.col("count").cast(nw.Int64),
        reason.alias("reason"),
    )
    return _in_order(_without_ignored(seen, settings)).select(*LINK_COLUMNS).to_native()


def combined_links(*links: IntoFrameT) -> IntoFrameT:
    """Return several tables of links as one: counts add up, the strongest reason stays."""
    return _added_up(stacked(*(frame_of(table).select(*LINK_COLUMNS) for table in links))).to_native()


def node(id_column: str, type_column: str) -> nw.Expr:
    """Return an id and its type as one text: ``device_id:d1``."""
    return nw.concat_str(nw.col(type_column).cast(nw.String), nw.lit(":"), nw.col(id_column).cast(nw.String))


def _type(column: str, *, otherwise: str) -> nw.Expr:
    found = nw.col(column).cast(nw.String).fill_null(otherwise)
    for alias, name in ALIASES.items():
        found = nw.when(found == alias).then(nw.lit(name)).otherwise(found)
    return found


def _without_ignored(links: Frame, settings: IdentitySettings) -> Frame:
    ignored = list(settings.ignored_ids)
    nobody = [nw.col(name).str.to_lowercase().is_in(ignored) for name in ("id_a", "id_b")]
    same = (nw.col("id_a") == nw.col("id_b")) & (nw.col("type_a") == nw.col("type_b"))
    return links.filter(~nobody[0] & ~nobody[1] & ~same)


def _in_order(links: Frame) -> Frame:
    """The lesser of the two (type, id) first, so that a pair is one pair however it arrives."""
    swap = node("id_a", "type_a") > node("id_b", "type_b")
    ends = (("id_a", "id_b"), ("type_a", "type_b"))
    columns = [
        nw.when(swap).then(nw.col(other)).otherwise(nw.col(name)).alias(name)
        for pair in ends
        for name, other in (pair, pair[::-1])
    ]
    return links.with_columns(*columns)


def _added_up(links: Frame) -> Frame:
    rank = nw.lit(len(REASONS))
    for number, reason in reversed(list(enumerate(REASONS))):
        rank = nw.when(nw.col("reason") == reason).then(nw.lit(number)).otherwise(rank)
    totals = (
        links.with_columns(rank.cast(nw.Int64).alias("rank"))
        .group_by(*KEY)
        .agg(nw.col("first_seen").min(), nw.col("last_seen").max(), nw.col("count").sum(), nw.col("rank").min())
    )
    kind = nw.lit(REASONS[-1])
    for number, name in enumerate(REASONS[:-1]):
        kind = nw.when(nw.col("rank") == number).then(nw.lit(name)).otherwise(kind)
    totals = totals.with_columns(nw.col("count").cast(nw.Int64), kind.alias("reason"))
    return totals.select(*LINK_COLUMNS)
