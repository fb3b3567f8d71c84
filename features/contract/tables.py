"""The contract's tables, column by column.

One row per event, item, user, and so on. Instants are UTC microseconds, days are the shop's local
days, money is a whole number of minor units of the shop's one currency.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import pyarrow as pa

from features import columns as c

Kind = Literal["id", "text", "instant", "day", "count", "integer", "money", "real", "share", "flag"]

# What a kind is in DuckDB (and so in every Parquet file we write).
SQL_TYPES: Final[dict[Kind, str]] = {
    "id": "VARCHAR",
    "text": "VARCHAR",
    "instant": "TIMESTAMP WITH TIME ZONE",
    "day": "DATE",
    "count": "BIGINT",  # >= 0
    "integer": "BIGINT",
    "money": "BIGINT",  # >= 0, minor units
    "real": "DOUBLE",
    "share": "DOUBLE",  # 0 .. 1
    "flag": "BOOLEAN",
}
# The same in Arrow and in files.
ARROW_TYPES: Final[dict[Kind, pa.DataType]] = {
    "id": pa.string(),
    "text": pa.string(),
    "instant": pa.timestamp("us", tz="UTC"),
    "day": pa.date32(),
    "count": pa.int64(),
    "integer": pa.int64(),
    "money": pa.int64(),
    "real": pa.float64(),
    "share": pa.float64(),
    "flag": pa.bool_(),
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its name, what it holds, and whether a row without it is refused."""

    name: str
    kind: Kind
    required: bool = False
    one_of: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table: its columns, and the columns that identify a row."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    allows_tags: bool = False  # any further column named tag_* is kept as text

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names in contract order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Return the column called ``name``; ``KeyError`` if there is none."""
        return next(column for column in self.columns if column.name == name)


def _required(name: str, kind: Kind, *one_of: str) -> Column:
    return Column(name=name, kind=kind, required=True, one_of=one_of)


def _optional(kind: Kind, *names: str) -> tuple[Column, ...]:
    return tuple(Column(name=name, kind=kind) for name in names)


EVENTS: Final = Table(
    name="events",
    key=(c.EVENT_ID,),
    columns=(
        _required(c.USER_ID, "id"),
        _required(c.EVENT_TYPE, "text", *c.EVENT_TYPES),
        _required(c.TS, "instant"),
        *_optional("id", c.ITEM_ID, c.EVENT_ID, c.SESSION_ID),
        *_optional("count", c.QUANTITY),
        *_optional("money", c.PRICE),
        *_optional("id", c.ORDER_ID),
        *_optional("text", c.CHANNEL),
        *_optional("id", c.DEVICE_ID),
        *_optional("text", c.REGION),
        *_optional("count", "dwell_ms"),
        *_optional("text", "section", "query", c.SLOT),
        *_optional("text", "source", "medium", "campaign", "term", "content"),
        *_optional("id", c.CAMPAIGN_ID),
        *_optional("text", c.VARIANT),
        *_optional("id", c.COUPON_ID),
    ),
)

ITEMS: Final = Table(
    name="items",
    key=(c.ITEM_ID,),
    columns=(
        _required(c.ITEM_ID, "id"),
        *_optional("text", c.TITLE, c.CATEGORY, c.BRAND, c.LABELS),
        *_optional("money", c.PRICE, c.COST),
        *_optional("count", c.LEAD_TIME_DAYS),
        *_optional("instant", c.CREATED_AT),
        *_optional("flag", c.ACTIVE),
    ),
)

USERS: Final = Table(
    name="users",
    key=(c.USER_ID,),
    allows_tags=True,
    columns=(
        _required(c.USER_ID, "id"),
        *_optional("instant", "signup_at"),
        *_optional("text", c.REGION, "device", "membership"),
    ),
)

IDENTITIES: Final = Table(
    name="identities",
    key=("id_a", "id_b", "seen_at"),
    columns=(
        _required("id_a", "id"),
        _required("id_b", "id"),
        _required("seen_at", "instant"),
        *_optional("text", "id_type_a", "id_type_b"),
    ),
)

CONSENTS: Final = Table(
    name="consents",
    key=(c.USER_ID, c.PURPOSE, c.AT),
    columns=(
        _required(c.USER_ID, "id"),
        _required(c.PURPOSE, "text", *c.PURPOSES),
        _required(c.GRANTED, "flag"),
        _required(c.AT, "instant"),
        *_optional("text", "policy_version"),
    ),
)

EXPOSURES: Final = Table(
    name="exposures",
    key=(c.USER_ID, c.ITEM_ID, c.SLOT, c.TS),
    columns=(
        _required(c.USER_ID, "id"),
        _required(c.ITEM_ID, "id"),
        _required(c.SLOT, "text"),
        _required(c.TS, "instant"),
        *_optional("share", "propensity"),
        *_optional("id", c.CAMPAIGN_ID),
        *_optional("text", c.VARIANT),
    ),
)

INVENTORY: Final = Table(
    name="inventory",
    key=(c.ITEM_ID, c.DAY),
    columns=(_required(c.ITEM_ID, "id"), _required(c.DAY, "day"), _required(c.STOCK, "count")),
)

PLAN: Final = Table(
    name="plan",
    key=(c.ITEM_ID, c.DAY, c.ANNOUNCED_AT),
    columns=(
        _required(c.ITEM_ID, "id"),
        _required(c.DAY, "day"),
        _required(c.ANNOUNCED_AT, "instant"),
        *_optional("money", c.PRICE),
        *_optional("real", c.PROMOTION, c.DISPLAY, c.MAILER),
    ),
)

REGRESSORS: Final = Table(
    name="regressors",
    key=(c.NAME, c.DAY, c.ITEM_ID, c.ANNOUNCED_AT),
    columns=(
        _required(c.NAME, "text"),
        _required(c.DAY, "day"),
        _required(c.VALUE, "real"),
        *_optional("id", c.ITEM_ID),
        *_optional("instant", c.ANNOUNCED_AT),
    ),
)

COUPONS: Final = Table(
    name="coupons",
    key=(c.COUPON_ID, c.USER_ID),
    columns=(
        _required(c.COUPON_ID, "id"),
        _required(c.USER_ID, "id"),
        _required("issued_at", "instant"),
        _required("value", "money"),
        *_optional("instant", "expires_at"),
    ),
)

SPEND: Final = Table(
    name="spend",
    key=(c.DAY, c.CHANNEL, c.CAMPAIGN_ID),
    columns=(
        _required(c.DAY, "day"),
        _required(c.CHANNEL, "text"),
        _required(c.COST, "money"),
        *_optional("id", c.CAMPAIGN_ID),
    ),
)

TABLES: Final = {
    table.name: table
    for table in (
        EVENTS,
        ITEMS,
        USERS,
        IDENTITIES,
        CONSENTS,
        EXPOSURES,
        INVENTORY,
        PLAN,
        REGRESSORS,
        COUPONS,
        SPEND,
    )
}
