"""What a part of the customer table may read: the rows, the contract's tables and what other parts made.

Many events are gone through by ranges of users, so that what is made of single events is there for one range at a
time. A part that says something of each user by itself reads a context of some users; one that compares users reads the
context of the whole shop, in which tables of users are already gathered (``features.customers.assembly``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import narwhals as nw
import pyarrow as pa

from features import columns as c
from features.contract.tables import ARROW_TYPES, Table
from features.customers.workbench import Frame, Workbench
from features.settings import ShopSettings
from features.tables.expressions import frame_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """What a part may read. All frames are of the workbench's engine.

    Args:
        bench: where tables are computed and kept.
        rows: the event log's rows that may serve analytics, up to ``as_of``; columns as in ``LOG_COLUMNS``.
        items: the contract's items.
        as_of: the local day on which recency is 0.
        shop: the shop's settings.
        data: a data directory for the contract's other tables (``users``, ``coupons``, ``plan``, ...), or nothing.
        whole: the context of all users, where ``rows`` are those of some of them.
    """

    bench: Workbench
    rows: Frame
    items: Frame
    as_of: dt.date
    shop: ShopSettings
    data: Path | None = None
    whole: Context | None = None
    _made: dict[str, Frame] = field(default_factory=dict, init=False, repr=False)

    @property
    def everyone(self) -> Context:
        """The context of all users: for what is of the shop, such as list prices."""
        return self.whole or self

    def once(self, name: str, make: Callable[[], Frame]) -> Frame:
        """Return what ``make`` returns, computed once and kept as a table for the other parts.

        Args:
            name: of the table; one name, one content.
            make: called by the first part that asks.
        """
        if name not in self._made:
            self._made[name] = self.bench.keep(name, make())
        return self._made[name]

    def put(self, name: str, frame: Frame) -> None:
        """Keep a frame that is computed already for those who ask for ``name``."""
        self._made[name] = frame

    def contract_table(self, table: Table) -> Frame | None:
        """Return a table of the data directory; nothing where the shop brought none."""
        path = self.data / f"{table.name}.parquet" if self.data is not None else None
        return self.bench.read(path) if path is not None and path.exists() else None

    def by_customer(self, table: Table) -> Frame | None:
        """Return a table of the data directory with its ``user_id`` the customer, as in the rows; or nothing."""
        found = self.contract_table(table)
        if found is None or c.SOURCE_USER_ID not in frame_of(self.rows).columns:
            return found
        ids = self.everyone.once("customers of ids", self.everyone._customers_of_ids)
        joined = frame_of(found).join(frame_of(ids), left_on=c.USER_ID, right_on="id", how="left")
        customer = nw.coalesce("customer", c.USER_ID).alias(c.USER_ID)
        return joined.with_columns(customer).select(*frame_of(found).columns).to_native()

    def _customers_of_ids(self) -> Frame:
        linked = frame_of(self.rows).filter(nw.col(c.SOURCE_USER_ID) != nw.col(c.USER_ID))
        ids = linked.group_by(c.SOURCE_USER_ID).agg(nw.col(c.USER_ID).min().alias("customer"))
        return ids.rename({c.SOURCE_USER_ID: "id"}).to_native()

    def empty(self, schema: pa.Schema) -> Frame:
        """Return no rows of the given columns."""
        return self.bench.from_arrow(schema.empty_table())

    def empty_table(self, table: Table) -> Frame:
        """Return a table of the contract without a row."""
        return self.empty(pa.schema([(column.name, ARROW_TYPES[column.kind]) for column in table.columns]))
