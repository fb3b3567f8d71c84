"""What the customer table is put together from: parts, each a function of one context, each with its columns' meaning.

context  ->  Part.build  ->  relation: user_id, and the part's columns; one row a user, or none where nothing is known

A column is described once, here: the description is its documentation (``features.customers.reference``), and what
a rule or a report may count on.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import duckdb
import pyarrow as pa

from features import columns as c
from features.contract.tables import SQL_TYPES, Table
from features.engine import sql_name
from features.errors import DataError
from features.settings import ShopSettings

Kind = Literal[
    "id", "text", "day", "hour", "whole", "count", "money", "real", "share", "flag", "texts", "wholes", "reals"
]

# What a kind is in the file.
ARROW_TYPES: Final[dict[Kind, pa.DataType]] = {
    "id": pa.string(),
    "text": pa.string(),
    "day": pa.date32(),
    "hour": pa.int64(),  # 0 .. 23, local
    "whole": pa.int64(),
    "count": pa.int64(),  # >= 0
    "money": pa.int64(),  # minor units
    "real": pa.float64(),
    "share": pa.float64(),  # 0 .. 1
    "flag": pa.bool_(),
    "texts": pa.list_(pa.string()),  # best first
    "wholes": pa.list_(pa.int64()),
    "reals": pa.list_(pa.float64()),
}


@dataclass(frozen=True, kw_only=True)
class CustomerColumn:
    """One column of the customer table.

    Args:
        name: as in the file.
        kind: what it holds; see ``ARROW_TYPES``.
        unit: such as ``days`` or ``minor units``; empty where there is none.
        meaning: its definition in one sentence, and when it is missing.
    """

    name: str
    kind: Kind
    unit: str = ""
    meaning: str

    @property
    def arrow_type(self) -> pa.DataType:
        """The type in the file."""
        return ARROW_TYPES[self.kind]


def column(name: str, kind: Kind, unit: str, meaning: str) -> CustomerColumn:
    """Return a column; short for tables of them."""
    return CustomerColumn(name=name, kind=kind, unit=unit, meaning=meaning)


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """What a part may read.

    Args:
        connection: all relations live on it.
        rows: the event log's rows that may serve analytics, up to ``as_of``; columns as in ``LOG_COLUMNS``.
        items: the contract's items.
        as_of: the local day on which recency is 0.
        shop: the shop's settings.
        data: a data directory for the contract's other tables (``users``, ``coupons``, ``plan``, ...), or nothing.
    """

    connection: duckdb.DuckDBPyConnection
    rows: duckdb.DuckDBPyRelation
    items: duckdb.DuckDBPyRelation
    as_of: dt.date
    shop: ShopSettings
    data: Path | None = None
    _made: dict[str, duckdb.DuckDBPyRelation] = field(default_factory=dict, init=False, repr=False)

    def once(self, name: str, make: Callable[[], duckdb.DuckDBPyRelation]) -> duckdb.DuckDBPyRelation:
        """Return what ``make`` returns, computed once and kept as a table for the other parts.

        Args:
            name: of the table; one name, one content.
            make: called by the first part that asks.
        """
        if name not in self._made:
            make().create(sql_name(name))
            self._made[name] = self.connection.table(sql_name(name))
        return self._made[name]

    def contract_table(self, table: Table) -> duckdb.DuckDBPyRelation | None:
        """Return a table of the data directory; nothing where the shop brought none."""
        path = self.data / f"{table.name}.parquet" if self.data is not None else None
        return self.connection.read_parquet(str(path)) if path is not None and path.is_file() else None

    def by_customer(self, table: Table) -> duckdb.DuckDBPyRelation | None:
        """Return a table of the data directory with its ``user_id`` the customer, as in the rows; or nothing."""
        found = self.contract_table(table)
        if found is None or c.SOURCE_USER_ID not in self.rows.columns:
            return found
        linked = f"{c.SOURCE_USER_ID} <> {c.USER_ID}"
        ids = self.rows.filter(linked).aggregate(f"{c.SOURCE_USER_ID} AS id, min({c.USER_ID}) AS customer", "id")
        joined = found.set_alias("t").join(ids.set_alias("i"), "t.user_id = i.id", how="left")
        names = (f"t.{sql_name(name)}" for name in found.columns if name != c.USER_ID)
        return joined.select(f"coalesce(i.customer, t.user_id) AS {c.USER_ID}, {', '.join(names)}")

    def empty(self, columns: Mapping[str, str]) -> duckdb.DuckDBPyRelation:
        """Return no rows of the given columns (name -> DuckDB type)."""
        listed = ", ".join(f"NULL::{sql_type} AS {sql_name(name)}" for name, sql_type in columns.items())
        return self.connection.sql(f"SELECT {listed} WHERE false")

    def empty_table(self, table: Table) -> duckdb.DuckDBPyRelation:
        """Return a table of the contract without a row."""
        return self.empty({column.name: SQL_TYPES[column.kind] for column in table.columns})


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some columns that are made together.

    Args:
        name: unique among the parts.
        build: context -> relation of ``user_id`` and the columns, one row a user.
        columns: in the order of the table. Where a user has no row, they are missing.
        prefix: further columns of the relation that start like this are kept too (``tag_``), as texts.
    """

    name: str
    build: Callable[[Context], duckdb.DuckDBPyRelation]
    columns: tuple[CustomerColumn, ...]
    prefix: str = ""

    def select(self, context: Context) -> duckdb.DuckDBPyRelation:
        """Return ``user_id`` and the columns, and no others.

        Raises:
            DataError: the relation lacks one of them.
        """
        relation = self.build(context)
        for name in (c.USER_ID, *(column.name for column in self.columns)):
            if name not in relation.columns:
                raise DataError(f"customers: expected part {self.name!r} to make {name!r}, found {relation.columns}.")
        more = [name for name in relation.columns if self.prefix and name.startswith(self.prefix)]
        known = [column.name for column in self.columns]
        return relation.select(*map(sql_name, [c.USER_ID, *known, *(name for name in more if name not in known)]))
